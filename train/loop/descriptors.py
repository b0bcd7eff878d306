"""An auxiliary task: the embedding holds the clip's cepstral statistics, which the classes do not need.

A network that learns classes alone drops what does not tell them apart, such as the timbre of a voice, and a
classifier on its frozen embeddings cannot use that. So a linear layer, thrown away after training, predicts
such statistics from the embedding. (Pascual et al. 2019, arXiv:1904.03416, train an encoder by such tasks
alone: "Learning problem-agnostic speech representations from multiple self-supervised tasks".)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pannsx.models import Pann

N_COEFFICIENTS = 20
N_STATISTICS = 3


class Descriptors(nn.Module):
    """Predicts :func:`cepstral_statistics` from an embedding.

    Args:
        size: size ``D`` of the embedding.
        seed: seed of the initial weights.
    """

    def __init__(self, size: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.linear = nn.Linear(size, N_STATISTICS * N_COEFFICIENTS)

    def error(self, embedding: Tensor, log_mel: Tensor) -> Tensor:
        """``(B, D)`` embeddings and ``(B, T, F)`` log-mel in dB -> mean squared error, a scalar.

        Each statistic is standardised over the batch, so that 1 is the error of a constant prediction.
        """
        wanted = cepstral_statistics(log_mel.float())
        spread = wanted.std(dim=0, correction=0)
        wanted = (wanted - wanted.mean(dim=0)) / spread.clamp(min=1e-3)
        return functional.mse_loss(self.linear(embedding).float(), wanted)


def embedding_size(model: Pann) -> int:
    """Size ``D`` of the embedding of a model."""
    size: int = model.head.fc1.out_features
    return size


@torch.no_grad()
def cepstral_statistics(log_mel: Tensor) -> Tensor:
    """``(B, T, F)`` log-mel -> ``(B, 60)`` statistics of 20 cepstral coefficients.

    They are the mean and the deviation over time, and the deviation of the changes from frame to frame.
    """
    cepstrum = log_mel @ _cosines(log_mel.shape[2]).to(log_mel)
    change = cepstrum.diff(dim=1, prepend=cepstrum[:, :1])
    return torch.cat(
        (cepstrum.mean(dim=1), cepstrum.std(dim=1, correction=0), change.std(dim=1, correction=0)), dim=1
    )


def _cosines(n_bands: int) -> Tensor:
    """``(F, 20)``: the orthonormal cosine transform of type II over bands."""
    band = torch.arange(n_bands, dtype=torch.float64)[:, None]
    number = torch.arange(N_COEFFICIENTS, dtype=torch.float64)[None]
    cosines = torch.cos(math.pi / n_bands * (band + 0.5) * number) * math.sqrt(2.0 / n_bands)
    cosines[:, 0] /= math.sqrt(2.0)
    return cosines

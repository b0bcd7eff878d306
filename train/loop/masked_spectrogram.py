"""Learning from audio without labels: the log-mel of blanked frames is predicted from the others.

SpecAugment's stripes of frames (``augment.time_stripes``) are blanked at the input of the trunk, and a linear
layer, thrown away after training, predicts their log-mel from the trunk's features. So the features must know
what surrounds a gap. (Masked prediction of spectrograms: Liu et al. 2020, Mockingjay, arXiv:1910.12638;
Huang et al. 2022, arXiv:2207.06405.) No score of a checkpoint that began so is known.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pannsx.models import Pann
from pannsx.models.pann import Augment

_LEAST_DEVIATION_DB = 1e-3


class SpectrogramPredictor(nn.Module):
    """Predicts the log-mel of each trunk frame from its features.

    Args:
        model: the model whose trunk learns; it has a log-mel.
        seed: seed of the initial weights.

    Attributes:
        n_frames: log-mel frames of a trunk frame.
        n_bands: mel bands ``F``.
    """

    def __init__(self, model: Pann, seed: int) -> None:
        super().__init__()
        if model.frontend is None:
            raise ValueError(
                f"{model.architecture} has no log-mel; loss.kind = 'masked_spectrogram' needs one"
            )
        self.n_frames = round(model.grid.hop_samples / model.frontend.hop_length)
        self.n_bands = model.frontend.n_mels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.linear = nn.Linear(model.head.fc1.in_features, self.n_frames * self.n_bands)

    def error(self, features: Tensor, log_mel: Tensor, blanked: Tensor) -> Tensor:
        """Mean squared error over the blanked frames, a scalar; 1 is that of each band's mean.

        Args:
            features: ``(B, C, T')``.
            log_mel: ``(B, T, F)`` in dB.
            blanked: ``(B, T)``, whether a frame was blanked. Frames after the last trunk frame do not count.
        """
        predicted = self.linear(features.transpose(1, 2)).float().reshape(len(features), -1, self.n_bands)
        length = min(predicted.shape[1], log_mel.shape[1])
        with torch.no_grad():
            wanted = log_mel.float()
            deviation = wanted.std(dim=(0, 1), correction=0).clamp(min=_LEAST_DEVIATION_DB)
            wanted = (wanted - wanted.mean(dim=(0, 1))) / deviation
            counted = blanked[:, :length, None].to(predicted.dtype)
        squared = (predicted[:, :length] - wanted[:, :length]).square() * counted
        error: Tensor = squared.sum() / (counted.sum() * self.n_bands).clamp(min=1.0)
        return error


class Blanking:
    """SpecAugment as the model's augmentation, with a note of the frames that it blanked.

    Attributes:
        blanked: ``(B, T)`` after the call.
    """

    def __init__(self, augment: Augment | None) -> None:
        self._augment = augment
        self.blanked: Tensor | None = None

    def __call__(self, representations: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Representations ``(B, C, T, F)`` -> the same, blanked."""
        augmented = representations if self._augment is None else self._augment(representations)
        self.blanked = (augmented[0] == 0).all(dim=3).all(dim=1)
        return augmented


def without_classifier(model: Pann) -> None:
    """Leave the head, which has no part in this loss, as it is."""
    model.head.requires_grad_(requires_grad=False)

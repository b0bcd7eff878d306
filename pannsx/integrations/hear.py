"""HEAR 2021's common API (Turian et al. 2022, arXiv:2203.03022): ``hear-validator pannsx.integrations.hear``.

>>> model = load_model()  # the bundled checkpoint; or a file of weights, a name, or owner/name on the Hub
>>> get_scene_embeddings(audio, model)  # (n_sounds, n_samples) at model.sample_rate -> (n_sounds, D)
>>> embeddings, timestamps_ms = get_timestamp_embeddings(audio, model)

HEAR allows sample rates of 16, 22.05, 44.1 and 48 kHz. Checkpoints at 32 kHz therefore take sounds at 48 kHz,
those at 8 kHz sounds at 16 kHz, and convert them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pannsx.audio.resample import resample
from pannsx.features import FeatureExtractor
from pannsx.integrations.dense_frames import dense_frames
from pannsx.types import FloatArray

HOP_S = 0.04
"""Maximum distance of timestamp embeddings; HEAR suggests 50 ms or less."""

_RATES = {8_000: 16_000, 16_000: 16_000, 32_000: 48_000}


class HearModel(nn.Module):
    """A checkpoint with the attributes that HEAR asks for.

    It has no parameters of its own: the network stays on its device, ``to`` does not move it, and embeddings
    come back on the device of the sounds.

    Args:
        extractor: the open checkpoint.
        hop_s: maximum distance of timestamp embeddings, in seconds.

    Attributes:
        sample_rate: of the sounds that it takes, in Hz.
        scene_embedding_size, timestamp_embedding_size: ``D``.
    """

    def __init__(self, extractor: FeatureExtractor, hop_s: float = HOP_S) -> None:
        super().__init__()
        self.extractor, self.hop_s = extractor, hop_s
        self.sample_rate = _RATES[extractor.sample_rate]
        self.scene_embedding_size = self.timestamp_embedding_size = extractor.embedding_size

    def forward(self, audio: Tensor) -> Tensor:
        """``(n_sounds, n_samples)`` -> ``(n_sounds, D)``, as :func:`get_scene_embeddings`."""
        return get_scene_embeddings(audio, self)


def load_model(model_file_path: str = "") -> HearModel:
    """The model of a checkpoint.

    Args:
        model_file_path: a model as for :class:`pannsx.AudioTagger`: a file of weights with its record beside
            it, a name, or ``owner/name`` on the Hub; empty: the bundled checkpoint.

    Raises:
        ValueError, WeightsError: as :class:`pannsx.FeatureExtractor`.
    """
    return HearModel(FeatureExtractor(model_file_path or None))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """``(n_sounds, n_samples)`` at ``model.sample_rate`` -> ``(n_sounds, D)`` float32, on the same device.

    Raises:
        AudioError: the sounds are empty or not finite.
        ValueError: another shape.
    """
    waveforms = _at_model_rate(audio, model)
    return torch.from_numpy(model.extractor.extract(list(waveforms))).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """``(n_sounds, n_samples)`` -> ``(n_sounds, T, D)`` embeddings and their ``(n_sounds, T)`` centres in ms.

    Both are float32. The centres are equally spaced, at most ``model.hop_s`` apart.

    Raises:
        AudioError, ValueError: as :func:`get_scene_embeddings`.
    """
    embeddings, centres_s = dense_frames(model.extractor, _at_model_rate(audio, model), model.hop_s)
    timestamps = torch.from_numpy((1000.0 * centres_s).astype(np.float32))
    return (
        torch.from_numpy(embeddings).to(audio.device),
        timestamps.expand(len(embeddings), -1).contiguous().to(audio.device),
    )


def _at_model_rate(audio: Tensor, model: HearModel) -> FloatArray:
    """``(n_sounds, n_samples)`` -> ``(n_sounds, S)`` at the network's rate."""
    if audio.ndim != 2:
        raise ValueError(f"audio has shape {tuple(audio.shape)}; (n_sounds, n_samples) is needed")
    waveforms = audio.detach().cpu().float().numpy()
    rates = model.sample_rate, model.extractor.sample_rate
    return np.stack([resample(each, *rates) for each in waveforms])

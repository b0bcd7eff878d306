"""Exported networks compared with the network in torch, on broadband sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from pannsx.errors import WeightsError
from pannsx.models.heads import Output
from pannsx.models.pann import Pann
from pannsx.models.stems import LogMelStem
from pannsx.types import FloatArray

TOLERANCE = 2e-5
"""Of float32 exports, of a probability and of the embedding's largest value: 20 times the 1e-6 of two
orders of summation in the deepest networks, and far below what a wrong constant, label or edge makes."""

Answers = tuple[FloatArray, FloatArray, FloatArray]
"""Probabilities ``(B, K)``, embedding ``(B, D)`` and probabilities of frames ``(B, T', K)``."""

Runner = Callable[[FloatArray], Answers]
"""Runs an exported network."""

_DYNAMIC_S = (2.0, 1.237)


class Differences(NamedTuple):
    """Largest differences; that of the embedding is a share of its largest value."""

    probabilities: float
    embedding: float
    frame_probabilities: float


def measure(
    model: Pann, run: Runner, *, from_log_mel: bool, n_samples: int | None, pads: bool
) -> Differences:
    """Compare an exported network with ``model``, in several lengths and batches where these are free.

    Raises:
        WeightsError: an answer is NaN or infinite, or has another shape.
    """
    found = [Differences(0.0, 0.0, 0.0)]
    for waveform in _waveforms(model, n_samples, pads=pads):
        given = log_mel_of(model, waveform) if from_log_mel else waveform
        needed = _answers(model, waveform)
        got = run(given)
        for ours, exported in zip(needed, got, strict=True):
            if exported.shape != ours.shape or not np.isfinite(exported).all():
                raise WeightsError(
                    f"the exported network answers with shape {exported.shape} where {ours.shape} is needed, "
                    "or with NaN or infinite values; with float16, values beyond 65,504 are infinite"
                )
        clip, embedding, frames = (np.abs(a - b).max() for a, b in zip(needed, got, strict=True))
        scale = max(float(np.abs(needed[1]).max()), np.finfo(np.float32).tiny)
        found.append(Differences(float(clip), float(embedding) / scale, float(frames)))
    return Differences(*(max(each) for each in zip(*found, strict=True)))


def broadband(n_samples: int, batch: int, seed: int = 0) -> FloatArray:
    """``(batch, n_samples)`` noise of changing loudness, about a tenth of full scale."""
    rng = np.random.default_rng(seed)
    loudness = 0.02 + 0.2 * np.abs(np.sin(np.arange(n_samples) / 20000 + np.arange(batch)[:, None]))
    return (loudness * rng.standard_normal((batch, n_samples))).astype(np.float32)


def log_mel_of(model: Pann, waveform: FloatArray) -> FloatArray:
    """``(B, S)`` -> ``(B, T, F)`` in dB, as the network itself computes it in torch."""
    if not isinstance(model.stem, LogMelStem):
        raise TypeError(f"{model.architecture} takes no log-mel alone")
    with torch.inference_mode():
        log_mel: FloatArray = model.stem.log_mel(torch.from_numpy(waveform)).numpy()
    return log_mel


def _waveforms(model: Pann, n_samples: int | None, *, pads: bool) -> Iterator[FloatArray]:
    if n_samples is not None:
        yield broadband(n_samples, 2)
        return
    for i, seconds in enumerate(_DYNAMIC_S):
        yield broadband(max(model.min_samples, round(seconds * model.sample_rate)), 2 - i, seed=i)
    if pads and model.min_samples > 1:
        yield broadband(model.min_samples * 2 // 3, 1)


def _answers(model: Pann, waveform: FloatArray) -> Answers:
    with torch.inference_mode():
        output: Output = model(torch.from_numpy(waveform))
        return (
            output.logits.sigmoid().numpy(),
            output.embedding.numpy(),
            output.frame_logits.sigmoid().numpy(),
        )

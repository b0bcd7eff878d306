"""Frame embeddings at a shorter hop than the network's own, for the contracts of benchmarks.

A network has a frame every ``H`` seconds, 0.32 for Cnn14. Further passes over audio shifted by ``H / n`` give
the frames between: each is an output of the network for its time, without interpolation. The work is ``n``
times that of one pass (see :mod:`pannsx.inference.fine_frames`, which does the same for probabilities).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pannsx.features import FeatureExtractor
from pannsx.types import FloatArray

_SAME = 1e-9  # of a pass: hops that differ by less are equal


def n_passes(extractor: FeatureExtractor, hop_s: float) -> int:
    """The smallest number of passes that gives frames at most ``hop_s`` seconds apart.

    Raises:
        ValueError: the hop is not a positive number.
    """
    if not (math.isfinite(hop_s) and hop_s > 0):
        raise ValueError(f"hop_s is {hop_s}; a number of seconds above 0 is needed, such as 0.04")
    return max(1, math.ceil(extractor.hop_s / hop_s - _SAME))


def dense_frames(
    extractor: FeatureExtractor, waveforms: FloatArray, hop_s: float
) -> tuple[FloatArray, NDArray[np.float64]]:
    """``(B, S)`` at the model's rate -> ``(B, T, D)`` frame embeddings and ``(T,)`` centres in seconds.

    The frames are equally spaced, at most ``hop_s`` apart. A waveform's row does not depend on the others.

    Raises:
        AudioError: the waveforms are empty or not finite.
        ValueError: an impossible hop.
    """
    n = n_passes(extractor, hop_s)
    shift_s, rate = extractor.hop_s / n, extractor.sample_rate
    passes: list[FloatArray] = []
    first_s = 0.0
    for number in range(n):
        shifted = waveforms[:, round(number * shift_s * rate) :]
        if number and not shifted.shape[1]:
            break
        frames = extractor.extract_frames(list(shifted))
        if not number:
            first_s = float(frames[0].times_s[0])
        passes.append(np.stack([each.embeddings for each in frames]))
    # Up to the first frame that a pass lacks, as later passes have less audio; and none after the end, where
    # a short rest has been padded.
    lengths = [one.shape[1] for one in passes] + [0] * (n - len(passes))
    n_present = min(length * n + number for number, length in enumerate(lengths))
    n_within = 1 + math.floor(max(0.0, waveforms.shape[1] / rate - first_s) / shift_s + _SAME)
    n_frames = max(1, min(n_present, n_within))
    joined = np.empty((len(waveforms), n_frames, passes[0].shape[2]), np.float32)
    for number, one in enumerate(passes):
        place = joined[:, number::n]
        place[:] = one[:, : place.shape[1]]
    return joined, first_s + shift_s * np.arange(n_frames)

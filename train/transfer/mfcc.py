"""The baseline before neural networks: statistics of mel-frequency cepstral coefficients."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.frontend.settings import FrontEnd
from pannsx.transfer.clips import Waveforms
from pannsx.types import FloatArray

N_COEFFICIENTS = 20
N_STATISTICS = 4


def mfcc_statistics(waveforms: Waveforms, sample_rate: int) -> FloatArray:
    """``N`` clips -> ``(N, 80)``: mean and deviation of 20 coefficients and of their changes over time."""
    frontend = FrontEnd(
        sample_rate=sample_rate,
        n_fft=1024,
        hop_length=sample_rate // 100,
        n_mels=64,
        fmin=50,
        fmax=min(14000, sample_rate / 2),
    )
    log_mel = LogMelKernel(frontend)
    features = np.zeros((len(waveforms), N_STATISTICS * N_COEFFICIENTS), np.float32)
    for row, waveform in zip(features, waveforms, strict=True):
        coefficients = dct(log_mel(waveform), axis=1, norm="ortho")[:, :N_COEFFICIENTS]
        change = np.diff(coefficients, axis=0, prepend=coefficients[:1])
        row[:] = np.concatenate(
            [part.reshape(-1) for c in (coefficients, change) for part in (c.mean(0), c.std(0))]
        )
    return features

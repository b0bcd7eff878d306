"""The log-mel spectrogram, defined once, in float64 NumPy.

All implementations take window and filters from here and are tested against
:func:`reference_log_mel`: a centred short-time Fourier transform with a periodic Hann window and
reflected edges, its power, triangular bands on the Slaney mel scale with unit area, and decibels
(paper, section III-A; the mel scale is that of Slaney's Auditory Toolbox, 1998).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pannsx.frontend.settings import FrontEnd

FLOOR = 1e-10
"""Least mel power before the logarithm: no frame is below -100 dB."""

_LINEAR_HZ_PER_MEL = 200.0 / 3
_LOG_STARTS_HZ = 1000.0
_LOG_STARTS_MEL = _LOG_STARTS_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hann_window(n_fft: int) -> npt.NDArray[np.float64]:
    """``(n_fft,)`` periodic Hann window: one period of a raised cosine, zero at index 0."""
    phase = 2 * np.pi * np.arange(n_fft) / n_fft
    return np.asarray(0.5 - 0.5 * np.cos(phase))


def hz_to_mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Hertz to Slaney mel: linear below 1 kHz (15 mel), logarithmic above."""
    f = np.asarray(hz, np.float64)
    logarithmic = _LOG_STARTS_MEL + np.log(np.maximum(f, _LOG_STARTS_HZ) / _LOG_STARTS_HZ) / _LOG_STEP
    return np.where(f < _LOG_STARTS_HZ, f / _LINEAR_HZ_PER_MEL, logarithmic)


def mel_to_hz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Slaney mel to hertz, the inverse of :func:`hz_to_mel`."""
    m = np.asarray(mel, np.float64)
    logarithmic = _LOG_STARTS_HZ * np.exp(_LOG_STEP * np.maximum(m - _LOG_STARTS_MEL, 0))
    return np.where(m < _LOG_STARTS_MEL, m * _LINEAR_HZ_PER_MEL, logarithmic)


def mel_edges_hz(frontend: FrontEnd) -> npt.NDArray[np.float64]:
    """``(F + 2,)`` edges of the bands in Hz, evenly spaced in mel from ``fmin`` to ``fmax``."""
    lowest, highest = hz_to_mel([frontend.fmin, frontend.fmax])
    return mel_to_hz(np.linspace(lowest, highest, frontend.n_mels + 2))


def mel_filters(frontend: FrontEnd) -> npt.NDArray[np.float64]:
    """``(n_fft // 2 + 1, F)`` weights of each transform bin in each mel band.

    Band ``m`` is a triangle between the edges ``m`` and ``m + 2``, scaled to unit area (``2 / width``
    at its peak, in 1/Hz).
    A band narrower than the bin spacing may contain no bin; its column is then zero.
    """
    bins_hz = np.arange(frontend.n_fft // 2 + 1) * (frontend.sample_rate / frontend.n_fft)
    edges_hz = mel_edges_hz(frontend)
    left, centre, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - left) / (centre - left)
    falling = (right - bins_hz[:, None]) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (right - left)))


def reflected_indices(n_samples: int, pad: int) -> npt.NDArray[np.int64]:
    """``(n_samples + 2 * pad,)`` source index of each sample of the padded signal.

    The edge sample is not repeated, and a signal shorter than the padding is reflected back and
    forth, as ``numpy.pad(mode="reflect")`` does; a single sample is repeated.
    """
    if n_samples == 1:
        return np.zeros(1 + 2 * pad, np.int64)
    period = 2 * (n_samples - 1)
    phase = np.arange(-pad, n_samples + pad) % period
    return np.minimum(phase, period - phase)


def mel_power(waveform: npt.ArrayLike, frontend: FrontEnd) -> npt.NDArray[np.float64]:
    """``(S,)`` waveform -> ``(T, F)`` mel power in float64, ``T = S // hop_length + 1``."""
    x = np.asarray(waveform, np.float64)
    padded = x[reflected_indices(len(x), frontend.n_fft // 2)]
    frames = np.lib.stride_tricks.sliding_window_view(padded, frontend.n_fft)[:: frontend.hop_length]
    spectrum = np.fft.rfft(frames * hann_window(frontend.n_fft), axis=-1)
    return np.asarray((spectrum.real**2 + spectrum.imag**2) @ mel_filters(frontend))


def reference_log_mel(waveform: npt.ArrayLike, frontend: FrontEnd) -> npt.NDArray[np.float64]:
    """``(S,)`` waveform -> ``(T, F)`` log-mel in dB, float64: slow and exact, the reference of the others."""
    return np.asarray(10.0 * np.log10(np.maximum(mel_power(waveform, frontend), FLOOR)))

"""Overview of a recording: peaks and log-mel in as many columns as fit a screen, at bounded memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pannsx.frontend.definition import hz_to_mel
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.frontend.settings import FrontEnd
from pannsx.report.columns import Columns
from pannsx.report.sound import Sound
from pannsx.types import FloatArray

FREQUENCIES_HZ = (100, 500, 1000, 2000, 5000, 10_000)

# For display, whatever the network: the paper's front end at 32 kHz, at first with a column every 10 ms.
_FRONT_END = FrontEnd(sample_rate=32_000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14_000)


class Overview(NamedTuple):
    """The data to draw, in ``N`` columns of equal length.

    Attributes:
        peaks: ``(N, 2)`` least and greatest sample.
        log_mel: ``(N, F)`` greatest log-mel in dB.
        column_s: length of a column, in seconds; the last one may cover less.
        duration_s: length of the sound, in seconds.
    """

    peaks: FloatArray
    log_mel: FloatArray
    column_s: float
    duration_s: float


def overview_of(sound: Sound) -> Overview:
    """A recording -> at most ``columns.MOST_COLUMNS`` columns of it.

    Raises:
        AudioError: the source cannot be used.
    """
    kernel, hop = LogMelKernel(_FRONT_END), _FRONT_END.hop_length
    # Of (-least sample, greatest sample, log-mel), so that columns are joined by their maximum.
    columns, n_samples = Columns(2 + _FRONT_END.n_mels), 0
    with sound.blocks(_FRONT_END.sample_rate) as blocks:
        for block in blocks:  # of 10 s, a whole number of hops
            n_samples += len(block)
            columns.push(_frames_of(block, kernel, hop))
    values, frames_in_column = columns.values()
    return Overview(
        peaks=values[:, :2] * np.array([-1, 1], np.float32),
        log_mel=values[:, 2:],
        column_s=frames_in_column * hop / _FRONT_END.sample_rate,
        duration_s=n_samples / _FRONT_END.sample_rate,
    )


def _frames_of(block: FloatArray, kernel: LogMelKernel, hop: int) -> FloatArray:
    """``(n,)`` samples -> ``(ceil(n / hop), 2 + F)``: -least, greatest, log-mel of every hop."""
    n_frames = -(-len(block) // hop)
    by_hop = np.concatenate([block, np.full(n_frames * hop - len(block), block[-1])]).reshape(n_frames, hop)
    log_mel = kernel(np.pad(block, (0, max(0, _FRONT_END.n_fft - len(block)))))[:n_frames]
    peaks = (-by_hop.min(axis=1, keepdims=True), by_hop.max(axis=1, keepdims=True))
    return np.concatenate([*peaks, log_mel], axis=1)


def band_of(frequency_hz: float) -> float:
    """Position of a frequency on the axis of bands, where band ``i`` is centred on ``i + 0.5``."""
    mel, low, high = hz_to_mel([frequency_hz, _FRONT_END.fmin, _FRONT_END.fmax])
    return float((mel - low) / (high - low) * (_FRONT_END.n_mels + 1) - 0.5)


def axis_of() -> list[tuple[str, float]]:
    """Marks of the frequency axis: text, and height as a share of the picture, from below."""
    marks = []
    for hz in FREQUENCIES_HZ:
        text = f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz"
        marks.append((text, band_of(hz) / _FRONT_END.n_mels))
    return marks

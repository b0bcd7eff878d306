"""Overview of a recording: peaks and log-mel in as many columns as fit a screen, at bounded memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pannsx.audio import open_blocks
from pannsx.frontend.definition import hz_to_mel
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.frontend.settings import FrontEnd
from pannsx.types import FloatArray, Source

MOST_COLUMNS = 4000

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


def overview_of(source: Source, source_rate: int | None = None) -> Overview:
    """A source as :func:`pannsx.audio.load` takes it -> at most ``MOST_COLUMNS`` columns of it.

    Raises:
        AudioError: the source cannot be used.
    """
    kernel, hop = LogMelKernel(_FRONT_END), _FRONT_END.hop_length
    # Columns of (-least sample, greatest sample, log-mel), so that columns are joined by their maximum.
    columns = frames = np.zeros((0, 2 + _FRONT_END.n_mels), np.float32)
    frames_in_column, n_samples = 1, 0
    with open_blocks(source, _FRONT_END.sample_rate, source_rate=source_rate) as blocks:
        for block in blocks:  # of 10 s, a whole number of hops
            n_samples += len(block)
            frames = np.concatenate([frames, _frames_of(block, kernel, hop)])
            n_whole = len(frames) - len(frames) % frames_in_column
            columns = np.concatenate([columns, _joined(frames[:n_whole], frames_in_column)])
            frames = frames[n_whole:]
            while len(columns) > MOST_COLUMNS and len(columns) % 2 == 0:
                columns, frames_in_column = _joined(columns, 2), frames_in_column * 2
    columns = np.concatenate([columns, _joined(frames, frames_in_column)])
    while len(columns) > MOST_COLUMNS:
        columns, frames_in_column = _joined(columns, 2), frames_in_column * 2
    return Overview(
        peaks=columns[:, :2] * np.array([-1, 1], np.float32),
        log_mel=columns[:, 2:],
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


def _joined(columns: FloatArray, size: int) -> FloatArray:
    """``(n, C)`` -> ``(ceil(n / size), C)``: the greatest of each ``size`` columns."""
    if size == 1 or len(columns) == 0:
        return columns
    return np.maximum.reduceat(columns, np.arange(0, len(columns), size), axis=0)


def band_of(frequency_hz: float) -> float:
    """Position of a frequency on the axis of bands, where band ``i`` is centred on ``i + 0.5``."""
    mel, low, high = hz_to_mel([frequency_hz, _FRONT_END.fmin, _FRONT_END.fmax])
    return float((mel - low) / (high - low) * (_FRONT_END.n_mels + 1) - 0.5)

"""Sample rate conversion: the one door through which every waveform goes from a rate to another.

The filter is resampy's ``kaiser_best``, a Kaiser-windowed sinc, because the clips that the published
models were trained on went through it.  A file is converted piece by piece, and a piece comes out
bit for bit as the same part of the whole would: :class:`StreamResampler` keeps as many samples on
either side as the filter reaches, and gives the filter the very time stamps that one pass over the
whole would have computed.  (Chunks that are merely aligned to a common period differ by up to
4e-5 where rounding puts a time stamp on the other side of a sample.)
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pannsx.errors import AudioError

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float32]

FILTER = "kaiser_best"


class _Filter(NamedTuple):
    """The right half of a low-pass filter, scaled for one pair of rates."""

    half_window: npt.NDArray[np.float64]
    slope: npt.NDArray[np.float64]  # difference to the next entry, for linear interpolation
    entries_per_crossing: int
    scale: float  # cutoff as a share of the source's, 1.0 when the rate rises
    step_s: float  # advance per output sample, in source samples
    reach: int  # source samples that count on either side of an output sample


def output_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Number of samples that ``n_samples`` become: ``S * to_rate // from_rate``, but at least one.

    Rounding down is resampy's convention: the last output sample never lies past the last input
    sample by a whole output period.  The floor of one is ours: a sound of one sample stays a sound.
    """
    return max(1, n_samples * to_rate // from_rate) if n_samples else 0


def resample(waveform: FloatArray, from_rate: int, to_rate: int) -> FloatArray:
    """``(S,)`` at ``from_rate`` -> ``(max(1, S * to_rate // from_rate),)`` at ``to_rate``, both in Hz.

    With equal rates the waveform itself is returned, not a copy.  An empty one stays empty.

    Raises:
        AudioError: a rate is not positive, or the rates lie too far apart for the filter's table.
    """
    if from_rate < 1 or to_rate < 1:
        raise AudioError(f"cannot convert from {from_rate} Hz to {to_rate} Hz; rates must be at least 1 Hz")
    if from_rate == to_rate:
        return waveform
    n_out = output_length(len(waveform), from_rate, to_rate)
    return _interpolate(waveform, 0, _filter(from_rate, to_rate), 0, n_out)


class StreamResampler:
    """Converts the output samples ``first_out`` up to ``stop_out`` of a waveform that comes in pieces.

    Output sample ``m`` is the one that :func:`resample` puts at index ``m`` for the whole waveform.
    Holds the latest piece and the filter's reach, whatever the length of the whole.

    Attributes:
        first_in: the source sample that the first piece must begin with.
        stop_in: one past the last source sample that is needed; None when ``stop_out`` is None.
    """

    def __init__(
        self, from_rate: int, to_rate: int, *, first_out: int = 0, stop_out: int | None = None
    ) -> None:
        self._from_rate = from_rate
        self._to_rate = to_rate
        self._filter = _filter(from_rate, to_rate) if from_rate != to_rate else None
        # One sample more than the filter reaches, for time stamps rounded to the other side of a sample.
        self._margin = self._filter.reach + 1 if self._filter else 0
        self._next_out = first_out
        self._stop_out = stop_out
        self.first_in = max(0, first_out * from_rate // to_rate - self._margin)
        self.stop_in: int | None = None
        if stop_out is not None:
            self.stop_in = (stop_out - 1) * from_rate // to_rate + self._margin + 1
        self._buffer: FloatArray = np.empty(0, np.float32)
        self._buffer_start = self.first_in

    def push(self, piece: FloatArray) -> FloatArray:
        """Next source samples ``(n,)`` -> the output samples ``(m,)`` that are settled by now."""
        self._buffer = np.concatenate([self._buffer, piece]) if len(self._buffer) else piece
        end = self._buffer_start + len(self._buffer)
        # Settled: all m whose time floor(m * from / to) has its right-hand context.
        settled = -(-max(0, end - self._margin) * self._to_rate // self._from_rate)
        return self._advance(settled)

    def finish(self) -> FloatArray:
        """The output samples ``(m,)`` that were waiting for context: the waveform ends here."""
        end = self._buffer_start + len(self._buffer)
        return self._advance(output_length(end, self._from_rate, self._to_rate))

    def _advance(self, stop: int) -> FloatArray:
        if self._stop_out is not None:
            stop = min(stop, self._stop_out)
        if stop <= self._next_out:
            return np.empty(0, np.float32)
        if self._filter is None:
            first = self._next_out - self._buffer_start
            out = self._buffer[first : first + stop - self._next_out]
        else:
            out = _interpolate(self._buffer, self._buffer_start, self._filter, self._next_out, stop)
        self._next_out = stop
        keep_from = max(self._buffer_start, stop * self._from_rate // self._to_rate - self._margin)
        self._buffer = self._buffer[keep_from - self._buffer_start :]
        self._buffer_start = keep_from
        return out


@cache
def _filter(from_rate: int, to_rate: int) -> _Filter:
    from resampy.filters import get_filter

    half_window, entries_per_crossing, _ = get_filter(FILTER)
    ratio = float(to_rate) / from_rate
    scale = min(1.0, ratio)
    stride = int(scale * entries_per_crossing)
    if stride < 1:
        raise AudioError(
            f"cannot convert from {from_rate} Hz to {to_rate} Hz in one step: "
            f"the rates may differ by a factor of {entries_per_crossing} at most"
        )
    if ratio < 1:
        half_window = ratio * half_window
    slope = np.diff(half_window, append=half_window[-1])
    return _Filter(
        half_window, slope, int(entries_per_crossing), scale, 1.0 / ratio, len(half_window) // stride + 1
    )


def _interpolate(
    samples: FloatArray, samples_start: int, low_pass: _Filter, first_out: int, stop_out: int
) -> FloatArray:
    """Source samples ``(n,)`` from index ``samples_start`` on -> output samples ``[first_out, stop_out)``."""
    from resampy.interpn import resample_f_s

    out = np.zeros(stop_out - first_out, np.float32)
    if len(out):
        # The subtraction is exact, so that pieces keep the rounding of the whole's time stamps.
        times = np.arange(first_out, stop_out) * low_pass.step_s - samples_start
        resample_f_s(
            np.ascontiguousarray(samples, np.float32),
            times,
            low_pass.half_window,
            low_pass.slope,
            low_pass.entries_per_crossing,
            low_pass.scale,
            out,
        )
    return out

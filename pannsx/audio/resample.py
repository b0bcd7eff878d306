"""Sample rate conversion: the one door through which every waveform goes from a rate to another.

The filter is resampy's ``kaiser_best``, a Kaiser-windowed sinc, because the clips that the published
models were trained on went through it; the two of :mod:`pannsx.audio.sinc` are for scores that are compared
with those of tools that use torchaudio.  Its weights are resampy's own table, read as resampy reads
it, but once for each phase instead of once for each output (:mod:`pannsx.audio.polyphase`); only rates
with so little in common that the weights of all phases would not fit in memory go through resampy's
loop.  A file is converted piece by piece, and a piece comes out bit for bit as the same part of the
whole would: :class:`StreamResampler` keeps as many samples on either side as the filter reaches.

Phases are exact here. resampy adds up rounded time stamps, so that where one should fall on a
source sample it may fall just before it, which moves that output by up to 4e-5: rates like 47,999 Hz
differ from resampy by that much now and then, the usual ones by less than 1e-6.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from pannsx.audio.sinc import WindowedSinc, windowed_sinc
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.audio.polyphase import Bank, Interpolation
    from pannsx.types import FloatArray

FilterName = Literal["kaiser_best", "hann6", "kaiser64"]

FILTER: FilterName = "kaiser_best"


class _Converter(NamedTuple):
    """What a pair of rates is converted with."""

    filter: Interpolation | WindowedSinc
    bank: Bank | None  # None: output by output
    up: int  # the ratio of the rates, in lowest terms
    down: int
    step_s: float  # advance per output sample, in source samples


def output_length(n_samples: int, from_rate: int, to_rate: int, filter: FilterName = FILTER) -> int:
    """Number of samples that ``n_samples`` become: ``S * to_rate // from_rate``, but at least one.

    Rounding down is resampy's convention: the last output sample never lies past the last input
    sample by a whole output period.  The floor of one is ours: a sound of one sample stays a sound.
    The filters of torchaudio round up, as it does.
    """
    if filter != "kaiser_best":
        return -(-n_samples * to_rate // from_rate)
    return max(1, n_samples * to_rate // from_rate) if n_samples else 0


def resample(
    waveform: FloatArray, from_rate: int, to_rate: int, *, filter: FilterName = FILTER
) -> FloatArray:
    """``(S,)`` at ``from_rate`` -> ``(max(1, S * to_rate // from_rate),)`` at ``to_rate``, both in Hz.

    With equal rates the waveform itself is returned, not a copy.  An empty one stays empty.

    Args:
        waveform: float32.
        from_rate, to_rate: in Hz.
        filter: ``"kaiser_best"``, resampy's; ``"hann6"`` and ``"kaiser64"``, torchaudio's default and its
            Kaiser window with 64 crossings, which round the length up.

    Raises:
        AudioError: a rate is not positive, or the rates lie too far apart for the filter's table.
        ValueError: an unknown filter.
    """
    if filter not in get_args(FilterName):
        raise ValueError(f"filter is {filter!r}; use one of {', '.join(get_args(FilterName))}")
    if from_rate < 1 or to_rate < 1:
        raise AudioError(f"cannot convert from {from_rate} Hz to {to_rate} Hz; rates must be at least 1 Hz")
    if from_rate == to_rate:
        return waveform
    n_out = output_length(len(waveform), from_rate, to_rate, filter)
    return _convert(waveform, 0, _converter(from_rate, to_rate, filter), 0, n_out)


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
        self._converter = _converter(from_rate, to_rate, FILTER) if from_rate != to_rate else None
        # One sample more than the filter reaches, for time stamps rounded to the other side of a sample.
        self._margin = self._converter.filter.reach + 1 if self._converter else 0
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
        if self._converter is None:
            first = self._next_out - self._buffer_start
            out = self._buffer[first : first + stop - self._next_out]
        else:
            out = _convert(self._buffer, self._buffer_start, self._converter, self._next_out, stop)
        self._next_out = stop
        keep_from = max(self._buffer_start, stop * self._from_rate // self._to_rate - self._margin)
        self._buffer = self._buffer[keep_from - self._buffer_start :]
        self._buffer_start = keep_from
        return out


@lru_cache(maxsize=8)
def _converter(from_rate: int, to_rate: int, filter: FilterName) -> _Converter:
    from pannsx.audio.polyphase import make_bank

    divisor = math.gcd(from_rate, to_rate)
    up, down = to_rate // divisor, from_rate // divisor
    chosen: Interpolation | WindowedSinc
    if filter == "kaiser_best":
        chosen = _interpolation(from_rate, to_rate)
    else:
        chosen = windowed_sinc(filter, from_rate, to_rate)
    return _Converter(chosen, make_bank(chosen, up, down), up, down, 1.0 / (float(to_rate) / from_rate))


def _interpolation(from_rate: int, to_rate: int) -> Interpolation:
    from resampy.filters import get_filter

    from pannsx.audio.polyphase import Interpolation

    half_window, entries_per_crossing, _ = get_filter(FILTER)
    ratio = float(to_rate) / from_rate
    scale = min(1.0, ratio)
    if int(scale * entries_per_crossing) < 1:
        raise AudioError(
            f"cannot convert from {from_rate} Hz to {to_rate} Hz in one step: "
            f"the rates may differ by a factor of {entries_per_crossing} at most"
        )
    half_window = scale * half_window
    slope = np.diff(half_window, append=half_window[-1])
    return Interpolation(half_window, slope, int(entries_per_crossing), scale)


def _convert(
    samples: FloatArray, samples_start: int, converter: _Converter, first_out: int, stop_out: int
) -> FloatArray:
    """Source samples ``(n,)`` from index ``samples_start`` on -> output samples ``[first_out, stop_out)``."""
    if stop_out <= first_out:
        return np.empty(0, np.float32)
    if converter.bank is None:
        if isinstance(converter.filter, WindowedSinc):
            up, down = converter.up, converter.down
            return converter.filter.convert(samples, samples_start, up, down, first_out, stop_out)
        return _by_loop(samples, samples_start, converter.filter, converter.step_s, first_out, stop_out)
    from pannsx.audio.polyphase import convert

    return convert(converter.bank, np.asarray(samples, np.float32), samples_start, first_out, stop_out)


def _by_loop(
    samples: FloatArray,
    samples_start: int,
    low_pass: Interpolation,
    step_s: float,
    first_out: int,
    stop_out: int,
) -> FloatArray:
    """As :func:`_convert`, output by output in resampy's own loop."""
    from resampy.interpn import resample_f_s

    out = np.zeros(stop_out - first_out, np.float32)
    # The subtraction is exact, so that pieces keep the rounding of the whole's time stamps.
    times = np.arange(first_out, stop_out) * step_s - samples_start
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

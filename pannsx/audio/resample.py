"""Sample rate conversion, used for every waveform of the package.

The filter is resampy's ``kaiser_best``, a Kaiser-windowed sinc, as in the training data of the published
models; the two of :mod:`pannsx.audio.sinc` are for scores comparable with those of tools that use
torchaudio.  The weights are resampy's own table, evaluated once per phase instead of once per output
(:mod:`pannsx.audio.polyphase`). Rates with too many phases for the memory are converted by resampy's loop.
A file is converted piece by piece, with bit for bit the result for the whole: :class:`StreamResampler`
keeps the samples within the filter's reach on either side.

Phases are exact here. resampy accumulates rounded time stamps: one that should be equal to a source sample
may be just before it, which changes that output by up to 4e-5. So rates like 47,999 Hz occasionally differ
from resampy by that much, the usual ones by less than 1e-6.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from pannsx.audio.sinc import WindowedSinc, windowed_sinc
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.audio.polyphase import Bank, Interpolation
    from pannsx.types import FloatArray

FilterName = Literal["kaiser_best", "hann6", "kaiser64"]

FILTER: FilterName = "kaiser_best"


class _Converter(NamedTuple):
    """Filter or bank of a pair of rates, and the source samples with weight on either side of an output."""

    method: Bank | Interpolation | WindowedSinc  # without a bank: output by output
    reach: int
    up: int  # the ratio of the rates, in lowest terms
    down: int
    step_s: float  # advance per output sample, in source samples


def output_length(n_samples: int, from_rate: int, to_rate: int, filter: FilterName = FILTER) -> int:
    """Length of ``n_samples`` after conversion: ``S * to_rate // from_rate``, but at least one.

    Rounding down is resampy's convention: the last output sample is less than one output period past the
    last input sample.  The minimum of one is ours: a waveform of one sample does not become empty.
    The filters of torchaudio round up, as it does.
    """
    if filter != "kaiser_best":
        return -(-n_samples * to_rate // from_rate)
    return max(1, n_samples * to_rate // from_rate) if n_samples else 0


def resample(
    waveform: FloatArray, from_rate: int, to_rate: int, *, filter: FilterName = FILTER
) -> FloatArray:
    """``(S,)`` at ``from_rate`` -> ``(max(1, S * to_rate // from_rate),)`` at ``to_rate``, both in Hz.

    With equal rates the waveform itself is returned, not a copy.  An empty waveform stays empty.

    Args:
        waveform: float32.
        from_rate, to_rate: in Hz.
        filter: ``"kaiser_best"``, resampy's; ``"hann6"`` and ``"kaiser64"``, torchaudio's default and its
            Kaiser window with 64 crossings, which round the length up.

    Raises:
        AudioError: a rate is not positive, or the ratio is too large for the filter's table.
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
    """Converts a waveform in pieces ``(n,)`` -> its output samples ``first_out`` up to ``stop_out``.

    Output sample ``m`` equals index ``m`` of :func:`resample` for the whole waveform. Memory holds the latest
    piece and the filter's reach, whatever the length of the whole.

    Attributes:
        first_in: first source sample of the first piece.
        stop_in: end of the source samples needed; None if ``stop_out`` is None.
    """

    def __init__(
        self, from_rate: int, to_rate: int, *, first_out: int = 0, stop_out: int | None = None
    ) -> None:
        self._from_rate = from_rate
        self._to_rate = to_rate
        self._converter = _converter(from_rate, to_rate, FILTER) if from_rate != to_rate else None
        # One sample beyond the filter's reach, for time stamps rounded to the other side of a sample.
        self._margin = self._converter.reach + 1 if self._converter else 0
        self._next_out = first_out
        self._stop_out = stop_out
        self.first_in = max(0, first_out * from_rate // to_rate - self._margin)
        self.stop_in: int | None = None
        if stop_out is not None:
            self.stop_in = (stop_out - 1) * from_rate // to_rate + self._margin + 1
        self._buffer: FloatArray = np.empty(0, np.float32)
        self._buffer_start = self.first_in

    def push(self, piece: FloatArray) -> FloatArray:
        """Next source samples ``(n,)`` -> the output samples ``(m,)`` that are now final."""
        self._buffer = np.concatenate([self._buffer, piece]) if len(self._buffer) else piece
        end = self._buffer_start + len(self._buffer)
        # Final: all m with complete right-hand context of their time floor(m * from / to).
        settled = -(-max(0, end - self._margin) * self._to_rate // self._from_rate)
        return self._advance(settled)

    def finish(self) -> FloatArray:
        """End of the waveform -> the remaining output samples ``(m,)``."""
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
    # A bank needs no filter any more, which takes megabytes.
    method = make_bank(chosen, up, down) or chosen
    return _Converter(method, chosen.reach, up, down, 1.0 / (float(to_rate) / from_rate))


def _interpolation(from_rate: int, to_rate: int) -> Interpolation:
    from pannsx.audio.polyphase import Interpolation

    half_window, entries_per_crossing = _published_filter()
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


def _published_filter() -> tuple[npt.NDArray[np.float64], int]:
    """Half of resampy's filter, and its entries from one zero crossing to the next.

    Read from resampy's own file: importing resampy, with its compiled loop, takes a tenth of a second.
    """
    spec = find_spec("resampy")
    folders = [] if spec is None else spec.submodule_search_locations or []
    for path in (Path(folder, "data", f"{FILTER}.npz") for folder in folders):
        if path.is_file():
            with np.load(path) as stored:
                return stored["half_window"], int(stored["precision"])
    from resampy.filters import get_filter

    half_window, entries_per_crossing, _ = get_filter(FILTER)
    return half_window, int(entries_per_crossing)


def _convert(
    samples: FloatArray, samples_start: int, converter: _Converter, first_out: int, stop_out: int
) -> FloatArray:
    """Source samples ``(n,)`` from index ``samples_start`` on -> output samples ``[first_out, stop_out)``."""
    if stop_out <= first_out:
        return np.empty(0, np.float32)
    from pannsx.audio.polyphase import Bank, convert

    method = converter.method
    if isinstance(method, Bank):
        return convert(method, samples, samples_start, first_out, stop_out)
    if isinstance(method, WindowedSinc):
        up, down = converter.up, converter.down
        return method.convert(samples, samples_start, up, down, first_out, stop_out)
    return _by_loop(samples, samples_start, method, converter.step_s, first_out, stop_out)


def _by_loop(
    samples: FloatArray,
    samples_start: int,
    low_pass: Interpolation,
    step_s: float,
    first_out: int,
    stop_out: int,
) -> FloatArray:
    """As :func:`_convert`, output by output, in resampy's loop."""
    from resampy.interpn import resample_f_s

    out = np.zeros(stop_out - first_out, np.float32)
    # The subtraction is exact, so that pieces have the same rounded time stamps as the whole.
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

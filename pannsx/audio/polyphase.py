"""Sample rate conversion by a rational ratio, as products with small matrices.

For a ratio ``up / down`` in lowest terms the filter is periodic: ``up`` output samples advance by ``down``
source samples and use the same ``up`` sets of filter weights.  A *row* is a whole number of such
periods, ``row_out`` output samples from ``row_in`` source samples.  A row is computed in *bands* of
``PANEL`` neighbouring outputs with almost the same source samples: band ``b`` is the product of
its ``K_b`` source samples with a ``(K_b, PANEL)`` matrix, zero outside an output's filter. So the rows of a
waveform are the rows of a matrix product (:mod:`pannsx.jit.matrix`), read where they lie in the source.

The sum of a band is made of *parts*, from both ends of the filter to its middle: each is summed
alone and small ones are added first, which keeps the rounding of float32 below one millionth of full scale.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pannsx.jit import is_enabled
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.matrix import PANEL, SOURCES, product
from pannsx.types import FloatArray

MOST_WEIGHTS = 2**24
"""Maximum size of a table (64 MB); above it, the rates have too little in common."""

_MIDDLE = 32  # source samples of the middle part, around the filter's peak
_OUTER = 96  # the most of any other part
_ROWS_FLOATS = 2**16  # source samples of the rows that all bands take in turn: 256 KB
_WELL_FILLED = 0.95
_MOST_PERIODS = 96


class Interpolation(NamedTuple):
    """A tabulated filter, interpolated as in resampy and scaled for one pair of rates.

    Attributes:
        half_window: right half of the filter.
        slope: difference of each entry from the next.
        entries_per_crossing: table entries from one zero crossing to the next.
        scale: cutoff as a share of the source's, 1.0 for a higher output rate.
    """

    half_window: npt.NDArray[np.float64]
    slope: npt.NDArray[np.float64]
    entries_per_crossing: int
    scale: float

    @property
    def reach(self) -> int:
        """Source samples with weight on either side of an output sample."""
        return len(self.half_window) // int(self.scale * self.entries_per_crossing) + 1

    def phase_weights(self, up: int, down: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """``(up,)`` source sample at or before each output of a period, ``(up, 2 reach)`` weights around it.

        Column ``j`` weighs source sample ``base - reach + 1 + j``.  The table is read as resampy reads it:
        a whole stride between taps, linear interpolation between entries.
        """
        base, remainder = np.divmod(np.arange(up, dtype=np.int64) * down, up)
        ahead = self.scale * (remainder / up)
        sides = [_one_side(self, distance) for distance in (ahead, self.scale - ahead)]
        return base, np.concatenate([sides[0][:, ::-1], sides[1]], axis=1)


class Filter(Protocol):
    """A low-pass filter for one pair of rates."""

    @property
    def reach(self) -> int:
        """Source samples with weight on either side of an output sample."""

    def phase_weights(self, up: int, down: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """As :meth:`Interpolation.phase_weights`."""


class Bank(NamedTuple):
    """Weights of one pair of rates, in order of use.

    Attributes:
        row_in: source samples from one row to the next.
        row_out: output samples of a row.
        n_bands: bands of a row.
        bands: ``(P,)`` band of each part.
        first_in: ``(P,)`` first source sample of each part, relative to the row's; negative for early ones.
        starts: ``(P + 1,)`` first row of each part's weights, and the end of the last part's.
        weights: ``(starts[P], PANEL)``, flat.
        before: source samples a row needs before its first.
        after: source samples a row needs from its first on.
    """

    row_in: int
    row_out: int
    n_bands: int
    bands: npt.NDArray[np.int64]
    first_in: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    weights: FloatArray
    before: int
    after: int


def _one_side(filter_: Interpolation, distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``(up,)`` distance of the nearest tap, in crossings -> ``(up, reach)`` weights, nearest tap first."""
    stride = int(filter_.scale * filter_.entries_per_crossing)
    n = len(filter_.half_window)
    position = distance * filter_.entries_per_crossing
    entry = position.astype(np.int64)
    taps = np.arange(filter_.reach)
    index = np.minimum(entry[:, None] + taps * stride, n - 1)
    between = (position - entry)[:, None]
    weights = filter_.half_window[index] + between * filter_.slope[index]
    return np.where(taps < ((n - entry) // stride)[:, None], weights, 0.0)


def make_bank(filter_: Filter, up: int, down: int) -> Bank | None:
    """The bank for a ratio ``up / down`` in lowest terms; None if larger than ``MOST_WEIGHTS``."""
    n_taps = 2 * filter_.reach
    n_periods = _periods_in_a_row(up)
    n_bands = -(-n_periods * up // PANEL)
    if n_bands * (n_taps + PANEL * down // up) * PANEL > MOST_WEIGHTS:
        return None
    base, weights = filter_.phase_weights(up, down)
    base = (base + down * np.arange(n_periods)[:, None]).ravel()
    bands, first_in, starts, tables = [], [], [0], []
    for band in range(n_bands):
        bases = base[band * PANEL : (band + 1) * PANEL]
        phases = np.arange(band * PANEL, band * PANEL + len(bases)) % up
        n_in = int(bases[-1] - bases[0]) + n_taps
        table = np.zeros((n_in, PANEL), np.float32)
        outputs = np.arange(len(bases))[:, None]
        table[(bases - bases[0])[:, None] + np.arange(n_taps), outputs] = weights[phases]
        for begin, end in _parts(n_in):
            bands.append(band)
            first_in.append(int(bases[0]) - filter_.reach + 1 + begin)
            starts.append(starts[-1] + end - begin)
            tables.append(table[begin:end].ravel())
    return Bank(
        row_in=n_periods * down,
        row_out=n_periods * up,
        n_bands=n_bands,
        bands=np.array(bands, np.int64),
        first_in=np.array(first_in, np.int64),
        starts=np.array(starts, np.int64),
        weights=np.concatenate(tables),
        before=filter_.reach - 1,
        after=int(base[-1]) + filter_.reach + 1,
    )


def _parts(n: int) -> list[tuple[int, int]]:
    """``n`` source samples in parts, the outermost first: a small middle, and as many on either side."""
    begin = max(0, n - _MIDDLE) // 2
    end = n - begin
    bounds = np.linspace(0, begin, -(-begin // _OUTER) + 1).astype(int).tolist()
    sides = [side for low, high in pairwise(bounds) for side in ((low, high), (n - high, n - low))]
    return [*sides, (begin, end)]


def _periods_in_a_row(up: int) -> int:
    """The smallest number of periods whose outputs fill bands well."""
    filled = [n * up / (-(-n * up // PANEL) * PANEL) for n in range(1, _MOST_PERIODS + 1)]
    return 1 + next((i for i, share in enumerate(filled) if share >= _WELL_FILLED), int(np.argmax(filled)))


def convert(bank: Bank, samples: FloatArray, samples_start: int, first_out: int, stop_out: int) -> FloatArray:
    """Source samples ``(n,)`` from index ``samples_start`` -> outputs ``first_out`` up to ``stop_out``.

    Samples before and after count as zero. The result is bit for bit independent of the division of a
    waveform into parts, if each part includes the samples within the filter's reach.
    """
    # One type of array for the kernel, which is compiled for each: contiguous, aligned and writable.
    samples = np.require(samples, np.float32, ["C", "A", "W"])
    first_row = first_out // bank.row_out
    end_row = -(-stop_out // bank.row_out)
    # Rows whose source samples are all there are read in place, those at the edges from a copy with zeros.
    first_whole = -(-(samples_start + bank.before) // bank.row_in)
    end_whole = (samples_start + len(samples) - bank.after) // bank.row_in + 1
    first_whole = min(max(first_row, first_whole), end_row)
    end_whole = min(max(first_whole, end_whole), end_row)
    stride = bank.n_bands * PANEL
    out = np.empty((end_row - first_row, stride), np.float32)
    for begin, end in ((first_row, first_whole), (first_whole, end_whole), (end_whole, end_row)):
        if begin == end:
            continue
        source, start = samples, samples_start
        if begin != first_whole or end != end_whole:
            start = begin * bank.row_in - bank.before
            stop = (end - 1) * bank.row_in + bank.after
            source = _with_zeros(samples, start - samples_start, stop - samples_start)
        rows = out[begin - first_row : end - first_row].reshape(-1)
        at = begin * bank.row_in - start
        _kernel()(
            source, at, end - begin, bank.row_in, bank.bands, bank.first_in, bank.starts, bank.weights, rows
        )
    first = first_out - first_row * bank.row_out
    return out[:, : bank.row_out].reshape(-1)[first : first + stop_out - first_out]


def _with_zeros(samples: FloatArray, start: int, stop: int) -> FloatArray:
    """``samples[start:stop]``, with zeros before the first and after the last sample."""
    found = np.zeros(stop - start, np.float32)
    begin, end = max(start, 0), min(stop, len(samples))
    if begin < end:
        found[begin - start : end - start] = samples[begin:end]
    return found


def _multiply(source, origin, n_rows, row_in, bands, first_in, starts, weights, out):
    """The kernel without compilation, for debuggers; its sums are rounded in another order."""
    table = weights.reshape(-1, PANEL)
    result = out.reshape(n_rows, -1, PANEL)
    result[:] = 0
    rows = origin + row_in * np.arange(n_rows)[:, None]
    for part, band in enumerate(bands):
        begin, end = starts[part], starts[part + 1]
        result[:, band] += source[rows + first_in[part] + np.arange(end - begin)] @ table[begin:end]


@lru_cache(maxsize=1)
def _kernel():
    if not is_enabled():
        return _multiply
    sources = digest_of(*SOURCES, "audio/polyphase.py")
    one_product = product()

    def multiply(source, origin, n_rows, row_in, bands, first_in, starts, weights, out):
        """``out[row, band] = sum of the band's parts: source[row, part] @ weights[part]``."""
        _ = sources
        n_parts = len(bands)
        stride = (bands[n_parts - 1] + 1) * PANEL
        no_bias = np.zeros(2 * PANEL, np.float32)
        at_once = max(1, _ROWS_FLOATS // row_in)
        for first in range(0, n_rows, at_once):
            m = min(at_once, n_rows - first)
            for part in range(n_parts):
                band = bands[part]
                begin, end = starts[part], starts[part + 1]
                at = first * stride + band * PANEL
                again = part > 0 and bands[part - 1] == band
                one_product(
                    source, origin + first * row_in + first_in[part], row_in, m, 1, 0, end - begin,
                    weights, begin * PANEL, 0, 0, PANEL, out, at, stride,
                    no_bias, 0, np.float32(-np.inf), np.float32(np.inf), at if again else -1,
                )  # fmt: skip

    return compiled(multiply)

"""Sample rate conversion by a rational ratio, as products with small matrices.

For a ratio ``up / down`` in lowest terms the filter is periodic: ``up`` output samples advance by ``down``
source samples and use the same ``up`` sets of filter weights.  A *row* is a whole number of such
periods, ``row_out`` output samples from ``row_in`` source samples.  A row is computed in *bands* of
48 neighbouring outputs with almost the same source samples: band ``b`` is the product of
its ``K_b`` source samples with a ``(K_b, 48)`` matrix, zero outside an output's filter.
Four rows are computed at once, each with two sums of three vectors in registers.

The products of a sum are added from both ends of the filter towards its middle, small ones first,
which keeps the rounding of float32 below one millionth of full scale.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from numba import njit

from pannsx.jit import is_enabled
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.simd import N_LANES, broadcast, load, store
from pannsx.types import FloatArray

BAND = 3 * N_LANES
ROWS_AT_ONCE = 4
MOST_WEIGHTS = 2**24
"""Maximum size of a table (64 MB); above it, the rates have too little in common."""

_ZERO = np.float32(0)
_WELL_FILLED = 0.95
_MOST_PERIODS = 2 * BAND


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
        first_in: first source sample of each band, relative to the row's; negative for the first ones.
        starts: first product of each band, and the end of the last band.
        order: source sample of each product, relative to the band's first.
        weights: ``(products, BAND)``, flat.
        before: source samples a row needs before its first.
        after: source samples a row needs from its first on.
    """

    row_in: int
    row_out: int
    first_in: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
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
    band_in = 2 * filter_.reach + BAND * down // up
    n_periods = _periods_in_a_row(up)
    if -(-n_periods * up // BAND) * band_in * BAND > MOST_WEIGHTS:
        return None
    base, weights = filter_.phase_weights(up, down)
    base = (base + down * np.arange(n_periods)[:, None]).ravel()
    weights = np.tile(weights, (n_periods, 1))
    first_in, starts, orders, tables = [], [0], [], []
    for begin in range(0, len(base), BAND):
        bases = base[begin : begin + BAND]
        n_in = int(bases[-1] - bases[0]) + 2 * filter_.reach
        table = np.zeros((n_in, BAND))
        outputs = np.arange(len(bases))[:, None]
        table[(bases - bases[0])[:, None] + np.arange(2 * filter_.reach), outputs] = weights[
            begin : begin + BAND
        ]
        order = np.argsort(-np.abs(np.arange(n_in) - (n_in - 1) / 2), kind="stable")
        first_in.append(int(bases[0]) - filter_.reach + 1)
        starts.append(starts[-1] + n_in)
        orders.append(order)
        tables.append(table[order].astype(np.float32).ravel())
    return Bank(
        row_in=n_periods * down,
        row_out=n_periods * up,
        first_in=np.array(first_in, np.int64),
        starts=np.array(starts, np.int64),
        order=np.concatenate(orders),
        weights=np.concatenate(tables),
        before=filter_.reach - 1,
        after=int(base[-1]) + filter_.reach + 1,
    )


def _periods_in_a_row(up: int) -> int:
    """The smallest number of periods whose outputs fill bands well."""
    filled = [n * up / (-(-n * up // BAND) * BAND) for n in range(1, _MOST_PERIODS + 1)]
    return 1 + next((i for i, share in enumerate(filled) if share >= _WELL_FILLED), int(np.argmax(filled)))


def convert(bank: Bank, samples: FloatArray, samples_start: int, first_out: int, stop_out: int) -> FloatArray:
    """Source samples ``(n,)`` from index ``samples_start`` -> outputs ``first_out`` up to ``stop_out``.

    Samples before and after count as zero. The result is bit for bit independent of the division of a
    waveform into parts, if each part includes the samples within the filter's reach.
    """
    first_row = first_out // bank.row_out
    n_rows = -(-(stop_out - first_row * bank.row_out) // bank.row_out)
    n_rows = -(-n_rows // ROWS_AT_ONCE) * ROWS_AT_ONCE
    source = np.zeros(bank.before + (n_rows - 1) * bank.row_in + bank.after, np.float32)
    source_start = first_row * bank.row_in - bank.before
    begin = max(samples_start, source_start)
    end = min(samples_start + len(samples), source_start + len(source))
    if begin < end:
        source[begin - source_start : end - source_start] = samples[
            begin - samples_start : end - samples_start
        ]
    stride = len(bank.first_in) * BAND
    out = np.empty(n_rows * stride, np.float32)
    _kernel()(
        source, bank.before, n_rows, bank.row_in, bank.first_in, bank.starts, bank.order, bank.weights, out
    )
    rows = out.reshape(n_rows, stride)[:, : bank.row_out].reshape(-1)
    first = first_out - first_row * bank.row_out
    return rows[first : first + stop_out - first_out]


@njit(forceinline=True)
def _six_zeros():
    z = broadcast(_ZERO)
    return z, z, z, z, z, z


@njit(forceinline=True)
def _weights(weights, product):
    at = product * BAND
    return load(weights, at), load(weights, at + N_LANES), load(weights, at + 2 * N_LANES)


@njit(forceinline=True)
def _add(a, b, c, u, v, w, sample):
    return a + u * sample, b + v * sample, c + w * sample


@njit(forceinline=True)
def _store_three(out, at, a, b, c):
    store(out, at, a)
    store(out, at + N_LANES, b)
    store(out, at + 2 * N_LANES, c)


def _multiply(source, origin, n_rows, row_in, first_in, starts, order, weights, out):
    """The kernel without compilation, for debuggers; its sums are rounded in another order."""
    bands = out.reshape(n_rows, len(first_in), BAND)
    rows = origin + row_in * np.arange(n_rows)[:, None]
    for band, first in enumerate(first_in):
        begin, end = starts[band], starts[band + 1]
        products = source[rows + first + order[begin:end]]
        bands[:, band] = products @ weights[begin * BAND : end * BAND].reshape(-1, BAND)


@lru_cache(maxsize=1)
def _kernel():
    if not is_enabled():
        return _multiply
    sources = digest_of("jit/simd.py", "audio/polyphase.py")

    def multiply(source, origin, n_rows, row_in, first_in, starts, order, weights, out):
        """``out[row, band, :] = sum_i source[row, band, order[i]] * weights[band, i, :]``."""
        _ = sources
        n_bands = len(first_in)
        stride = n_bands * BAND
        for row in range(0, n_rows, ROWS_AT_ONCE):
            for band in range(n_bands):
                at = origin + row * row_in + first_in[band]
                # Register names: row (0 to 3), vector (a, b, c), even or odd product (blank or 2).
                a0, b0, c0, a02, b02, c02 = _six_zeros()
                a1, b1, c1, a12, b12, c12 = _six_zeros()
                a2, b2, c2, a22, b22, c22 = _six_zeros()
                a3, b3, c3, a32, b32, c32 = _six_zeros()
                begin, end = starts[band], starts[band + 1]
                for i in range(begin, end - 1, 2):
                    a, b, c = _weights(weights, i)
                    s = at + order[i]
                    a0, b0, c0 = _add(a0, b0, c0, a, b, c, source[s])
                    a1, b1, c1 = _add(a1, b1, c1, a, b, c, source[s + row_in])
                    a2, b2, c2 = _add(a2, b2, c2, a, b, c, source[s + 2 * row_in])
                    a3, b3, c3 = _add(a3, b3, c3, a, b, c, source[s + 3 * row_in])
                    a, b, c = _weights(weights, i + 1)
                    s = at + order[i + 1]
                    a02, b02, c02 = _add(a02, b02, c02, a, b, c, source[s])
                    a12, b12, c12 = _add(a12, b12, c12, a, b, c, source[s + row_in])
                    a22, b22, c22 = _add(a22, b22, c22, a, b, c, source[s + 2 * row_in])
                    a32, b32, c32 = _add(a32, b32, c32, a, b, c, source[s + 3 * row_in])
                if (end - begin) % 2:
                    a, b, c = _weights(weights, end - 1)
                    s = at + order[end - 1]
                    a0, b0, c0 = _add(a0, b0, c0, a, b, c, source[s])
                    a1, b1, c1 = _add(a1, b1, c1, a, b, c, source[s + row_in])
                    a2, b2, c2 = _add(a2, b2, c2, a, b, c, source[s + 2 * row_in])
                    a3, b3, c3 = _add(a3, b3, c3, a, b, c, source[s + 3 * row_in])
                to = row * stride + band * BAND
                _store_three(out, to, a0 + a02, b0 + b02, c0 + c02)
                _store_three(out, to + stride, a1 + a12, b1 + b12, c1 + c12)
                _store_three(out, to + 2 * stride, a2 + a22, b2 + b22, c2 + c22)
                _store_three(out, to + 3 * stride, a3 + a32, b3 + b32, c3 + c32)

    return compiled(multiply)

"""Distances of all pairs of rows, in blocks: sums of kernels and the median, without ``N x N`` memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pannsx.types import DoubleArray

Kernel = Callable[[DoubleArray, DoubleArray], DoubleArray]
"""Rows ``(n, D)`` and ``(m, D)`` -> ``(n, m)``."""

BLOCK_ROWS = 1024
"""Rows of a block; its distances take 8 MB in float64."""

_BITS = 20  # of the number of a bin
_MOST_COLLECTED = 1 << 22  # maximum values of one bin to sort in memory: 32 MB
_ABOVE_ROUNDING = 1 + 1e-6
_OCTAVES = 8  # of squared distances below their bound, with finest bins first


def squared_distances(left: DoubleArray, right: DoubleArray) -> DoubleArray:
    """``(n, D)``, ``(m, D)`` -> ``|x_i - y_j|^2 (n, m)``; exactly 0 on the diagonal of a set with itself."""
    squared: DoubleArray = left @ right.T
    squared *= -2.0
    squared += np.einsum("id,id->i", left, left)[:, None]
    squared += np.einsum("id,id->i", right, right)
    np.maximum(squared, 0.0, out=squared)
    if left is right:
        np.fill_diagonal(squared, 0.0)
    return squared


def weighted_kernel_sums(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any] | None,
    kernel: Kernel,
    centre: DoubleArray | float,
    x_weights: DoubleArray,
    y_weights: DoubleArray,
) -> DoubleArray:
    """Weights ``v (N, R)``, ``w (M, R)`` -> ``sum_ij v_ir k(x_i, y_j) w_jr (R,)``; ``y`` None: of ``x``.

    ``centre (D,)`` is subtracted from all rows first: this leaves a kernel of distances unchanged,
    and makes its rounding relative to the spread of the rows instead of their distance from zero.
    """
    total = np.zeros(x_weights.shape[1])
    for rows, columns, values in _blocks(x, y, kernel, centre):
        part = np.einsum("ir,ir->r", x_weights[rows], values @ y_weights[columns])
        total += part if y is not None or rows == columns else 2 * part
    return total


def median_distance(x: npt.NDArray[Any]) -> float:
    """``(N, D)`` -> exact median distance of two different rows; the lower median of an even number.

    Squared distances are counted by the bits of their float64 numbers: read as integers, these have the order
    of the numbers, so a bin is a range of integers.  The median's bin is divided into finer bins until its
    values fit in memory, so memory holds one block and one bin.
    """
    centre = x.mean(axis=0, dtype=np.float64)
    rank = (len(x) * (len(x) - 1) // 2 - 1) // 2
    low, high = 0, int(_keys(np.array([_largest_squared_distance(x, centre)]))[0])
    everything = low, high
    begin = max(0, high - (_OCTAVES << 52))  # most distances of embeddings lie here; all below are one bin
    while True:
        shift = max(0, (high - begin).bit_length() - _BITS)
        counts = np.zeros((high - begin >> shift) + 2, np.int64)
        for values in _pairs(x, centre):
            keys = _keys(values)
            if (low, high) != everything:
                keys = keys[(keys >= low) & (keys <= high)]
            counts += np.bincount(_bin(keys, begin, shift), minlength=len(counts))
        before = np.concatenate([[0], np.cumsum(counts)])
        bin_ = int(np.searchsorted(before, rank, side="right")) - 1
        rank -= int(before[bin_])
        if bin_:
            low = begin + (bin_ - 1 << shift)
            high = min(high, low + (1 << shift) - 1)
        else:
            high = begin - 1
        if low == high:  # many equal values
            return float(np.sqrt(np.array(low).view(np.float64)))
        if counts[bin_] <= _MOST_COLLECTED:
            parts = []
            for values in _pairs(x, centre):
                keys = _keys(values)
                parts.append(values[(keys >= low) & (keys <= high)])
            return float(np.sqrt(np.partition(np.concatenate(parts), rank)[rank]))
        begin = low


def _largest_squared_distance(x: npt.NDArray[Any], centre: DoubleArray) -> float:
    """An upper bound: no two rows are further apart than twice the largest distance from the centre."""
    largest = 0.0
    for rows in _slices(len(x), 0):
        block = x[rows].astype(np.float64) - centre
        largest = max(largest, float(np.einsum("id,id->i", block, block).max()))
    return 4 * largest * _ABOVE_ROUNDING


def _keys(values: DoubleArray) -> npt.NDArray[np.int64]:
    """Integers in the order of the numbers, which are not negative (a zero may have a sign)."""
    keys: npt.NDArray[np.int64] = (values + 0.0).view(np.int64)
    return keys


def _bin(keys: npt.NDArray[np.int64], begin: int, shift: int) -> npt.NDArray[np.int64]:
    """Number of each key's bin of ``2^shift`` from ``begin`` on, counted from 1; 0 below ``begin``."""
    bins = keys - begin
    bins >>= shift
    bins += 1
    return np.maximum(bins, 0, out=bins)


def _pairs(x: npt.NDArray[Any], centre: DoubleArray) -> Iterator[DoubleArray]:
    """Squared distances of all pairs of different rows, each pair once, in blocks."""
    for rows, columns, squared in _blocks(x, None, squared_distances, centre):
        yield squared[np.triu_indices(len(squared), 1)] if rows == columns else squared.ravel()


def _blocks(
    x: npt.NDArray[Any], y: npt.NDArray[Any] | None, kernel: Kernel, centre: DoubleArray | float
) -> Iterator[tuple[slice, slice, DoubleArray]]:
    """Blocks of the kernel with their rows and columns; for ``x`` with itself only from the diagonal on."""
    for rows in _slices(len(x), 0):
        left = x[rows].astype(np.float64) - centre
        for columns in _slices(len(x), rows.start) if y is None else _slices(len(y), 0):
            if y is None and columns == rows:
                yield rows, columns, kernel(left, left)
            else:
                yield (
                    rows,
                    columns,
                    kernel(left, (x if y is None else y)[columns].astype(np.float64) - centre),
                )


def _slices(n: int, start: int) -> Iterator[slice]:
    return (slice(begin, min(begin + BLOCK_ROWS, n)) for begin in range(start, n, BLOCK_ROWS))

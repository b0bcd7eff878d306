"""3 x 3 convolutions by Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin and Gray, arXiv 1509.09308).

A tile of 4 x 4 outputs needs 6 x 6 inputs ``d``.  With the matrices of the paper, ``V = Bt d B`` and
``U = G g Gt`` are 6 x 6 as well, and the outputs are ``At (U * V) A``: 36 products a tile, instead of the
144 of the direct sum.  Summed over channels, the products are 36 matrix products
``(tiles, C) @ (C, C')``; the transforms before and after them add and scale, on vectors of channels.

In float32 a layer's outputs differ from the direct sum by about 5e-6 of the largest output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from pannsx.inference.cpu.folding import by_tap
from pannsx.inference.cpu.planes import TILE, Plane, tile_targets
from pannsx.inference.cpu.product import multiply_each
from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.simd import N_LANES, load, maximum, store
from pannsx.types import FloatArray

CELLS = 36
_SIDE = 6
_BLOCK_FLOATS = 2**17  # tiles times channels of a block: its V and M are 19 MB each
_SHARED_WEIGHTS = 2**16  # minimum channels in times channels out for threads to share a block's products
_SKEW = N_LANES  # floats between the 36 matrices of a block, so that they do not share cache sets
_ZERO, _QUARTER = np.float32(0), np.float32(0.25)
_TWO, _FOUR, _FIVE, _EIGHT = np.float32(2), np.float32(4), np.float32(5), np.float32(8)

_G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


def transformed_weights(weight: FloatArray) -> FloatArray:
    """``(C', C, 3, 3)`` filters -> ``(36, C, C')``."""
    both = np.kron(_G, _G).astype(np.float32)  # (36, 9)
    return np.matmul(both, by_tap(weight).reshape(9, -1)).reshape(CELLS, weight.shape[1], weight.shape[0])


@njit(forceinline=True)
def _bt(a, b, c, d, e, f):
    """``Bt`` times six vectors."""
    p, q = d - b * _FOUR, e - c * _FOUR
    r, s = (d - b) * _TWO, e - c
    return a * _FOUR - c * _FIVE + e, q + p, q - p, s + r, s - r, b * _FOUR - d * _FIVE + f


@njit(forceinline=True)
def _at(a, b, c, d, e, f):
    """``At`` times six vectors."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, q + s * _TWO, p + r * _FOUR, q + s * _EIGHT + f


@njit(forceinline=True)
def _load_six(array, at, step):
    return (
        load(array, at),
        load(array, at + step),
        load(array, at + 2 * step),
        load(array, at + 3 * step),
        load(array, at + 4 * step),
        load(array, at + 5 * step),
    )


@njit(forceinline=True)
def _rectified(x, bias):
    return maximum(x + bias, _ZERO)


@njit(forceinline=True)
def _settle(cells, at, x, bias, adds):
    if adds:
        store(cells, at, _rectified(x + load(cells, at), bias))
    else:
        store(cells, at, _rectified(x, bias))


@njit(forceinline=True)
def _mean_of_four(a, b, c, d):
    return ((a + b) + (c + d)) * _QUARTER


@cache
def _input_transform() -> Callable[..., Any]:
    sources = digest_of("jit/simd.py", "inference/cpu/winograd.py")

    def transform(cells, row, channels, tiles, across, first, n_tiles, v, v_step, scratch):
        """Tiles ``first`` to ``first + n_tiles`` of a plane -> ``v[cell, tile, channel]``."""
        _ = sources
        for i in range(n_tiles):
            y, x = divmod(first + i, across)
            corner = tiles[y] * row + 4 * x * channels
            for c in range(0, channels, N_LANES):
                for j in range(_SIDE):
                    t = _bt(*_load_six(cells, corner + j * channels + c, row))
                    at = j * N_LANES
                    store(scratch, at, t[0])
                    store(scratch, at + 6 * N_LANES, t[1])
                    store(scratch, at + 12 * N_LANES, t[2])
                    store(scratch, at + 18 * N_LANES, t[3])
                    store(scratch, at + 24 * N_LANES, t[4])
                    store(scratch, at + 30 * N_LANES, t[5])
                for j in range(_SIDE):
                    t = _bt(*_load_six(scratch, j * _SIDE * N_LANES, N_LANES))
                    to = j * _SIDE * v_step + i * channels + c
                    store(v, to, t[0])
                    store(v, to + v_step, t[1])
                    store(v, to + 2 * v_step, t[2])
                    store(v, to + 3 * v_step, t[3])
                    store(v, to + 4 * v_step, t[4])
                    store(v, to + 5 * v_step, t[5])

    return compiled(transform)


@cache
def _output_transform() -> Callable[..., Any]:
    sources = digest_of("jit/simd.py", "inference/cpu/winograd.py")

    def transform(
        m,
        m_step,
        channels,
        targets,
        across,
        first,
        n_tiles,
        bias,
        pool,
        adds,
        cells,
        row,
        cell,
        width,
        scratch,
    ):
        """``m[cell, tile, channel]`` -> rectified outputs plus bias, or their means over 2 x 2, in a plane.

        With ``adds``, the plane's previous values are added before rectifying.

        ``cells``, ``row`` and ``width`` are of the target plane; ``cell`` is its floats from one cell to
        the next.
        """
        _ = sources
        for i in range(n_tiles):
            y, x = divmod(first + i, across)
            top, n_rows = targets[y, 0], targets[y, 1]
            for c in range(0, channels, N_LANES):
                for j in range(_SIDE):
                    t = _at(*_load_six(m, i * channels + c + j * m_step, _SIDE * m_step))
                    at = j * N_LANES
                    store(scratch, at, t[0])
                    store(scratch, at + 6 * N_LANES, t[1])
                    store(scratch, at + 12 * N_LANES, t[2])
                    store(scratch, at + 18 * N_LANES, t[3])
                b = load(bias, c)
                if pool:
                    for j in range(min(2, n_rows)):
                        upper = _at(*_load_six(scratch, 2 * j * _SIDE * N_LANES, N_LANES))
                        lower = _at(*_load_six(scratch, (2 * j + 1) * _SIDE * N_LANES, N_LANES))
                        to = (top + j) * row + (2 * x + 1) * cell + c
                        if 2 * x < width:
                            mean = _mean_of_four(
                                _rectified(upper[0], b),
                                _rectified(upper[1], b),
                                _rectified(lower[0], b),
                                _rectified(lower[1], b),
                            )
                            store(cells, to, mean)
                        if 2 * x + 1 < width:
                            mean = _mean_of_four(
                                _rectified(upper[2], b),
                                _rectified(upper[3], b),
                                _rectified(lower[2], b),
                                _rectified(lower[3], b),
                            )
                            store(cells, to + cell, mean)
                else:
                    for j in range(min(4, n_rows)):
                        t = _at(*_load_six(scratch, j * _SIDE * N_LANES, N_LANES))
                        to = (top + j) * row + (4 * x + 1) * cell + c
                        _settle(cells, to, t[0], b, adds)
                        if 4 * x + 1 < width:
                            _settle(cells, to + cell, t[1], b, adds)
                        if 4 * x + 2 < width:
                            _settle(cells, to + 2 * cell, t[2], b, adds)
                        if 4 * x + 3 < width:
                            _settle(cells, to + 3 * cell, t[3], b, adds)

    return compiled(transform)


class WinogradConvolution:
    """A 3 x 3 convolution with bias and ReLU, and with ``pool`` a mean over 2 x 2 cells.

    With ``adds``, the target's previous values are added to the outputs before they are rectified.
    """

    def __init__(
        self, weight: FloatArray, bias: FloatArray, *, pool: bool = False, adds: bool = False
    ) -> None:
        if pool and adds:
            raise ValueError("pooling cannot add to the target; set only one of pool and adds")
        self.adds = adds
        self.out_channels, self.in_channels = weight.shape[:2]
        self.pool = pool
        self._weights = transformed_weights(weight)
        self._bias = bias

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill the first ``out_channels`` channels of ``target``, as far as it reaches, from ``source``.

        Tiles are processed in blocks, to bound the memory. With few channels, each thread processes blocks
        of its own from input to output. With many, reading the weights takes the time, so the threads share
        the 36 products of one block.
        """
        n = workers.n
        total = len(source.rows.tiles) * source.across
        together = self.in_channels * self.out_channels >= _SHARED_WEIGHTS
        widest = max(self.in_channels, self.out_channels)
        block = max(N_LANES, min(_BLOCK_FLOATS // widest, total if together else -(-total // n)))
        sizes = [CELLS * (block * channels + _SKEW) for channels in (self.in_channels, self.out_channels)]
        if together:
            v, m = workers.scratch(0, *sizes)
            for first in range(0, total, block):
                self._shared_block(source, target, v, m, first, min(block, total - first), workers)
            return

        def share(i: int) -> None:
            v, m = workers.scratch(i, *sizes)
            begin, end = total * i // n, total * (i + 1) // n
            for first in range(begin, end, block):
                size = min(block, end - first)
                self._enter(source, v, size, first, 0, size)
                self._multiply(v, m, size, 0, CELLS)
                self._leave(source, target, m, size, first, 0, size)

        workers.run(share)

    def _shared_block(
        self, source: Plane, target: Plane, v: FloatArray, m: FloatArray, first: int, n: int, workers: Workers
    ) -> None:
        """Process ``n`` tiles from ``first`` on, on all threads together."""
        tiles, cells = list(even_ranges(n, workers.n)), list(even_ranges(CELLS, workers.n))
        workers.run(lambda i: self._enter(source, v, n, first, *tiles[i]))
        workers.run(lambda i: self._multiply(v, m, n, *cells[i]))
        workers.run(lambda i: self._leave(source, target, m, n, first, *tiles[i]))

    def _enter(self, source: Plane, v: FloatArray, n: int, first: int, begin: int, end: int) -> None:
        """Transform tiles ``begin`` to ``end`` of the ``n`` of a block that starts at tile ``first``."""
        _input_transform()(
            source.flat, source.row, self.in_channels, source.rows.tiles, source.across,
            first + begin, end - begin, v[begin * self.in_channels :], n * self.in_channels + _SKEW,
            np.empty(CELLS * N_LANES, np.float32),
        )  # fmt: skip

    def _multiply(self, v: FloatArray, m: FloatArray, n: int, begin: int, end: int) -> None:
        """Matrix products ``begin`` to ``end`` of the 36, of a block of ``n`` tiles."""
        multiply_each(
            _cells_of(v, n, self.in_channels)[begin:end],
            self._weights[begin:end],
            _cells_of(m, n, self.out_channels)[begin:end],
        )

    def _leave(
        self, source: Plane, target: Plane, m: FloatArray, n: int, first: int, begin: int, end: int
    ) -> None:
        """Outputs of tiles ``begin`` to ``end`` of the ``n`` of a block that starts at tile ``first``."""
        step = TILE // 2 if self.pool else TILE
        _output_transform()(
            m[begin * self.out_channels :], n * self.out_channels + _SKEW, self.out_channels,
            tile_targets(source.rows.heights, target.rows.heights, step), source.across,
            first + begin, end - begin, self._bias, self.pool, self.adds,
            target.flat, target.row, target.channels, target.width, np.empty(CELLS * N_LANES, np.float32),
        )  # fmt: skip


def _cells_of(block: FloatArray, n: int, channels: int) -> FloatArray:
    """Flat block -> its cells ``(36, n, channels)``."""
    size = n * channels
    return block[: CELLS * (size + _SKEW)].reshape(CELLS, -1)[:, :size].reshape(CELLS, n, channels)

"""3 x 3 and 5 x 5 convolutions by Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308).

F(4 x 4, 3 x 3): a tile of 4 x 4 outputs needs 6 x 6 inputs ``d``.  With the matrices of the paper,
``V = Bt d B`` and ``U = G g Gt`` are 6 x 6 as well, and the outputs are ``At (U * V) A``: 36 products a
tile, instead of the 144 of the direct sum.  Summed over channels, the products are 36 matrix products
``(tiles, C) @ (C, C')``; the transforms before and after them add and scale, on vectors of channels.

Filters of 5 x 5 take F(4 x 4, 5 x 5): 8 x 8 inputs, and 64 products instead of 400.

In float32 a layer's outputs differ from the direct sum by about 5e-6 of the largest output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from pannsx.inference.cpu import winograd_transforms as transforms
from pannsx.inference.cpu.folding import by_tap
from pannsx.inference.cpu.planes import TILE, Plane, convolution_step, tile_targets
from pannsx.inference.cpu.winograd_transforms import G_OF_FIVE, G, outputs_at, transform_inputs
from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.matrix import NONE, NOWHERE, ONE, PANEL, SOURCES, TILE_ROWS, packed, product
from pannsx.jit.simd import N_LANES, load, maximum, store
from pannsx.types import FloatArray

CHUNK = 64  # output channels at a time
BLOCK_FLOATS = {3: 150_000, 5: 300_000}
"""Of V and M of a thread's own block, by the filter's taps each way: they stay about the second-level cache.
A block of 5 x 5 reads nearly twice as many weights, and so needs more tiles to pay for it."""
SHARED_FLOATS = 2**22  # of V of a block of all threads, 16 MB
SHARED_WEIGHTS = 2**15  # minimum channels in times channels out for threads to share a block's products
_SKEW = N_LANES  # floats between rows and between the matrices: they do not share cache sets
_ROW = np.int64(CHUNK)
_ZERO, _HALF, _QUARTER = np.float32(0), np.float32(0.5), np.float32(0.25)


def transformed_weights(weight: FloatArray) -> FloatArray:
    """``(C', C, 3, 3)`` filters -> ``(36, C, C')``, or of 5 x 5 -> ``(64, C, C')``."""
    out_channels, in_channels, n_taps, _ = weight.shape
    g = {3: G, 5: G_OF_FIVE}[n_taps]
    both = np.kron(g, g).astype(np.float32)
    return np.matmul(both, by_tap(weight).reshape(n_taps**2, -1)).reshape(-1, in_channels, out_channels)


@njit(forceinline=True)
def _rectified(x, bias):
    return maximum(x + bias, _ZERO)


@njit(forceinline=True)
def _mean_of_four(a, b, c, d):
    return ((a + b) + (c + d)) * _QUARTER


@njit(forceinline=True)
def _enter(side, cells, row, channels, tiles, across, first, n_tiles, v, v_tile, v_step, scratch):
    """Tiles ``first`` to ``first + n_tiles`` of a plane -> ``v[cell, tile, channel]``.

    ``side``, in all of these functions: the inputs of a tile each way, six or eight.
    """
    for i in range(n_tiles):
        y, x = divmod(first + i, across)
        corner = tiles[y] * row + TILE * x * channels
        for c in range(0, channels, N_LANES):
            for j in range(side):
                at = corner + j * channels + c
                transform_inputs(side, cells, at, row, scratch, j * N_LANES, side * N_LANES)
            for j in range(side):
                to = j * side * v_step + i * v_tile + c
                transform_inputs(side, scratch, j * side * N_LANES, N_LANES, v, to, v_step)


@njit(forceinline=True)
def _leave(
    side, m, m_step, begin, n_channels, targets, across, first, n_tiles, bias, pool, adds, cells, row, cell,
    margin, width, scratch,
):  # fmt: skip
    """``m[cell, tile, channel]`` -> rectified outputs plus bias, or their means, in a plane.

    ``pool`` is the number of bands, two or one, of a mean over two frames; 0: there are no means. The
    channels of ``m`` are those from ``begin`` on. With ``adds``, the plane's previous values are added
    before rectifying. ``cells``, ``row``, ``margin`` and ``width`` are of the target plane; ``cell`` is its
    floats from one cell to the next.
    """
    for i in range(n_tiles):
        y, x = divmod(first + i, across)
        top, n_rows = targets[y, 0], targets[y, 1]
        for c in range(0, n_channels, N_LANES):
            for j in range(side):
                t = outputs_at(side, m, i * CHUNK + c + j * m_step, side * m_step)
                at = j * N_LANES
                store(scratch, at, t[0])
                store(scratch, at + side * N_LANES, t[1])
                store(scratch, at + 2 * side * N_LANES, t[2])
                store(scratch, at + 3 * side * N_LANES, t[3])
            b = load(bias, begin + c)
            if pool == 2:
                for j in range(min(2, n_rows)):
                    upper = outputs_at(side, scratch, 2 * j * side * N_LANES, N_LANES)
                    lower = outputs_at(side, scratch, (2 * j + 1) * side * N_LANES, N_LANES)
                    to = (top + j) * row + (2 * x + margin) * cell + begin + c
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
            elif pool == 1:
                for j in range(min(2, n_rows)):
                    upper = outputs_at(side, scratch, 2 * j * side * N_LANES, N_LANES)
                    lower = outputs_at(side, scratch, (2 * j + 1) * side * N_LANES, N_LANES)
                    to = (top + j) * row + (4 * x + margin) * cell + begin + c
                    store(cells, to, (_rectified(upper[0], b) + _rectified(lower[0], b)) * _HALF)
                    if 4 * x + 1 < width:
                        mean = (_rectified(upper[1], b) + _rectified(lower[1], b)) * _HALF
                        store(cells, to + cell, mean)
                    if 4 * x + 2 < width:
                        mean = (_rectified(upper[2], b) + _rectified(lower[2], b)) * _HALF
                        store(cells, to + 2 * cell, mean)
                    if 4 * x + 3 < width:
                        mean = (_rectified(upper[3], b) + _rectified(lower[3], b)) * _HALF
                        store(cells, to + 3 * cell, mean)
            else:
                for j in range(min(4, n_rows)):
                    t = outputs_at(side, scratch, j * side * N_LANES, N_LANES)
                    to = (top + j) * row + (4 * x + margin) * cell + begin + c
                    # No call with arrays on conditions: counting references to these is slow.
                    store(cells, to, _rectified(t[0] + load(cells, to) if adds else t[0], b))
                    if 4 * x + 1 < width:
                        at = to + cell
                        store(cells, at, _rectified(t[1] + load(cells, at) if adds else t[1], b))
                    if 4 * x + 2 < width:
                        at = to + 2 * cell
                        store(cells, at, _rectified(t[2] + load(cells, at) if adds else t[2], b))
                    if 4 * x + 3 < width:
                        at = to + 3 * cell
                        store(cells, at, _rectified(t[3] + load(cells, at) if adds else t[3], b))


@cache
def _passes(side: int) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """For tiles of ``side`` inputs each way, which is a constant of the compiled code."""
    sources = digest_of(*SOURCES, transforms.SOURCE, "inference/cpu/winograd.py")
    multiply = product()

    def enter(cells, row, channels, tiles, across, first, begin, end, v, v_tile, v_step):
        """Transform tiles ``begin`` to ``end`` of a block that starts at tile ``first``."""
        _ = sources
        scratch = np.empty(side * side * N_LANES, np.float32)
        _enter(
            side, cells, row, channels, tiles, across, first + begin, end - begin,
            v[begin * v_tile :], v_tile, v_step, scratch,
        )  # fmt: skip

    def leave(
        v, v_tile, v_step, in_channels, weights, begin, end, m, m_step, targets, across, first, n_tiles,
        bias, pool, adds, cells, row, cell, margin, width,
    ):  # fmt: skip
        """Outputs of a block of tiles, in the channels ``begin`` to ``end``; ``begin`` starts a chunk."""
        _ = sources
        scratch = np.empty(side * side * N_LANES, np.float32)
        low, high = np.float32(-np.inf), np.float32(np.inf)
        for chunk in range(begin, end, CHUNK):
            n = min(CHUNK, end - chunk)
            size = in_channels * (-(-n // PANEL) * PANEL)
            for i in range(side * side):
                multiply(
                    v, i * v_step, v_tile, n_tiles, ONE, NONE, in_channels,
                    weights, side * side * in_channels * chunk + i * size, NONE, in_channels * PANEL, n,
                    m, i * m_step, _ROW, bias, len(bias) - CHUNK, low, high, NOWHERE,
                )  # fmt: skip
            _leave(
                side, m, m_step, chunk, n, targets, across, first, n_tiles, bias, pool, adds, cells, row,
                cell, margin, width, scratch,
            )  # fmt: skip

    enter_block, leave_block = compiled(enter), compiled(leave)

    def both(
        source, source_row, in_channels, tiles, across, first, last, block, v, v_tile, v_step,
        weights, out_channels, m, m_step, targets, bias, pool, adds, cells, row, cell, margin, width,
    ):  # fmt: skip
        """Tiles ``first`` to ``last`` from plane to plane, a block at a time."""
        _ = sources
        for begin in range(first, last, block):
            n = min(block, last - begin)
            enter_block(source, source_row, in_channels, tiles, across, begin, 0, n, v, v_tile, v_step)
            leave_block(
                v, v_tile, v_step, in_channels, weights, 0, out_channels, m, m_step, targets, across, begin,
                n, bias, pool, adds, cells, row, cell, margin, width,
            )  # fmt: skip

    return enter_block, leave_block, compiled(both)


def _chunks(weights: FloatArray) -> FloatArray:
    """``(cells, C, C')`` -> for each ``CHUNK`` of columns, the packed matrices of all cells, flat."""
    n = weights.shape[2]
    return np.concatenate([packed(weights[:, :, i : i + CHUNK]) for i in range(0, n, CHUNK)])


class WinogradConvolution:
    """A 3 x 3 or 5 x 5 convolution with bias and ReLU, and with ``pool`` a mean over 2 x 2 cells.

    Without ``over_bands``, the mean is over two frames alone. With ``adds``, the target's previous values are
    added to the outputs before they are rectified.
    """

    def __init__(
        self,
        weight: FloatArray,
        bias: FloatArray,
        *,
        pool: bool = False,
        over_bands: bool = True,
        adds: bool = False,
    ) -> None:
        if pool and adds:
            raise ValueError("pooling cannot add to the target; set only one of pool and adds")
        self.adds = adds
        self.out_channels, self.in_channels, self._n_taps, _ = weight.shape
        self.pool = pool
        self._n_bands_of_mean = (2 if over_bands else 1) if pool else 0
        self._weights = _chunks(transformed_weights(weight))
        self._bias: FloatArray = np.concatenate([bias, np.zeros(CHUNK, np.float32)])

    def __call__(self, source: Plane, target: Plane, workers: Workers, *, begin: int = 0) -> None:
        """Fill ``out_channels`` channels of ``target`` from ``begin`` on, as far as it reaches."""
        channels = (self.in_channels, self.out_channels)
        step = convolution_step(source, channels, self._n_taps**2)
        with workers.step(*step, form="Winograd 4 x 4", product="own"):
            self._run(source, target, workers, begin)

    def _run(self, source: Plane, target: Plane, workers: Workers, begin: int) -> None:
        """Fill ``out_channels`` channels of ``target`` from ``begin`` on, as far as it reaches.

        Tiles are processed in blocks. With few channels, each thread processes blocks of its own from input
        to output, small enough for the second-level cache. With many, reading the weights takes the time, so
        the threads share one large block, and each reads the weights of its own outputs.
        """
        n = workers.n
        side = TILE + self._n_taps - 1
        n_cells = side**2
        total = len(source.rows.tiles) * source.across
        together = self.in_channels * self.out_channels >= SHARED_WEIGHTS
        v_tile = self.in_channels + _SKEW
        floats = SHARED_FLOATS if together else BLOCK_FLOATS[self._n_taps]
        block = max(
            TILE_ROWS, floats // (n_cells * (v_tile + (0 if together else CHUNK))) // TILE_ROWS * TILE_ROWS
        )
        block = min(block, total)
        v_step, m_step = block * v_tile + _SKEW, block * CHUNK + _SKEW
        step = TILE // 2 if self.pool else TILE
        targets = tile_targets(source.rows, target.rows, step)
        enter, leave, both = _passes(side)
        entry = (source.flat, source.row, self.in_channels, source.rows.tiles, source.across)
        cells = target.flat[begin:]
        exit_ = (
            self._bias, self._n_bands_of_mean, self.adds, cells, target.row, target.channels,
            target.rows.margin, target.width,
        )  # fmt: skip
        if not together:
            ranges = list(even_ranges(total, n))

            def share(i: int) -> None:
                v, m = workers.scratch(i, n_cells * v_step, n_cells * m_step)
                both(
                    *entry, *ranges[i], block, v, v_tile, v_step, self._weights, self.out_channels, m, m_step,
                    targets, *exit_,
                )  # fmt: skip

            workers.run(share)
            return
        n_chunks = -(-self.out_channels // CHUNK)
        chunks = [(CHUNK * a, min(CHUNK * b, self.out_channels)) for a, b in even_ranges(n_chunks, n)]
        (v,) = workers.scratch(0, n_cells * v_step)
        for first in range(0, total, block):
            size = min(block, total - first)
            tiles = list(even_ranges(size, n))

            def transform(i: int, first: int = first, tiles: list[tuple[int, int]] = tiles) -> None:
                enter(*entry, first, *tiles[i], v, v_tile, v_step)

            def finish(i: int, first: int = first, size: int = size) -> None:
                _, m = workers.scratch(i, 0, n_cells * m_step)
                leave(
                    v, v_tile, v_step, self.in_channels, self._weights, *chunks[i], m, m_step, targets,
                    source.across, first, size, *exit_,
                )  # fmt: skip

            workers.run(transform)
            workers.run(finish)

"""Convolutions in forms other than Winograd's: for one input channel, for few, and for very many."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from pannsx.inference.cpu.folding import by_tap
from pannsx.inference.cpu.planes import Plane, convolution_step, pooled_rows, row_sources
from pannsx.inference.cpu.product import Factor, factor
from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.matrix import PANEL, packed, padded, product
from pannsx.jit.simd import N_LANES, load, load_everywhere, maximum, store
from pannsx.types import FloatArray

_ZERO, _QUARTER, _INFINITY = np.float32(0), np.float32(0.25), np.float32(np.inf)
_CHANNELS_AT_A_TIME = 256  # filters rearranged at a time: those of the largest layers take 151 MB


@cache
def _from_one_channel() -> Callable[..., Any]:
    sources = digest_of("jit/simd.py", "inference/cpu/direct.py")

    def convolve(source, source_row, weight, bias, inside, first, last, width, target, row):
        """Frames ``first`` to ``last`` of one channel -> ``len(bias)`` channels, rectified."""
        _ = sources
        channels = len(bias)
        for k in range(first, last):
            y = inside[k]
            for c in range(0, channels, N_LANES):
                b = load(bias, c)
                w0, w1, w2 = load(weight, c), load(weight, c + channels), load(weight, c + 2 * channels)
                w3 = load(weight, c + 3 * channels)
                w4 = load(weight, c + 4 * channels)
                w5 = load(weight, c + 5 * channels)
                w6 = load(weight, c + 6 * channels)
                w7 = load(weight, c + 7 * channels)
                w8 = load(weight, c + 8 * channels)
                for x in range(width):
                    a = (y - 1) * source_row + x
                    total = b + w0 * source[a] + w1 * source[a + 1] + w2 * source[a + 2]
                    a += source_row
                    total = total + w3 * source[a] + w4 * source[a + 1] + w5 * source[a + 2]
                    a += source_row
                    total = total + w6 * source[a] + w7 * source[a + 1] + w8 * source[a + 2]
                    store(target, y * row + (x + 1) * channels + c, maximum(total, _ZERO))

    return compiled(convolve)


class _OfOneChannel:
    """A convolution of one channel to ``C'``, with bias and ReLU."""

    def __init__(self, weight: FloatArray, bias: FloatArray) -> None:
        self.out_channels, self.in_channels = weight.shape[:2]
        self._n_taps = weight.shape[2] * weight.shape[3]
        self._weight = by_tap(weight).reshape(-1)
        self._bias = bias

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill ``target`` from ``source``, which has one channel and the same items before any pooling."""
        channels = (self.in_channels, self.out_channels)
        with workers.step(*convolution_step(source, channels, self._n_taps), form="vectors", product="-"):
            self._run(source, target, workers)

    def _run(self, source: Plane, target: Plane, workers: Workers) -> None:
        raise NotImplementedError


class FirstConvolution(_OfOneChannel):
    """One of 3 x 3; bound by writing its output."""

    pool = False

    def _run(self, source: Plane, target: Plane, workers: Workers) -> None:
        ranges = list(even_ranges(len(source.rows.inside), workers.n))

        def share(i: int) -> None:
            _from_one_channel()(
                source.flat, source.row, self._weight, self._bias, source.rows.inside, *ranges[i],
                source.width, target.flat, target.row,
            )  # fmt: skip

        workers.run(share)


class ShallowConvolution:
    """A 3 x 3 convolution of any number of channels, with bias and ReLU, as one matrix product.

    For channels too few for vectors. A row of the product is the neighbourhood of a cell where it lies: three
    stretches, of three neighbouring cells each. The rows overlap in memory, and nothing is copied.
    """

    pool = False

    def __init__(self, weight: FloatArray, bias: FloatArray) -> None:
        self.out_channels, self.in_channels = weight.shape[:2]
        self._panels = packed(by_tap(weight).reshape(-1, self.out_channels))
        self._bias = padded(bias)

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill ``target`` from ``source``, which has the same items."""
        channels = (self.in_channels, self.out_channels)
        with workers.step(*convolution_step(source, channels, 9), form="rows", product="own"):
            self._run(source, target, workers)

    def _run(self, source: Plane, target: Plane, workers: Workers) -> None:
        """All cells from the first one of an item to the last; those outside of items are cleared."""
        n_in, n_out, cells_of_row = self.in_channels, self.out_channels, source.cells.shape[1]
        begin = int(source.rows.inside[0]) * cells_of_row + 1
        end = int(source.rows.inside[-1]) * cells_of_row + 1 + source.width
        ranges = list(even_ranges(end - begin, workers.n))
        n_stretch = 3 * n_in

        def share(i: int) -> None:
            first, last = (begin + each for each in ranges[i])
            product()(
                source.flat, (first - cells_of_row - 1) * n_in, n_in, last - first,
                3, source.row, n_stretch, self._panels, 0, n_stretch, 3 * n_stretch * PANEL, n_out,
                target.flat, first * n_out, n_out, self._bias, 0, _ZERO, _INFINITY, -1,
            )  # fmt: skip

        workers.run(share)
        target.clear_border()


@cache
def _from_one_channel_5x5() -> Callable[..., Any]:
    sources = digest_of("jit/simd.py", "inference/cpu/direct.py")

    def convolve(source, source_row, weight, bias, tops, inside, first, last, width, target, row):
        """Frames ``first`` to ``last`` of the target: means over 2 x 2 outputs of one channel, rectified."""
        _ = sources
        channels = len(bias)
        for k in range(first, last):
            for c in range(0, channels, N_LANES):
                b = load(bias, c)
                for x in range(width):
                    corner = (tops[k] - 2) * source_row + 2 * x
                    p, q, r, s = b, b, b, b
                    for dy in range(5):
                        for dx in range(5):
                            w = load(weight, (5 * dy + dx) * channels + c)
                            a = corner + dy * source_row + dx
                            p = p + w * load_everywhere(source, a)
                            q = q + w * load_everywhere(source, a + 1)
                            r = r + w * load_everywhere(source, a + source_row)
                            s = s + w * load_everywhere(source, a + source_row + 1)
                    upper = maximum(p, _ZERO) + maximum(q, _ZERO)
                    lower = maximum(r, _ZERO) + maximum(s, _ZERO)
                    to = inside[k] * row + (x + 2) * channels + c
                    store(target, to, (upper + lower) * _QUARTER)

    return compiled(convolve)


class FirstConvolution5x5(_OfOneChannel):
    """One of 5 x 5, with a mean over 2 x 2 cells."""

    pool = True

    def _run(self, source: Plane, target: Plane, workers: Workers) -> None:
        tops = pooled_rows(source.rows.heights, source.rows.margin)
        ranges = list(even_ranges(len(tops), workers.n))

        def share(i: int) -> None:
            _from_one_channel_5x5()(
                source.flat, source.row, self._weight, self._bias, tops, target.rows.inside, *ranges[i],
                target.width, target.flat, target.row,
            )  # fmt: skip

        workers.run(share)


@cache
def _columns() -> Callable[..., Any]:
    sources = digest_of("jit/simd.py", "inference/cpu/direct.py")

    def gather(cells, row, channels, inside, first, last, width, out):
        """Frames ``first`` to ``last`` -> ``out[x, frame]``, ``3 C``: a cell with both neighbours in time."""
        _ = sources
        n_frames = len(inside)
        for k in range(first, last):
            for x in range(width):
                for dy in range(3):
                    at = (inside[k] - 1 + dy) * row + (x + 1) * channels
                    to = ((x * n_frames + k) * 3 + dy) * channels
                    for c in range(0, channels, N_LANES):
                        store(out, to + c, load(cells, at + c))

    return compiled(gather)


@cache
def _rectify_and_pool() -> Callable[..., Any]:
    sources = digest_of("jit/simd.py", "inference/cpu/direct.py")

    def settle(products, n_frames, n, origins, inside, pool, target, row, cell, width, channel):
        """``products[x, frame, n]`` -> rectified, or means over 2 x 2, in channels from ``channel`` on."""
        _ = sources
        column = n_frames * n
        for k in range(len(inside)):
            for x in range(width):
                to = inside[k] * row + (x + 1) * cell + channel
                if pool:
                    at = 2 * x * column + origins[k] * n
                    for c in range(at, at + n, N_LANES):
                        left = maximum(load(products, c), _ZERO) + maximum(load(products, c + n), _ZERO)
                        right = maximum(load(products, c + column), _ZERO) + maximum(
                            load(products, c + column + n), _ZERO
                        )
                        store(target, to + c - at, (left + right) * _QUARTER)
                else:
                    at = x * column + origins[k] * n
                    for c in range(at, at + n, N_LANES):
                        store(target, to + c - at, maximum(load(products, c), _ZERO))

    return compiled(settle)


def _by_column(
    weight: FloatArray, scale: FloatArray | None, *, bfloat16: bool
) -> tuple[Factor, Factor, Factor]:
    """``(C', C, 3, 3)`` filters, scaled -> three factors ``(3 C, C')``: the columns of the filters."""
    out_channels, in_channels = weight.shape[:2]

    def column(x: int) -> Factor:
        """One of them: the largest take 50 MB, so that they are not made all at once."""
        taps = np.empty((3, in_channels, out_channels), np.float32)
        for begin in range(0, out_channels, _CHANNELS_AT_A_TIME):
            chosen = slice(begin, begin + _CHANNELS_AT_A_TIME)
            filters = weight[chosen, :, :, x : x + 1]
            taps[..., chosen] = by_tap(
                filters if scale is None else filters * scale[chosen, None, None, None]
            )
        return factor(taps.reshape(3 * in_channels, out_channels), bfloat16=bfloat16)

    return column(0), column(1), column(2)


class ProductConvolution:
    """A 3 x 3 convolution with bias, rectified, as matrix products over three frames of a column of cells.

    For deep layers: planes of a few dozen cells, weights of many megabytes. The products read the weights
    once, in order, and each thread reads those of its own outputs. Each column of the plane, with the frames
    before and after, is multiplied by the filters' middle column for its own outputs, and by the outer
    columns for the outputs of its neighbours, if it has any. Two columns need four such products;
    neighbourhoods of nine cells would need six, a third of them with zeros.

    ``scale``, ``(C',)``, multiplies the weights of each output as they are packed.
    """

    def __init__(
        self,
        weight: FloatArray,
        bias: FloatArray,
        *,
        scale: FloatArray | None = None,
        pool: bool = False,
        n_parts: int,
        bfloat16: bool = False,
    ) -> None:
        self.out_channels, self.in_channels = weight.shape[:2]
        self.pool = pool
        parts = [
            slice(begin * N_LANES, end * N_LANES)
            for begin, end in even_ranges(self.out_channels // N_LANES, n_parts)
            if begin < end
        ]
        self._parts = [
            (part, _by_column(weight[part], None if scale is None else scale[part], bfloat16=bfloat16))
            for part in parts
        ]
        self._bias = bias

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill the first ``out_channels`` channels of ``target``, as far as it reaches, from ``source``."""
        channels = (self.in_channels, self.out_channels)
        name = self._parts[0][1][1].name
        with workers.step(*convolution_step(source, channels, 9), form="columns", product=name):
            self._run(source, target, workers)

    def _run(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill the first ``out_channels`` channels of ``target``, as far as it reaches, from ``source``."""
        rows, to_rows = source.rows, target.rows
        n_frames, n_inputs = len(rows.inside), 3 * self.in_channels
        n_cells = n_frames * source.width
        (memory,) = workers.scratch(0, n_cells * n_inputs)
        inputs = memory[: n_cells * n_inputs].reshape(n_cells, n_inputs)
        origins = row_sources(rows.heights, to_rows.heights, 2 if self.pool else 1)
        n = workers.n
        ranges = list(even_ranges(n_frames, n))

        def gather(i: int) -> None:
            _columns()(
                source.flat, source.row, self.in_channels, rows.inside, *ranges[i], source.width, memory
            )

        def multiply(i: int) -> None:
            for channels, (left, middle, right) in self._parts[i::n]:
                width = channels.stop - channels.start
                products = np.empty((n_cells, width), np.float32)
                middle.multiply(inputs, products, self._bias[channels])
                if source.width > 1:
                    left.accumulate(inputs[:-n_frames], products[n_frames:])
                    right.accumulate(inputs[n_frames:], products[:-n_frames])
                _rectify_and_pool()(
                    products.reshape(-1), n_frames, width, origins, to_rows.inside, self.pool,
                    target.flat, target.row, target.channels, target.width, channels.start,
                )  # fmt: skip

        workers.run(gather)
        workers.run(multiply)

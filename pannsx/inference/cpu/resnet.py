"""ResNets for inference on the CPU: residual blocks on planes, with the sum in the last layer's output."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pannsx.inference.cpu.blocks import Convolution, entry_plane, features_of, prepared_block
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.planes import Plane, Planes, convolution_step, pooled_rows
from pannsx.inference.cpu.product import factor
from pannsx.inference.cpu.winograd import WinogradConvolution
from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.simd import N_LANES, load, store
from pannsx.models.settings import ResidualBlock, ResNetSettings
from pannsx.types import FloatArray

_QUARTER = np.float32(0.25)


@cache
def _mean_pool() -> Callable[..., Any]:
    sources = digest_of("jit/simd.py", "inference/cpu/resnet.py")

    def pool(source, source_row, channels, tops, inside, first, last, width, target, row):
        """Means over 2 x 2 cells, for frames ``first`` to ``last`` of the target."""
        _ = sources
        for k in range(first, last):
            for x in range(width):
                at = tops[k] * source_row + (2 * x + 1) * channels
                to = inside[k] * row + (x + 1) * channels
                for c in range(at, at + channels, N_LANES):
                    upper = load(source, c) + load(source, c + channels)
                    lower = load(source, c + source_row) + load(source, c + source_row + channels)
                    store(target, to + c - at, (upper + lower) * _QUARTER)

    return compiled(pool)


def mean_pool(source: Plane, target: Plane, workers: Workers) -> None:
    """Halve both sizes of a plane by means over 2 x 2 cells."""
    tops = pooled_rows(source.rows.heights)
    ranges = list(even_ranges(len(tops), workers.n))

    def share(i: int) -> None:
        _mean_pool()(
            source.flat, source.row, source.channels, tops, target.rows.inside, *ranges[i],
            target.width, target.flat, target.row,
        )  # fmt: skip

    workers.run(share)


class PointwiseConvolution:
    """A 1 x 1 convolution with bias, on planes, with optional ReLU and accumulation into the target."""

    def __init__(
        self,
        weight: FloatArray,
        bias: FloatArray,
        *,
        rectifies: bool,
        adds: bool = False,
        bfloat16: bool = False,
    ) -> None:
        self.out_channels = len(weight)
        self.factor = factor(weight.reshape(len(weight), -1).T, bfloat16=bfloat16)
        self._bias = bias
        self._rectifies, self._adds = rectifies, adds

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill ``target`` from ``source``, which has the same items."""
        name = self.factor.name
        with workers.step(*convolution_step(source, self.factor.shape, 1), form="rows", product=name):
            self._run(source, target, workers)

    def _run(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill ``target`` from ``source``, which has the same items."""
        inputs, outputs = source.matrix, target.matrix
        ranges = list(even_ranges(len(inputs), workers.n))

        def share(i: int) -> None:
            first, last = ranges[i]
            out = outputs[first:last]
            multiply = self.factor.accumulate if self._adds else self.factor.multiply
            multiply(inputs[first:last], out, self._bias, cap=math.inf if self._rectifies else None)

        workers.run(share)
        target.clear_border()


@dataclass
class _Block:
    """A residual block: optional pooling, its layers, and its shortcut."""

    pools: bool
    layers: list[WinogradConvolution | PointwiseConvolution]
    shortcut: PointwiseConvolution | None


class PreparedResNet:
    """``(1, T, F)`` normalised log-mels -> ``(T', C')`` features, like the original ResNet.

    Args:
        trunk: settings of the trunk.
        tensors: those of the network.
        workers: the threads to compute on.
        bfloat16: round the products.
    """

    def __init__(self, trunk: ResNetSettings, tensors: Tensors, workers: Workers, *, bfloat16: bool) -> None:
        self._workers = workers
        self._first = prepared_block(tensors, "conv_block1", workers, pool=True, bfloat16=bfloat16)
        make = _bottleneck if trunk.block == "bottleneck" else _basic
        self._blocks = [make(block, tensors, bfloat16) for layer in trunk.layers for block in layer]
        self._last = prepared_block(tensors, "conv_block_after1", workers, pool=False, bfloat16=bfloat16)
        self._planes = Planes()

    def __call__(self, items: Sequence[FloatArray]) -> list[FloatArray]:
        """``(1, T, F)`` of each item -> ``(T', C')`` features; items may differ in ``T``."""
        x = self._through(self._first, entry_plane(items, self._planes), "first")
        for number, block in enumerate(self._blocks):
            x = self._run(block, x, number % 2)
        return features_of(self._through(self._last, self._pooled(x), "last"))

    def _plane(self, name: Hashable, like: Plane, channels: int, step: int = 1) -> Plane:
        """A plane of the same items, smaller by ``step``. A few names suffice, as memory is reused."""
        heights = tuple(height // step for height in like.rows.heights)
        return self._planes.get(name, heights, like.width // step, channels)

    def _through(self, layers: Sequence[Convolution], x: Plane, name: str) -> Plane:
        """The two layers of a convolution block."""
        for number, layer in enumerate(layers):
            y = self._plane((name, number), x, layer.out_channels, 2 if layer.pool else 1)
            layer(x, y, self._workers)
            x = y
        return x

    def _pooled(self, x: Plane) -> Plane:
        pooled = self._plane("pooled", x, x.channels, 2)
        mean_pool(x, pooled, self._workers)
        return pooled

    def _run(self, block: _Block, x: Plane, parity: int) -> Plane:
        if block.pools:
            x = self._pooled(x)
        total = self._plane(("sum", parity), x, block.layers[-1].out_channels)
        if block.shortcut is None:
            total.cells[...] = x.cells
        else:
            block.shortcut(x, total, self._workers)
        for number, layer in enumerate(block.layers[:-1]):
            y = self._plane(("inner", number), x, layer.out_channels)
            layer(x, y, self._workers)
            x = y
        block.layers[-1](x, total, self._workers)
        return total


def _basic(block: ResidualBlock, tensors: Tensors, bfloat16: bool) -> _Block:
    layers: list[WinogradConvolution | PointwiseConvolution] = [
        WinogradConvolution(*_folded(block, 1, tensors)),
        WinogradConvolution(*_folded(block, 2, tensors), adds=True),
    ]
    return _Block(block.pool == 2, layers, _shortcut(block, tensors, bfloat16))


def _bottleneck(block: ResidualBlock, tensors: Tensors, bfloat16: bool) -> _Block:
    layers: list[WinogradConvolution | PointwiseConvolution] = [
        PointwiseConvolution(*_folded(block, 1, tensors), rectifies=True, bfloat16=bfloat16),
        WinogradConvolution(*_folded(block, 2, tensors)),
        PointwiseConvolution(*_folded(block, 3, tensors), rectifies=True, adds=True, bfloat16=bfloat16),
    ]
    return _Block(block.pool == 2, layers, _shortcut(block, tensors, bfloat16))


def _folded(block: ResidualBlock, number: int, tensors: Tensors) -> tuple[FloatArray, FloatArray]:
    return tensors.folded(f"{block.name}.conv{number}", f"{block.name}.bn{number}")


def _shortcut(block: ResidualBlock, tensors: Tensors, bfloat16: bool) -> PointwiseConvolution | None:
    if block.shortcut is None:
        return None
    folded = tensors.folded(block.shortcut, block.shortcut_norm)
    return PointwiseConvolution(*folded, rectifies=False, bfloat16=bfloat16)

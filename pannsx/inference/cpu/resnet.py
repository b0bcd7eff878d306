"""ResNets for inference on the CPU: residual blocks on planes, with the sum in the last layer's output."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pannsx.inference.cpu.blocks import Convolution, entry_plane, features_of, prepared_block
from pannsx.inference.cpu.folding import folded
from pannsx.inference.cpu.planes import Plane, Planes, pooled_rows
from pannsx.inference.cpu.product import affine
from pannsx.inference.cpu.winograd import WinogradConvolution
from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.simd import N_LANES, load, store
from pannsx.models.trunks.resnet import BasicBlock, Bottleneck, ResNet
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
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, *, rectifies: bool, adds: bool = False
    ) -> None:
        self.out_channels = len(weight)
        self._weight = weight.flatten(1).T.to(dtype).contiguous()
        self._bias = bias.float()
        self._rectifies, self._adds = rectifies, adds

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill ``target`` from ``source``, which has the same items."""
        inputs, outputs = source.matrix, target.matrix
        ranges = list(even_ranges(len(inputs), workers.n))

        def share(i: int) -> None:
            first, last = ranges[i]
            out = outputs[first:last]
            with torch.inference_mode():
                products = torch.empty_like(out) if self._adds else out
                affine(self._bias, inputs[first:last], self._weight, products)
                if self._adds:
                    out += products
                if self._rectifies:
                    out.relu_()

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
        trunk: in float32 on the CPU.
        workers: the threads to compute on.
        dtype: type of the products.
    """

    def __init__(self, trunk: ResNet, workers: Workers, dtype: torch.dtype) -> None:
        self._workers = workers
        self._dtype = dtype
        self._first = prepared_block(trunk.conv_block1, workers, dtype)
        self._blocks = [self._block(block) for layer in trunk.resnet.children() for block in layer.children()]
        self._last = prepared_block(trunk.conv_block_after1, workers, dtype)
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

    def _block(self, block: nn.Module) -> _Block:
        dtype = self._dtype
        layers: list[WinogradConvolution | PointwiseConvolution]
        if isinstance(block, BasicBlock):
            layers = [
                WinogradConvolution(*folded(block.conv1, block.bn1)),
                WinogradConvolution(*folded(block.conv2, block.bn2), adds=True),
            ]
        elif isinstance(block, Bottleneck):
            layers = [
                PointwiseConvolution(*folded(block.conv1, block.bn1), dtype, rectifies=True),
                WinogradConvolution(*folded(block.conv2, block.bn2)),
                PointwiseConvolution(*folded(block.conv3, block.bn3), dtype, rectifies=True, adds=True),
            ]
        else:
            raise TypeError(f"PreparedResNet knows BasicBlock and Bottleneck, not {type(block).__name__}")
        shortcut = None
        if not isinstance(block.downsample, nn.Identity):
            *_, convolution, norm = block.downsample.children()
            if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                raise TypeError(f"the shortcut is no convolution with its norm: {block.downsample}")
            shortcut = PointwiseConvolution(*folded(convolution, norm), dtype, rectifies=False)
        return _Block(isinstance(block.pool, nn.AvgPool2d), layers, shortcut)

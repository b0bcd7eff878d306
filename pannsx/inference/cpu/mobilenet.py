"""MobileNets on another library's matrix products, layer by layer, with compiled depthwise convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pannsx.inference.cpu.depthwise import depthwise, depthwise_halving, first_halving, frame_table, taps_of
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.planes import Planes, pooled_rows
from pannsx.inference.cpu.product import FEW_ROWS, Product
from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.jit.simd import N_LANES
from pannsx.models.settings import MobileNetSettings
from pannsx.types import FloatArray

_BLOCK_FLOATS = 2**16  # of a block's depthwise outputs: they stay in the cache for the product


@dataclass
class Matrix:
    """Activations ``(cells, C)`` of all items.

    Attributes:
        memory: a zero frame, then the cells.
        heights: frames of each item.
        width: cells of a frame.
        channels: ``C``.
    """

    memory: FloatArray
    heights: tuple[int, ...]
    width: int
    channels: int

    @property
    def n_frames(self) -> int:
        """Frames of all items."""
        return sum(self.heights)

    @property
    def cells(self) -> FloatArray:
        """``(cells, C)``, without the zero frame."""
        frame = self.width * self.channels
        return self.memory[frame : (self.n_frames + 1) * frame].reshape(-1, self.channels)


class Memory:
    """Reused memory for matrices, one slot for the layer's number modulo a small number."""

    def __init__(self) -> None:
        self._kept: dict[int, FloatArray] = {}

    def matrix(self, slot: int, heights: tuple[int, ...], width: int, channels: int) -> Matrix:
        """A matrix with its zero frame cleared; the other cells hold values of an earlier pass."""
        size = (sum(heights) + 1) * width * channels
        if slot not in self._kept or len(self._kept[slot]) < size:
            self._kept[slot] = np.empty(size, np.float32)
        memory = self._kept[slot]
        memory[: width * channels] = 0
        return Matrix(memory, heights, width, channels)


class Separable:
    """A depthwise convolution with its activation, then a pointwise one: ``(cells, C')``."""

    def __init__(
        self, weight: FloatArray, bias: FloatArray, stride: int, cap: float, product: Product
    ) -> None:
        self.stride = stride
        self.product = product
        self._taps, self._bias = taps_of(weight, stride), bias
        self._cap = np.float32(cap)

    def __call__(self, source: Matrix, memory: Memory, slot: int, workers: Workers) -> Matrix:
        """``(cells, C)`` -> ``(cells', C')``, in the memory of ``slot``."""
        heights = tuple(height // self.stride for height in source.heights)
        width = source.width // self.stride
        target = memory.matrix(slot, heights, width, self.product.out_channels)
        kernel = depthwise() if self.stride == 1 else depthwise_halving()
        table = frame_table(source.heights, self.stride).reshape(-1)
        ranges = list(even_ranges(target.n_frames, workers.n))
        frame = width * source.channels  # floats of a frame between the two convolutions
        few = target.n_frames * width < FEW_ROWS
        block = target.n_frames if few else max(1, _BLOCK_FLOATS // frame)
        (between,) = workers.scratch(0, target.n_frames * frame) if few else (np.empty(0, np.float32),)
        out = target.cells

        def convolve(first: int, last: int, into: FloatArray) -> None:
            kernel(
                source.memory, source.channels, source.width, table, 0, first, last,
                self._taps, source.channels, self._bias, source.channels, self._cap, into, source.channels,
            )  # fmt: skip

        def by_frames(i: int) -> None:
            (scratch,) = workers.scratch(i, block * frame)
            begin, end = ranges[i]
            for first in range(begin, end, block):
                last = min(first + block, end)
                convolve(first, last, scratch)
                inputs = scratch[: (last - first) * frame].reshape(-1, source.channels)
                self.product.rows(inputs, out[first * width : last * width])

        def enter(i: int) -> None:
            first, last = ranges[i]
            convolve(first, last, between[first * frame :])

        n_out, n_cells = self.product.out_channels, target.n_frames * width
        layer = f"{source.channels} -> {n_out}, separable{', halving' if self.stride == 2 else ''}"
        if few:
            with workers.step(
                f"{source.channels}, depthwise",
                2 * n_cells * source.channels * 9,
                form="vectors",
                product="-",
            ):
                workers.run(enter)
            inputs = between[: target.n_frames * frame].reshape(-1, source.channels)
            self.product(inputs, workers, out)
        else:
            n_operations = 2 * n_cells * source.channels * (9 + n_out)
            with workers.step(layer, n_operations, form="block by block", product=self.product.factor.name):
                workers.run(by_frames)
        return target


@dataclass
class _Stage:
    """A block of a MobileNet, with optional expansion and an optional residual sum."""

    widen: Product | None
    separable: Separable
    adds_input: bool


class PreparedMobileNet:
    """``(1, T, F)`` normalised log-mels -> ``(T', C')`` features, like the original MobileNet.

    Args:
        trunk: settings of the trunk.
        tensors: those of the network.
        workers: the threads to compute on.
    """

    def __init__(self, trunk: MobileNetSettings, tensors: Tensors, workers: Workers) -> None:
        self._workers = workers
        self._cap = 6.0 if trunk.residual else math.inf

        def pointwise(convolution: str, norm: str, cap: float | None = self._cap) -> Product:
            return Product(*tensors.folded(convolution, norm), cap=cap)

        weight, bias = tensors.folded("features.0.0", "features.0.2")
        self._first = taps_of(weight, 2), bias
        self._stages: list[_Stage] = []
        for block in trunk.blocks:
            separable = Separable(
                *tensors.folded(block.layer(0), block.layer(2)),
                block.stride,
                self._cap,
                # The narrow outputs of residual blocks have no activation.
                pointwise(block.layer(4), block.layer(5), None if trunk.residual else self._cap),
            )
            widen = pointwise(f"{block.name}.0", f"{block.name}.1") if block.widens else None
            self._stages.append(_Stage(widen, separable, block.adds_input))
        last = trunk.last
        self._last = None if last is None else pointwise(f"{last}.0", f"{last}.1")
        self._planes = Planes()
        self._memory = Memory()

    def __call__(self, items: Sequence[FloatArray]) -> list[FloatArray]:
        """``(1, T, F)`` of each item -> ``(T', C')`` features; items may differ in ``T``."""
        x = self._enter(items)
        for number, stage in enumerate(self._stages):
            x = self._run_stage(stage, x, 3 * (number % 2))
        if self._last is not None:
            x = self._widened(self._last, x, 2)
        return self._leave(x)

    def _enter(self, items: Sequence[FloatArray]) -> Matrix:
        taps, bias = self._first
        heights, width = tuple(item.shape[1] for item in items), items[0].shape[2]
        plane = self._planes.get(0, heights, width, 1)
        for inside, item in zip(plane.items(), items, strict=True):
            inside[...] = item.transpose(1, 2, 0)
        tops = pooled_rows(heights) - 1
        out = self._memory.matrix(1, tuple(h // 2 for h in heights), width // 2, len(bias))
        cells = out.cells.reshape(-1)
        ranges = list(even_ranges(out.n_frames, self._workers.n))
        cap = np.float32(self._cap)

        def share(i: int) -> None:
            first, last = ranges[i]
            into = cells[first * out.width * len(bias) :]
            first_halving()(
                plane.flat, plane.row, tops, first, last, out.width, len(bias), taps, bias, cap, into
            )

        n_operations = 2 * 9 * out.n_frames * out.width * len(bias)
        with self._workers.step(
            f"1 -> {len(bias)}, 3 x 3, halving", n_operations, form="vectors", product="-"
        ):
            self._workers.run(share)
        return out

    def _run_stage(self, stage: _Stage, x: Matrix, slot: int) -> Matrix:
        wide = x if stage.widen is None else self._widened(stage.widen, x, slot + 2)
        y = stage.separable(wide, self._memory, slot, self._workers)
        if stage.adds_input:
            total = y.cells
            total += x.cells
        return y

    def _widened(self, product: Product, x: Matrix, slot: int) -> Matrix:
        """A pointwise convolution alone: the expansion of a block."""
        target = self._memory.matrix(slot, x.heights, x.width, product.out_channels)
        product(x.cells, self._workers, target.cells)
        return target

    def _leave(self, x: Matrix) -> list[FloatArray]:
        frames = x.cells.reshape(x.n_frames, x.width, x.channels)
        return np.split(frames.mean(axis=1), np.cumsum(x.heights)[:-1])


def can_prepare_mobile(trunk: MobileNetSettings) -> bool:
    """Whether :class:`PreparedMobileNet` supports a trunk; its channels must fill whole vectors."""
    return trunk.first_channels % N_LANES == 0 and all(block.wide % N_LANES == 0 for block in trunk.blocks)

"""MobileNets on our own products: all layers in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.planes import Planes, pooled_rows
from pannsx.inference.cpu.product import OwnFactor, Product
from pannsx.inference.cpu.strip_parts import Described, run_tasks
from pannsx.inference.cpu.strip_plan import Layer, Layers, Plan, Task, make_plan
from pannsx.inference.cpu.strips import (
    DEPTHWISE,
    DEPTHWISE8,
    FIRST,
    HALVING,
    HALVING8,
    HALVING_KINDS,
    IN_CHANNELS,
    KIND,
    POOLING,
    PRODUCT,
    PRODUCT8,
    PRODUCT_KINDS,
    WIDTH,
    compiled_share,
)  # fmt: skip
from pannsx.inference.cpu.workers import Workers
from pannsx.jit.atomic import address_of_give_way
from pannsx.jit.matrix import up_to_panel
from pannsx.models.settings import MobileNetSettings
from pannsx.types import FloatArray, IntArray

NO_STEPS: Mapping[str, float] = MappingProxyType({})


class Waveform(NamedTuple):
    """A waveform whose log-mel, normalised, is computed in the same call as the network."""

    samples: FloatArray  # (S,)
    kernel: LogMelKernel
    scale: FloatArray  # (F,)
    shift: FloatArray  # (F,)


Source = Sequence[FloatArray] | Waveform
"""Normalised log-mels ``(1, T, F)`` of items, which may differ in ``T``, or a waveform."""


class _Ready(NamedTuple):
    """What a call needs besides its input."""

    key: tuple[tuple[int, ...], int, int]  # heights and width of the items, number of threads
    plan: Plan
    plane: FloatArray  # the input with a border, flat
    items: list[FloatArray]  # (H, W, 1) views of it
    first: int  # where the first item begins in it
    row: int  # floats from one frame to the next
    tops: IntArray  # row above the first one of each output of the first layer


class MobileNetInStrips:
    """Normalised log-mels -> features, or the outputs of clips, like the original MobileNet.

    Args:
        trunk: settings of the trunk.
        tensors: those of the network.
        workers: the threads to compute on.
        head: names of dense layers, all but the last rectified, of a head that pools before them.
        steps: for products in 8 bits, by name of each pointwise convolution the value of one unit of its
            input; none: in float32. See :mod:`pannsx.inference.quantisation`.
    """

    def __init__(
        self,
        trunk: MobileNetSettings,
        tensors: Tensors,
        workers: Workers,
        head: Sequence[str] = (),
        steps: Mapping[str, float] = NO_STEPS,
    ) -> None:
        self._workers = workers
        cap = 6.0 if trunk.residual else math.inf
        layers = Layers()
        # One task with the first block, unless that one adds its input, which must then be kept.
        first = -1 if trunk.blocks[0].adds_input else 0
        layers.convolution(*tensors.folded("features.0.0", "features.0.2"), halves=True, cap=cap, block=first)
        for number, block in enumerate(trunk.blocks):
            if block.widens:
                layers.product(*tensors.folded(f"{block.name}.0", f"{block.name}.1"), cap=cap, block=number)
            pointwise = tensors.folded(block.layer(4), block.layer(5))
            step = None if trunk.residual else steps.get(block.layer(4))  # outputs of ReLU are bytes
            layers.convolution(
                *tensors.folded(block.layer(0), block.layer(2)),
                halves=block.stride == 2,
                cap=cap,
                block=number,
                step=step,
            )
            if step is not None:
                layers.product_of_bytes(*pointwise, step=step, cap=cap, block=number)
                continue
            layers.product(
                *pointwise,
                # The narrow outputs of residual blocks have no activation.
                cap=None if trunk.residual else cap,
                block=number,
                adds=block.adds_input,
            )
        if (last := trunk.last) is not None:
            layers.product(*tensors.folded(f"{last}.0", f"{last}.1"), cap=cap, block=len(trunk.blocks))
        for name in head:
            is_last = name == head[-1]
            layers.dense(tensors.weight(name), tensors.bias(name), cap=None if is_last else math.inf)
        self._layers = layers
        self._weights, self._limits = layers.take_weights(), layers.limits()
        self.head = {name: self._product(i) for i, name in enumerate(head, len(layers.all) - len(head))}
        """Its dense layers, whose weights are those of this call."""
        self._planes = Planes()
        self._memory = np.empty(0, np.float32)
        self._ready: _Ready | None = None

    def __call__(self, source: Source) -> list[FloatArray]:
        """``(T', C')`` features of each item."""
        plan = self._run(source, with_head=False)
        n_channels = self._layers.all[self._layers.n_trunk - 1].channels
        cells = plan.output(plan.n_trunk - 1, self._memory)[..., :n_channels]
        return np.split(cells.mean(axis=1), np.cumsum(plan.heights)[:-1])

    def clips(self, source: Source) -> tuple[FloatArray, FloatArray]:
        """``(n, D)`` outputs of the first dense layer and ``(n, K)`` of the last one, for n items."""
        plan = self._run(source, with_head=True)
        first = -len(self.head)
        embeddings, logits = (
            plan.output(task, self._memory)[:, 0, : self._layers.all[layer].channels].copy()
            for task, layer in ((len(plan.tasks) + first, first), (len(plan.tasks) - 1, -1))
        )
        return embeddings, logits

    def _product(self, number: int) -> Product:
        """A dense layer by itself."""
        layer, n_in = self._layers.all[number], self._layers.all[number - 1].channels
        panels = self._weights[layer.panels : layer.panels + n_in * up_to_panel(layer.channels)]
        factor = OwnFactor.of_panels((n_in, layer.channels), panels)
        bias = self._weights[layer.bias : layer.bias + layer.channels]
        return Product.of(
            factor, bias, cap=float(self._limits[number, 1]) if self._limits[number, 0] == 0 else None
        )

    def _run(self, source: Source, *, with_head: bool) -> Plan:
        """Run all tasks, or those of the trunk."""
        n = self._workers.n
        if isinstance(source, Waveform):
            n_frames, width = source.kernel.frontend.n_frames(len(source.samples)), len(source.scale)
            ready = self._ready_for((n_frames,), width, n)
            enter = source.kernel.into(
                ready.plane, ready.first, ready.row, source.samples, source.scale, source.shift
            )
        else:
            ready = self._ready_for(tuple(item.shape[1] for item in source), source[0].shape[2], n)
            for inside, item in zip(ready.items, source, strict=True):
                inside[...] = item.transpose(1, 2, 0)
            enter = _nothing
        plan, share_of = ready.plan, compiled_share()

        def share(i: int, counters: IntArray, first: int, last: int) -> None:
            (scratch,) = self._workers.scratch(i, plan.n_scratch)
            enter()
            share_of(
                i, n, counters, first, last, plan.task_rows, plan.layers, self._limits, self._weights,
                ready.plane, ready.row, ready.tops, plan.tables, self._memory, scratch, address_of_give_way(),
            )  # fmt: skip

        n_tasks = len(plan.tasks) if with_head else plan.n_trunk
        layers = self._layers.all
        run_tasks(self._workers, n, n_tasks, share, lambda t: _described(plan, layers, plan.tasks[t]))
        return plan

    def _ready_for(self, heights: tuple[int, ...], width: int, n: int) -> _Ready:
        """Plan and memory for items of ``heights`` by ``width`` on ``n`` threads; kept for the next call."""
        if self._ready is None or self._ready.key != (heights, width, n):
            plan = make_plan(self._layers, heights, width, n)
            if len(self._memory) < plan.n_memory:
                self._memory = np.empty(plan.n_memory, np.float32)
            for begin, end in plan.zeros:
                self._memory[begin:end] = 0
            plane = self._planes.get(0, heights, width, 1)
            first = int(plane.rows.starts[0]) * plane.row + 1
            tops = pooled_rows(heights) - 1
            self._ready = _Ready((heights, width, n), plan, plane.flat, plane.items(), first, plane.row, tops)
        return self._ready


def _nothing() -> None:
    """The log-mels are there already."""


def _described(plan: Plan, layers: Sequence[Layer], task: Task) -> Described:
    names, n_operations = [], 0
    n_frames = task.n_frames
    for row, layer in reversed(list(zip(plan.layers, layers, strict=True))[task.begin : task.end]):
        kind, n_in, n_out = layer.kind, int(row[IN_CHANNELS]), layer.channels
        names.append(
            {
                FIRST: f"1 -> {n_out}, 3 x 3, halving",
                DEPTHWISE: f"{n_out}, depthwise",
                DEPTHWISE8: f"{n_out}, depthwise",
                HALVING: f"{n_out}, depthwise, halving",
                HALVING8: f"{n_out}, depthwise, halving",
                PRODUCT: f"{n_in} -> {n_out}",
                PRODUCT8: f"{n_in} -> {n_out}, 8 bits",
                POOLING: "mean over frequency, maximum and mean over time",
            }[kind]
        )
        if kind == POOLING:
            continue
        n_operations += 2 * n_frames * int(row[WIDTH]) * n_out * (n_in if kind in PRODUCT_KINDS else 9)
        if kind in (FIRST, *HALVING_KINDS):
            n_frames *= 2
    form = f"{task.n_pieces} {'columns' if task.by_columns else 'strips'}"
    multiplies = np.isin(plan.layers[task.begin : task.end, KIND], PRODUCT_KINDS).any()
    return Described("; ".join(names[::-1]), n_operations, form, "own" if multiplies else "-")

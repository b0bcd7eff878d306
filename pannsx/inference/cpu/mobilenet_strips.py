"""MobileNets on our own products: all layers in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.planes import Planes, pooled_rows
from pannsx.inference.cpu.strip_parts import Described, run_tasks
from pannsx.inference.cpu.strip_plan import Layers, Plan, Task, make_plan
from pannsx.inference.cpu.strips import (
    CHANNELS,
    DEPTHWISE,
    FIRST,
    HALVING,
    IN_CHANNELS,
    KIND,
    PRODUCT,
    WIDTH,
    compiled_share,
)  # fmt: skip
from pannsx.inference.cpu.workers import Workers
from pannsx.jit.atomic import address_of_give_way
from pannsx.models.settings import MobileNetSettings
from pannsx.types import FloatArray, IntArray


class MobileNetInStrips:
    """``(1, T, F)`` normalised log-mels -> ``(T', C')`` features, like the original MobileNet.

    Args:
        trunk: settings of the trunk.
        tensors: those of the network.
        workers: the threads to compute on.
    """

    def __init__(self, trunk: MobileNetSettings, tensors: Tensors, workers: Workers) -> None:
        self._workers = workers
        cap = 6.0 if trunk.residual else math.inf
        layers = Layers()
        # One task with the first block, unless that one adds its input, which must then be kept.
        first = -1 if trunk.blocks[0].adds_input else 0
        layers.convolution(*tensors.folded("features.0.0", "features.0.2"), halves=True, cap=cap, block=first)
        for number, block in enumerate(trunk.blocks):
            if block.widens:
                layers.product(*tensors.folded(f"{block.name}.0", f"{block.name}.1"), cap=cap, block=number)
            layers.convolution(
                *tensors.folded(block.layer(0), block.layer(2)),
                halves=block.stride == 2,
                cap=cap,
                block=number,
            )
            layers.product(
                *tensors.folded(block.layer(4), block.layer(5)),
                # The narrow outputs of residual blocks have no activation.
                cap=None if trunk.residual else cap,
                block=number,
                adds=block.adds_input,
            )
        if (last := trunk.last) is not None:
            layers.product(*tensors.folded(f"{last}.0", f"{last}.1"), cap=cap, block=len(trunk.blocks))
        self._layers = layers
        self._weights, self._limits = layers.take_weights(), layers.limits()
        self._planes = Planes()
        self._memory = np.empty(0, np.float32)

    def __call__(self, items: Sequence[FloatArray]) -> list[FloatArray]:
        """``(1, T, F)`` of each item -> ``(T', C')`` features; items may differ in ``T``."""
        heights, width = tuple(item.shape[1] for item in items), items[0].shape[2]
        plane = self._planes.get(0, heights, width, 1)
        for inside, item in zip(plane.items(), items, strict=True):
            inside[...] = item.transpose(1, 2, 0)
        tops = pooled_rows(heights) - 1
        n = self._workers.n
        plan = make_plan(self._layers, heights, width, n)
        if len(self._memory) < plan.n_memory:
            self._memory = np.empty(plan.n_memory, np.float32)
        for begin, end in plan.zeros:
            self._memory[begin:end] = 0
        share_of = compiled_share()

        def share(i: int, counters: IntArray, first: int, last: int) -> None:
            (scratch,) = self._workers.scratch(i, plan.n_scratch)
            share_of(
                i, n, counters, first, last, plan.task_rows, plan.layers, self._limits, self._weights,
                plane.flat, plane.row, tops, plan.tables, self._memory, scratch, address_of_give_way(),
            )  # fmt: skip

        run_tasks(self._workers, n, len(plan.tasks), share, lambda t: _described(plan, plan.tasks[t]))
        return np.split(plan.features(self._memory).mean(axis=1), np.cumsum(plan.heights)[:-1])


def _described(plan: Plan, task: Task) -> Described:
    names, n_operations = [], 0
    n_frames = task.n_frames
    for row in plan.layers[task.begin : task.end][::-1]:
        kind, n_in, n_out = (int(row[column]) for column in (KIND, IN_CHANNELS, CHANNELS))
        names.append(
            {
                FIRST: f"1 -> {n_out}, 3 x 3, halving",
                DEPTHWISE: f"{n_out}, depthwise",
                HALVING: f"{n_out}, depthwise, halving",
                PRODUCT: f"{n_in} -> {n_out}",
            }[kind]
        )
        n_operations += 2 * n_frames * int(row[WIDTH]) * n_out * (n_in if kind == PRODUCT else 9)
        if kind in (FIRST, HALVING):
            n_frames *= 2
    form = f"{task.n_pieces} {'columns' if task.by_columns else 'strips'}"
    multiplies = (plan.layers[task.begin : task.end, KIND] == PRODUCT).any()
    return Described("; ".join(names[::-1]), n_operations, form, "own" if multiplies else "-")

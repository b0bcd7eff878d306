"""Layers over time on our own products, in one compiled call: plans, memory and threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pannsx.inference.cpu.strip_parts import Described, run_tasks
from pannsx.inference.cpu.time_plan import Layers, Plan, make_plan
from pannsx.inference.cpu.time_strips import MAXIMUM, WINOGRAD, compiled_share
from pannsx.inference.cpu.workers import Workers
from pannsx.jit.atomic import address_of_give_way
from pannsx.types import FloatArray, IntArray


class LayersInStrips:
    """``(1, S)`` waveforms -> the last map ``(T', C')`` of each.

    Args:
        layers: the layers, in order.
        workers: the threads to compute on.
    """

    def __init__(self, layers: Layers, workers: Workers) -> None:
        self._workers = workers
        self._layers = layers
        self._weights = layers.take_weights()
        self._memory = np.empty(0, np.float32)

    def __call__(self, items: Sequence[FloatArray]) -> list[FloatArray]:
        """``(1, S)`` of each item -> ``(T', C')`` features, in memory that the next call uses again."""
        n = self._workers.n
        plan = make_plan(self._layers, tuple(item.shape[1] for item in items), n)
        if len(self._memory) < plan.n_memory:
            self._memory = np.empty(plan.n_memory, np.float32)
        before, after = plan.margins[0].tolist()
        for item, begin in zip(items, plan.places[:, 0].tolist(), strict=True):
            end = begin + item.shape[1]
            self._memory[begin - before : begin] = self._memory[end : end + after] = 0
            self._memory[begin:end] = item[0]
        share_of = compiled_share()

        def share(i: int, counters: IntArray, first: int, last: int) -> None:
            (scratch,) = self._workers.scratch(i, plan.n_scratch)
            share_of(
                i, n, counters, first, last, plan.task_rows, plan.layers, plan.tiles, plan.margins,
                plan.slots, plan.lengths, plan.places, plan.pieces, self._weights, self._memory, scratch,
                address_of_give_way(),
            )  # fmt: skip

        run_tasks(self._workers, n, len(plan.tasks), share, lambda t: _described(self._layers, plan, t))
        channels = self._layers.all[-1].channels
        return [
            self._memory[begin : begin + length * channels].reshape(length, channels)
            for begin, length in zip(plan.places[:, -1].tolist(), plan.lengths[:, -1].tolist(), strict=True)
        ]


def _described(layers: Layers, plan: Plan, number: int) -> Described:
    task = plan.tasks[number]
    names, n_operations = [], 0
    for i in range(task.begin, task.end):
        layer = layers.all[i]
        if not layer.multiplies:
            names.append(f"{'maximum' if layer.kind == MAXIMUM else 'mean'} of {layer.n_taps}")
            continue
        by = f", by {layer.stride}" if layer.stride > 1 else ""
        apart = f", {layer.dilation} apart" if layer.dilation > 1 else ""
        names.append(f"{layer.in_channels} -> {layer.channels}, {layer.n_taps}{by}{apart}")
        n_operations += (
            2 * layer.n_taps * layer.in_channels * layer.channels * int(plan.lengths[:, i + 1].sum())
        )
    form = f"{task.n_pieces} {'columns' if task.by_channels else 'strips'}"
    inside = layers.all[task.begin : task.end]
    if any(layer.kind == WINOGRAD for layer in inside):
        form = f"Winograd 4, {form}"
    multiplies = any(layer.multiplies for layer in inside)
    return Described("; ".join(names), n_operations, form, "own" if multiplies else "-")

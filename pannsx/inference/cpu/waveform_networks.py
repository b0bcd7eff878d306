"""Networks on the waveform - LeeNets, DaiNet19, Res1dNets - on our own products, in one compiled call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.strip_parts import Described, run_tasks
from pannsx.inference.cpu.time_plan import Layers, Plan, make_plan
from pannsx.inference.cpu.time_strips import MAXIMUM, MEAN, WINOGRAD, compiled_share
from pannsx.inference.cpu.workers import Workers
from pannsx.jit.atomic import address_of_give_way
from pannsx.jit.simd import N_LANES
from pannsx.models.raw_settings import DaiNet19Settings, LeeNetSettings, Res1dNetSettings, projects
from pannsx.types import FloatArray, IntArray

Settings = LeeNetSettings | DaiNet19Settings | Res1dNetSettings


def can_prepare_waveform(trunk: Settings) -> bool:
    """Whether the widths fill vectors."""
    return all(width % N_LANES == 0 for width in trunk.widths)


class WaveformNetworkInStrips:
    """``(1, S)`` waveforms -> ``(T', C')`` features, like the original trunk.

    Args:
        trunk: settings of the trunk, with widths that are multiples of ``N_LANES``.
        tensors: those of the network.
        workers: the threads to compute on.
    """

    def __init__(self, trunk: Settings, tensors: Tensors, workers: Workers) -> None:
        self._workers = workers
        self._layers = _layers(trunk, tensors)
        self._weights = self._layers.take_weights()
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


def _layers(trunk: Settings, tensors: Tensors) -> Layers:
    match trunk:
        case LeeNetSettings():
            return _leenet(trunk, tensors)
        case DaiNet19Settings():
            return _dainet(trunk, tensors)
        case Res1dNetSettings():
            return _res1dnet(trunk, tensors)


def _leenet(trunk: LeeNetSettings, tensors: Tensors) -> Layers:
    layers = Layers()
    for block in trunk.blocks:
        for i in range(1, trunk.n_convs + 1):
            stride = 1 if layers.last else trunk.stride
            layers.convolution(
                tensors.folded(f"{block.name}.conv{i}", f"{block.name}.bn{i}"), stride=stride, padding=1
            )
        if block.pools:
            layers.pooling(MAXIMUM, trunk.stride, padding=trunk.stride // 2)
            layers.end()
    return layers


def _dainet(trunk: DaiNet19Settings, tensors: Tensors) -> Layers:
    layers = Layers()
    layers.convolution(tensors.folded("conv0", "bn0"), stride=trunk.stride, rectified=False)
    for block in trunk.blocks:
        if block.pool > 1:
            layers.pooling(MAXIMUM, block.pool)
            layers.end()
        shortcut = layers.last
        for i in range(1, 4):
            layers.convolution(tensors.folded(f"{block.name}.conv{i}", f"{block.name}.bn{i}"), padding=1)
        branch = layers.last
        if block.in_channels != block.out_channels:
            folded = tensors.folded(f"{block.name}.downsample", f"{block.name}.bn_downsample")
            shortcut = layers.convolution(folded, source=shortcut, rectified=False)
        folded = tensors.folded(f"{block.name}.conv4", f"{block.name}.bn4")
        layers.convolution(folded, source=branch, padding=1, added=shortcut)
    return layers


def _res1dnet(trunk: Res1dNetSettings, tensors: Tensors) -> Layers:
    layers = Layers()
    layers.convolution(
        tensors.folded("conv0", "bn0"), stride=trunk.stride, padding=trunk.taps // 2, rectified=False
    )
    for number, block in enumerate(trunk.blocks):
        branch = shortcut = layers.last
        if block.pool > 1:
            branch = layers.pooling(MAXIMUM, block.pool, source=shortcut)
            shortcut = layers.pooling(MEAN, block.pool, source=shortcut)
        if number:  # the first block is one task with the convolution before it
            layers.end()
        folded = tensors.folded(f"{block.name}.conv1", f"{block.name}.bn1")
        branch = layers.convolution(folded, source=branch, padding=1)
        if projects(block):
            folded = tensors.folded(f"{block.name}.downsample.1", f"{block.name}.downsample.2")
            shortcut = layers.convolution(folded, source=shortcut, rectified=False)
        folded = tensors.folded(f"{block.name}.conv2", f"{block.name}.bn2")
        layers.convolution(folded, source=branch, dilation=2, padding=2, added=shortcut)
    return layers


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

"""LeeNets on our own products: blocks of convolutions over time, in strips that stay in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.inference.cpu.folding import Tensors, by_tap
from pannsx.inference.cpu.product import FEW_ROWS
from pannsx.inference.cpu.time_strips import (
    CONVOLUTION,
    FIRST,
    POOLING,
    STRIDE,
    run_task,
)  # fmt: skip
from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.jit.matrix import PANEL, packed, padded
from pannsx.jit.simd import N_LANES
from pannsx.models.settings import LeeNetSettings
from pannsx.types import FloatArray

IntArray = npt.NDArray[np.int64]

_STRIP_FLOATS = 96_000  # of a strip between its layers: 384 KB stay in the cache beside the weights
_LONG_WEIGHTS = 256 * 1024  # of a convolution: with few frames, pieces are channels, which read their own
_PIECES_PER_THREAD = 2  # at least, so that a thread that is held up leaves some of its part to others


class Layer(NamedTuple):
    """A layer; its columns are those of :mod:`pannsx.inference.cpu.time_strips`."""

    kind: int
    in_channels: int
    channels: int
    weights: int = 0
    bias: int = 0


@dataclass(frozen=True, eq=False)
class Task:
    """Layers ``begin`` to ``end`` for certain items; the arrays are those of ``run_task``."""

    begin: int
    end: int
    lengths: IntArray
    places: IntArray
    pieces: IntArray
    n_scratch: int
    by_channels: bool


@dataclass(frozen=True, eq=False)
class Plan:
    """The tasks for items of certain sizes.

    Attributes:
        tasks: in order.
        n_memory: floats of the memory.
        lengths: frames of each item's features.
        places: where these begin in the memory, after a frame of zeros.
    """

    tasks: tuple[Task, ...]
    n_memory: int
    lengths: tuple[int, ...]
    places: tuple[int, ...]


def can_prepare_leenet(trunk: LeeNetSettings) -> bool:
    """Whether the widths fill vectors."""
    return all(width % N_LANES == 0 for width in trunk.widths)


class LeeNetInStrips:
    """``(1, S)`` waveforms -> ``(T', C')`` features, like the original LeeNet.

    Args:
        trunk: settings of the trunk, with widths that are multiples of ``N_LANES``.
        tensors: those of the network.
        workers: the threads to compute on.
    """

    def __init__(self, trunk: LeeNetSettings, tensors: Tensors, workers: Workers) -> None:
        self._workers = workers
        layers: list[Layer] = []
        numbers: list[FloatArray] = []
        n, channels = 0, 1
        for block, (width, pools) in enumerate(zip(trunk.widths, trunk.pools, strict=True), 1):
            for i in range(1, trunk.n_convs + 1):
                name = f"conv_block{block}"
                weight, bias = tensors.folded(f"{name}.conv{i}", f"{name}.bn{i}")
                taps = by_tap(weight[..., None]).reshape(-1, width)
                numbers += [packed(taps) if layers else taps.reshape(-1), padded(bias)]
                kind = CONVOLUTION if layers else FIRST
                layers.append(Layer(kind, channels, width, n, n + numbers[-2].size))
                n += numbers[-2].size + numbers[-1].size
                channels = width
            if pools:
                layers.append(Layer(POOLING, channels, channels))
        numbers.append(np.zeros(PANEL, np.float32))  # which a product adds to parts of its sums
        self._weights = np.concatenate(numbers)
        self._layers = tuple(layers)
        self._rows = np.array(layers, np.int64)
        self._memory = np.empty(0, np.float32)

    def __call__(self, items: Sequence[FloatArray]) -> list[FloatArray]:
        """``(1, S)`` of each item -> ``(T', C')`` features, in memory that the next call uses again."""
        plan = make_plan(self._layers, tuple(item.shape[1] for item in items), self._workers.n)
        if len(self._memory) < plan.n_memory:
            self._memory = np.empty(plan.n_memory, np.float32)
        for item, (begin, _) in zip(items, plan.tasks[0].places.tolist(), strict=True):
            self._memory[begin] = self._memory[begin + 1 + item.shape[1]] = 0
            self._memory[begin + 1 : begin + 1 + item.shape[1]] = item[0]
        for task in plan.tasks:
            with self._workers.step(*self._described(task), form=_form(task), product=self._product(task)):
                self._run(task)
        channels = self._layers[-1].channels
        return [
            self._memory[begin + channels : begin + (1 + length) * channels].reshape(length, channels)
            for begin, length in zip(plan.places, plan.lengths, strict=True)
        ]

    def _run(self, task: Task) -> None:
        channels = self._layers[task.end - 1].channels
        for length, (_, begin) in zip(task.lengths[:, -1].tolist(), task.places.tolist(), strict=True):
            self._memory[begin : begin + channels] = 0
            self._memory[begin + (1 + length) * channels :][:channels] = 0
        counter = np.zeros(1, np.int64)  # a thread that starts too late finds that all is done

        def share(i: int) -> None:
            (scratch,) = self._workers.scratch(i, task.n_scratch)
            run_task()(
                counter, self._rows[task.begin : task.end], task.lengths, task.places, task.pieces,
                self._weights, self._memory, scratch,
            )  # fmt: skip

        self._workers.run(share, min(self._workers.n, len(task.pieces)), others_may_lack=True)

    def _described(self, task: Task) -> tuple[str, int]:
        names, n_operations = [], 0
        n_frames = task.lengths.sum(axis=0)
        for layer, n in zip(self._layers[task.begin : task.end], n_frames[1:].tolist(), strict=True):
            if layer.kind == POOLING:
                names.append("maximum of 3")
                continue
            names.append(f"{layer.in_channels} -> {layer.channels}, 3{', by 3' * (layer.kind == FIRST)}")
            n_operations += 2 * 3 * n * layer.in_channels * layer.channels
        return "; ".join(names), n_operations

    def _product(self, task: Task) -> str:
        kinds = [layer.kind for layer in self._layers[task.begin : task.end]]
        return "own" if CONVOLUTION in kinds else "-"


def _form(task: Task) -> str:
    return f"{len(task.pieces)} {'columns' if task.by_channels else 'strips'}"


@lru_cache(maxsize=64)
def make_plan(layers: tuple[Layer, ...], n_samples: tuple[int, ...], n_threads: int) -> Plan:
    """The plan for waveforms of ``n_samples``."""
    lengths = [np.array(n_samples, np.int64)]
    for layer in layers:
        shorter = layer.kind in (FIRST, POOLING)
        lengths.append((lengths[-1] - 1) // STRIDE + 1 if shorter else lengths[-1])
    cuts = _cut(layers, [int(each.sum()) for each in lengths])
    begins = [0, *(end for _, end, _ in cuts)]
    channels = [1, *(layer.channels for layer in layers)]
    # Two halves of the memory in turn: each task reads one and writes the other.
    sizes = [(lengths[at] + 2) * channels[at] for at in begins]
    half = max(int(size.sum()) for size in sizes)
    places = [t % 2 * half + np.cumsum(size) - size for t, size in enumerate(sizes)]
    tasks = []
    for t, (begin, end, by_channels) in enumerate(cuts):
        inside = layers[begin:end]
        if by_channels:
            pieces, n_scratch = _pieces_by_channels(inside[0], lengths[end], n_threads), 0
        else:
            pieces, n_scratch = _strips(inside, lengths[end], n_threads)
        tasks.append(
            Task(
                begin,
                end,
                np.stack(lengths[begin : end + 1], axis=1),
                np.stack([places[t], places[t + 1]], axis=1),
                pieces,
                n_scratch,
                by_channels,
            )
        )
    return Plan(tuple(tasks), 2 * half, tuple(lengths[-1].tolist()), tuple(places[-1].tolist()))


def _cut(layers: Sequence[Layer], n_frames: Sequence[int]) -> list[tuple[int, int, bool]]:
    """Begin and end of each task, and whether its pieces are channels.

    A task ends with a pooling, or with the network. Convolutions of few frames and long weights are each a
    task of their own, whose pieces are channels.
    """
    found, begin = [], 0
    by_channels = [
        layer.kind == CONVOLUTION and n < FEW_ROWS and 3 * layer.in_channels * layer.channels >= _LONG_WEIGHTS
        for layer, n in zip(layers, n_frames[1:], strict=True)
    ]
    for i, layer in enumerate(layers):
        is_last = i + 1 == len(layers)
        if by_channels[i] or layer.kind == POOLING or is_last or by_channels[i + 1]:
            found.append((begin, i + 1, by_channels[i]))
            begin = i + 1
    return found


def _fewest(n_threads: int) -> int:
    return 1 if n_threads == 1 else _PIECES_PER_THREAD * n_threads


def _pieces_by_channels(layer: Layer, lengths: IntArray, n_threads: int) -> IntArray:
    n_panels = -(-layer.channels // PANEL)
    pieces = [
        (item, 0, length, first * PANEL, min(last * PANEL, layer.channels))
        for first, last in even_ranges(n_panels, min(n_panels, _fewest(n_threads)))
        for item, length in enumerate(lengths.tolist())
    ]
    return np.array(pieces, np.int64)


def _strips(layers: Sequence[Layer], lengths: IntArray, n_threads: int) -> tuple[IntArray, int]:
    """The strips of a task, and the floats of scratch memory that the longest one needs."""
    ratio, beside, frames = 1, 0, []  # frames of each layer's input: ratio * n + beside, for n of the output
    for layer in layers[:0:-1]:
        if layer.kind == POOLING:
            ratio, beside = STRIDE * ratio, STRIDE * beside
        else:
            beside += 2
        frames.append((ratio, beside, layer.in_channels))
    frames.reverse()

    def scratch(n: int) -> int:
        sizes = [(ratio * n + beside) * channels for ratio, beside, channels in frames]
        return 2 * max(sizes, default=0)

    longest = max(1, int(lengths.max()))
    while longest > 1 and scratch(longest) > _STRIP_FLOATS:
        longest -= max(1, longest // 16)
    longest = max(1, min(longest, -(-int(lengths.sum()) // _fewest(n_threads))))
    channels = layers[-1].channels
    pieces = [
        (item, first, last, 0, channels)
        for item, length in enumerate(lengths.tolist())
        for first, last in even_ranges(length, -(-length // longest))
    ]
    return np.array(pieces, np.int64), scratch(longest)

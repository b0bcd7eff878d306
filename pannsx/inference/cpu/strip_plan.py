"""What :mod:`pannsx.inference.cpu.strips` runs: the layers of a network, cut into tasks and pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pannsx.inference.cpu.depthwise import frame_table, taps_of
from pannsx.inference.cpu.folding import rounded_filters
from pannsx.inference.cpu.product import FEW_ROWS
from pannsx.inference.cpu.strip_parts import Weights, fewest_pieces, slots_of
from pannsx.inference.cpu.strips import (
    ADDED,
    BIAS,
    CELL,
    DEPTHWISE,
    DEPTHWISE8,
    DEPTHWISE_KINDS,
    FIRST,
    HALVING,
    HALVING8,
    HALVING_KINDS,
    IN_CELL,
    IN_CHANNELS,
    IN_WIDTH,
    KIND,
    N_LAYER_COLUMNS,
    PANELS,
    POOLING,
    PRODUCT,
    PRODUCT8,
    PRODUCT_KINDS,
    SOURCE,
    TABLE,
    TAPS,
    TARGET,
    WIDTH,
)  # fmt: skip
from pannsx.jit.matrix import PANEL, TILE_ROWS, packed, padded
from pannsx.jit.matrix8 import BYTES, MOST
from pannsx.jit.matrix8 import packed as packed8
from pannsx.jit.simd import N_LANES
from pannsx.types import FloatArray, IntArray

_STRIP_FLOATS = 150_000  # of a strip in all layers of a task: 600 KB stay in a second-level cache of 1 MB
_LONG_WEIGHTS = 32 * 1024  # of a product: with few rows, threads divide its columns
_MANY_PANELS = 8  # for each thread: so many that one more or less makes no difference


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a network.

    Attributes:
        kind: one of those of :mod:`pannsx.inference.cpu.strips`.
        channels: of its output.
        block: number of its block; the layers of a block are one task if possible.
        taps, bias, panels: where they begin in the weights.
        adds: whether the input of its block is added to its output.
        is_kept: whether its output, which ends a task, is read after the last one.
    """

    kind: int
    channels: int
    block: int
    taps: int
    bias: int
    panels: int
    adds: bool
    is_kept: bool = False


def cell_of(channels: int) -> int:
    """Floats of a cell: whole vectors, of which those beyond the channels are zeros."""
    return -(-channels // N_LANES) * N_LANES


class Layers:
    """The layers of a network in order, with their weights in one array.

    Attributes:
        all: the layers.
        n_trunk: number of layers before the pooling.
    """

    def __init__(self) -> None:
        self.all: list[Layer] = []
        self.n_trunk = 0
        self._limits: list[tuple[float, float]] = []
        self._weights = Weights()

    def convolution(
        self,
        weight: FloatArray,
        bias: FloatArray,
        *,
        halves: bool,
        cap: float,
        block: int,
        step: float | None = None,
    ) -> None:
        """Add a convolution of one channel, the first, or a depthwise one; ``(C, 1, 3, 3)`` and ``(C,)``.

        With a ``step``, its outputs are bytes, of so much each.
        """
        kind = FIRST if not self.all else HALVING if halves else DEPTHWISE
        if step is not None:
            kind = HALVING8 if halves else DEPTHWISE8
            weight, bias, cap = weight / np.float32(step), bias / np.float32(step), min(cap / step, MOST)
        missing = cell_of(len(weight)) - len(weight)
        whole = np.pad(weight, ((0, missing), *((0, 0),) * 3))
        taps = self._weights.put(taps_of(whole, 2 if halves else 1))
        bias_at = self._weights.put(np.pad(bias, (0, missing)))
        self._add(Layer(kind, len(weight), block, taps, bias_at, 0, False), cap)

    def product(
        self, weight: FloatArray, bias: FloatArray, *, cap: float | None, block: int, adds: bool = False
    ) -> None:
        """Add a pointwise convolution, ``(C', C, 1, 1)`` and ``(C',)``; ``cap`` None: without activation."""
        panels = self._weights.put(packed(np.ascontiguousarray(weight.reshape(len(weight), -1).T)))
        self._add(Layer(PRODUCT, len(weight), block, 0, self._weights.put(padded(bias)), panels, adds), cap)
        self.n_trunk = len(self.all)

    def product_of_bytes(
        self, weight: FloatArray, bias: FloatArray, *, step: float, cap: float, block: int
    ) -> None:
        """Add a pointwise convolution of the bytes of the layer before; ``(C', C, 1, 1)`` and ``(C',)``."""
        whole, scale = rounded_filters(weight.reshape(len(weight), -1))
        filled = np.pad(whole.T, ((0, cell_of(whole.shape[1]) - whole.shape[1]), (0, 0)))
        panels = self._weights.put(packed8(filled).view(np.float32))
        scales = self._weights.put(padded(scale * np.float32(step)))
        bias_at = self._weights.put(padded(bias))
        self._add(Layer(PRODUCT8, len(weight), block, scales, bias_at, panels, False), cap)
        self.n_trunk = len(self.all)

    def dense(self, weight: FloatArray, bias: FloatArray | None, *, cap: float | None) -> None:
        """Add a dense layer of the head, ``(C', C)`` and ``(C',)``; the pooling precedes the first."""
        last = self.all[-1]
        is_first = len(self.all) == self.n_trunk
        if is_first:
            last = Layer(POOLING, last.channels, last.block + 1, 0, 0, 0, False)
            self._add(last, None)
        panels = self._weights.put(packed(np.ascontiguousarray(weight.T)))
        shift = np.zeros(len(weight), np.float32) if bias is None else bias
        layer = Layer(
            PRODUCT, len(weight), last.block + 1, 0, self._weights.put(padded(shift)), panels, False, is_first
        )
        self._add(layer, cap)

    def take_weights(self) -> FloatArray:
        """All weights, with the zeros at the end that a product adds to parts of its sums; once only."""
        return self._weights.take(PANEL)

    def limits(self) -> FloatArray:
        """``(n, 2)`` least and greatest output of each layer."""
        return np.array(self._limits, np.float32)

    def _add(self, layer: Layer, cap: float | None) -> None:
        self.all.append(layer)
        self._limits.append((-np.inf, np.inf) if cap is None else (0, cap))


class Task(NamedTuple):
    """A row of the table of tasks."""

    begin: int
    end: int
    n_frames: int
    n_pieces: int
    by_columns: bool
    n_rows: int
    n_parts: int


@dataclass(frozen=True, eq=False)
class Plan:
    """The tasks for items of certain sizes.

    Attributes:
        layers: ``(n, N_LAYER_COLUMNS)``.
        tasks: in order.
        task_rows: the same as numbers.
        tables: the frame tables.
        n_memory: floats of the shared memory.
        n_scratch: floats of a thread's scratch memory.
        zeros: begin and end of stretches of the memory that must be zero; nothing is written there.
        heights: frames of each item's features.
        n_trunk: number of tasks before the pooling.
    """

    layers: IntArray
    tasks: tuple[Task, ...]
    task_rows: IntArray
    tables: IntArray
    n_memory: int
    n_scratch: int
    zeros: tuple[tuple[int, int], ...]
    heights: tuple[int, ...]
    n_trunk: int

    def output(self, task: int, memory: FloatArray) -> FloatArray:
        """``(frames, W, floats of a cell)``: what a task gave."""
        n_frames = self.tasks[task].n_frames
        last = self.layers[self.tasks[task].end - 1]
        frame = int(last[WIDTH] * last[CELL])
        begin = int(last[TARGET]) + frame
        return memory[begin : begin + n_frames * frame].reshape(n_frames, last[WIDTH], last[CELL])


@lru_cache(maxsize=64)
def make_plan(network: Layers, heights: tuple[int, ...], width: int, n_threads: int) -> Plan:
    """The plan for items of ``heights`` by ``width`` cells."""
    layers, tables, n_frames, out_heights = _shapes(network.all, heights, width)
    tasks: list[Task] = []
    n_scratch = 0
    for begin, end, by_columns in _cut(network.all, layers, n_frames):
        n_rows, n_parts, size = n_frames[begin] * int(layers[begin, WIDTH]), 1, 0
        if by_columns:
            n_panels = -(-int(layers[end - 1, CELL]) // PANEL)
            n_pieces = min(n_panels, fewest_pieces(n_threads))
            if begin + 1 < end:
                size = (n_rows + int(layers[begin, WIDTH])) * -(-n_panels // n_pieces) * PANEL
            elif n_panels < _MANY_PANELS * n_threads and n_panels % n_threads and n_rows > TILE_ROWS:
                # The threads would have unequal parts.
                n_parts = n_threads
                n_pieces = n_panels * n_parts
        else:
            n_pieces, size = _strips(layers[begin:end], tables, n_frames[end - 1], n_threads)
        n_scratch = max(n_scratch, size)
        tasks.append(Task(begin, end, n_frames[end - 1], n_pieces, by_columns, n_rows, n_parts))
    n_memory, zeros = _place(network.all, layers, tasks)
    return Plan(
        layers, tuple(tasks), np.array(tasks, np.int64), tables, n_memory, n_scratch, zeros, out_heights,
        sum(task.end <= network.n_trunk for task in tasks),
    )  # fmt: skip


def _shapes(
    network: Sequence[Layer], heights: tuple[int, ...], width: int
) -> tuple[IntArray, IntArray, list[int], tuple[int, ...]]:
    """The layers' rows without their places, the frame tables, each layer's frames, and the last heights."""
    rows = np.zeros((len(network), N_LAYER_COLUMNS), np.int64)
    tables: list[IntArray] = []
    places: dict[tuple[tuple[int, ...], int], int] = {}
    n_entries, channels, cell, n_frames = 0, 1, cell_of(1), []
    out_heights: tuple[int, ...] = ()
    for row, layer in zip(rows, network, strict=True):
        row[[KIND, IN_CHANNELS, IN_CELL, IN_WIDTH]] = layer.kind, channels, cell, width
        if layer.kind in (*DEPTHWISE_KINDS, *HALVING_KINDS):
            key = heights, 1 if layer.kind in DEPTHWISE_KINDS else 2
            if key not in places:
                places[key] = n_entries
                tables.append(frame_table(*key).reshape(-1))
                n_entries += tables[-1].size
            row[TABLE] = places[key]
        if layer.kind == POOLING:
            row[TABLE] = n_entries
            tables.append(np.cumsum([0, *heights], dtype=np.int64))
            n_entries += tables[-1].size
            out_heights, heights, width = heights, (1,) * len(heights), 1
        if layer.kind in (FIRST, *HALVING_KINDS):
            heights, width = tuple(height // 2 for height in heights), width // 2
        channels = layer.channels
        cell = cell_of(channels) // (BYTES if layer.kind in (DEPTHWISE8, HALVING8) else 1)
        row[[CELL, WIDTH]] = cell, width
        row[[TAPS, BIAS, PANELS]] = layer.taps, layer.bias, layer.panels
        n_frames.append(sum(heights))
    return rows, np.concatenate(tables), n_frames, out_heights or heights


def _cut(network: Sequence[Layer], rows: IntArray, n_frames: list[int]) -> list[tuple[int, int, bool]]:
    """Begin and end of each task, and whether it is divided by columns.

    A task is a block, the first with the layers before it. A block of few rows and long weights is divided by
    columns: its expansion with the depthwise convolution, and its second product; the depthwise convolution
    of a block without expansion by frames.
    """
    weights: dict[int, int] = {}
    for layer, row in zip(network, rows, strict=True):
        if layer.kind in PRODUCT_KINDS:
            size = int(row[IN_CHANNELS] * row[CELL])
            weights[layer.block] = max(size, weights.get(layer.block, 0))
    few = [
        n * row[WIDTH] < FEW_ROWS and weights.get(layer.block, 0) >= _LONG_WEIGHTS
        for layer, row, n in zip(network, rows, n_frames, strict=True)
    ]
    found, begin = [], 0
    for i, layer in enumerate(network):
        is_last = i + 1 == len(network) or network[i + 1].block != layer.block
        is_widened = begin == i - 1 and few[begin] and network[begin].kind == PRODUCT
        if (
            is_last
            or (few[i] and (is_widened or network[i + 1].kind in PRODUCT_KINDS))
            or (few[i + 1] and not few[i])
        ):
            is_product = layer.kind in PRODUCT_KINDS and begin == i
            by_columns = layer.kind == POOLING or (bool(few[i]) and (is_product or is_widened))
            found.append((begin, i + 1, by_columns))
            begin = i + 1
    return found


def _strips(rows: IntArray, tables: IntArray, n_frames: int, n_threads: int) -> tuple[int, int]:
    """Number of strips of a task, and the floats of the longest in the layers before the last."""
    frames = rows[:-1, WIDTH] * rows[:-1, CELL]
    n_pieces = min(n_frames, fewest_pieces(n_threads))
    while True:
        cuts = n_frames * np.arange(n_pieces + 1) // n_pieces
        first, last = cuts[:-1], cuts[1:]
        sizes = np.zeros(n_pieces, np.int64)
        for row, frame in zip(rows[:0:-1], frames[::-1], strict=True):
            if row[KIND] in (*DEPTHWISE_KINDS, *HALVING_KINDS):
                n_taps = 3 if row[KIND] in DEPTHWISE_KINDS else 4
                table = tables[row[TABLE] :]
                of_first = table[first[:, None] * n_taps + np.arange(n_taps)]
                of_last = table[(last[:, None] - 1) * n_taps + np.arange(n_taps)]
                # Beside the edge of an item stands the zero frame, 0.
                first = np.where(of_first > 0, of_first, np.iinfo(np.int64).max).min(axis=1) - 1
                last = of_last.max(axis=1)
            sizes += (1 + last - first) * frame
        longest = int(sizes.max())
        if longest <= _STRIP_FLOATS or n_pieces == n_frames:
            return n_pieces, longest
        # As many for each thread.
        n_pieces = max(n_pieces + 1, n_pieces * longest // _STRIP_FLOATS)
        n_pieces = min(n_frames, -(-n_pieces // n_threads) * n_threads)


def _place(
    network: Sequence[Layer], rows: IntArray, tasks: list[Task]
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Give each task's source, target and sum their places; returns the memory's size and its zeros.

    A slot of the memory serves several matrices in turn. Their cells begin at the same place in it, after the
    zero frame of the widest.
    """
    writers = {task.end: t for t, task in enumerate(tasks)}
    blocks = [layer.block for layer in network]
    added = {}  # by task: the task that wrote the input of its block
    for t, task in enumerate(tasks):
        if network[task.end - 1].adds:
            added[t] = writers[blocks.index(network[task.end - 1].block)]
    uses = [  # by task: the last one that reads what it writes
        max([t + 1, *(user for user, writer in added.items() if writer == t)]) for t in range(len(tasks))
    ]
    for t, task in enumerate(tasks):
        if network[task.end - 1].is_kept:
            uses[t] = len(tasks)
    frame = [int(rows[task.end - 1, WIDTH] * rows[task.end - 1, CELL]) for task in tasks]
    lead = max(frame)
    slots = slots_of(list(enumerate(uses)))  # by task
    sizes = [0] * (1 + max(slots))
    for t, task in enumerate(tasks):
        sizes[slots[t]] = max(sizes[slots[t]], lead + task.n_frames * frame[t])
    begins = [0, *np.cumsum(sizes).tolist()]
    places = [begins[slot] + lead - frame[t] for t, slot in enumerate(slots)]
    rows[:, ADDED] = -1
    for t, task in enumerate(tasks):
        rows[task.begin, SOURCE] = places[t - 1] if t else 0
        rows[task.end - 1, TARGET] = places[t]
        if t in added:
            rows[task.end - 1, ADDED] = places[added[t]]
    return begins[-1], tuple((begin, begin + lead) for begin in begins[:-1])

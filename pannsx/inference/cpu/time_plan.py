"""What :mod:`pannsx.inference.cpu.time_strips` runs: layers over time, cut into tasks and pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pannsx.inference.cpu.folding import by_tap
from pannsx.inference.cpu.product import FEW_ROWS
from pannsx.inference.cpu.strip_parts import Weights, fewest_pieces, slots_of
from pannsx.inference.cpu.time_strips import (
    CHUNK,
    CONVOLUTION,
    WINOGRAD,
    most_tiles,
    winograd_floats,
)  # fmt: skip
from pannsx.inference.cpu.winograd_transforms import N_INPUTS, N_OUTPUTS, G
from pannsx.inference.cpu.workers import even_ranges
from pannsx.jit.matrix import PANEL, packed, padded, up_to_panel
from pannsx.jit.simd import N_LANES
from pannsx.types import FloatArray, IntArray

WINOGRAD_WEIGHTS = 512 * 1024
"""Up to this product of channels in and channels out Winograd's form is taken, with weights twice as long."""

_STRIP_FLOATS = 96_000  # of a strip between its layers: 384 KB stay in the cache beside the weights
_LONG_WEIGHTS = 256 * 1024  # of a convolution: with few frames, pieces are channels, which read their own
_MOST_TWICE = 0.06  # of a task's products: where neighbouring strips both compute more, layers are tasks
_EVEN = 8  # frames: strips of many more begin at multiples of it, where tiles of Winograd's form begin


class Layer(NamedTuple):
    """A layer; all but the last are its columns in :mod:`pannsx.inference.cpu.time_strips`."""

    kind: int
    source: int
    added: int
    in_channels: int
    channels: int
    n_taps: int
    stride: int
    dilation: int
    padding: int
    weights: int
    bias: int
    rectified: bool
    ends: bool = False  # whether a task ends with it

    @property
    def multiplies(self) -> bool:
        """Whether it is a convolution."""
        return self.kind in (CONVOLUTION, WINOGRAD)

    @property
    def n_weights(self) -> int:
        """Numbers of its filters, as computed with."""
        taps = N_INPUTS if self.kind == WINOGRAD else self.n_taps
        return taps * self.in_channels * self.channels if self.multiplies else 0

    @property
    def margins(self) -> tuple[int, int]:
        """Frames of zeros that it reads before and after its source."""
        if self.kind == WINOGRAD:
            return self.dilation, (N_OUTPUTS + 1) * self.dilation - 1
        return self.padding, self.padding

    def n_frames(self, n: IntArray) -> IntArray:
        """Its frames, of sources of ``n``."""
        return (n + 2 * self.padding - self.dilation * (self.n_taps - 1) - 1) // self.stride + 1

    def computed(self, low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
        """The frames that are computed for its frames ``low`` to ``high``: whole tiles in Winograd's form."""
        group = N_OUTPUTS * self.dilation if self.kind == WINOGRAD else 1
        return low // group * group, -(-high // group) * group

    def needs(self, low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
        """The frames of its source that its frames ``low`` to ``high`` need."""
        low, high = self.computed(low, high)
        last = self.stride * (high - 1) - self.padding + (self.n_taps - 1) * self.dilation
        return self.stride * low - self.padding, last + 1


class Layers:
    """The layers of a network in order, with their weights in one array.

    Attributes:
        all: the layers.
    """

    def __init__(self) -> None:
        self.all: list[Layer] = []
        self._weights = Weights()

    @property
    def last(self) -> int:
        """The map of the last layer, or the waveform."""
        return len(self.all)

    def convolution(
        self,
        folded: tuple[FloatArray, FloatArray],
        *,
        source: int | None = None,
        added: int = -1,
        stride: int = 1,
        dilation: int = 1,
        padding: int = 0,
        rectified: bool = True,
    ) -> int:
        """Add a convolution with weight ``(C', C, taps)`` and bias ``(C',)``; returns its map.

        ``source`` is the map that it reads; None: the last one. The map ``added`` is added to its outputs
        before they are rectified.
        """
        weight, bias = folded
        n_out, n_in, n_taps = weight.shape
        is_winograd = (
            (n_taps, stride, padding) == (3, 1, dilation)
            and n_in % N_LANES == 0
            and n_in * n_out <= WINOGRAD_WEIGHTS
        )
        if is_winograd:
            products = (G @ by_tap(weight[..., None]).reshape(n_taps, -1)).astype(np.float32)
            panels = self._weights.put(packed(products.reshape(N_INPUTS, n_in, n_out)))
        else:
            parts = (packed(by_tap(each[..., None]).reshape(n_taps * n_in, -1)) for each in _by_panel(weight))
            panels = self._weights.put_each(n_taps * n_in * up_to_panel(n_out), parts)
        kind = WINOGRAD if is_winograd else CONVOLUTION
        source = self.last if source is None else source
        shape = (n_in, n_out, n_taps, stride, dilation, padding)
        return self._add(
            Layer(kind, source, added, *shape, panels, self._weights.put(padded(bias)), rectified)
        )

    def pooling(self, kind: int, size: int, *, source: int | None = None, padding: int = 0) -> int:
        """Add the ``MAXIMUM`` or ``MEAN`` of each ``size`` successive frames of a map; returns its map."""
        source = self.last if source is None else source
        channels = self.all[source - 1].channels
        return self._add(Layer(kind, source, -1, channels, channels, size, size, 1, padding, 0, 0, False))

    def end(self) -> None:
        """Let a task end here."""
        self.all[-1] = self.all[-1]._replace(ends=True)

    def take_weights(self) -> FloatArray:
        """All weights, with zeros at the end; once only."""
        return self._weights.take(CHUNK)

    def _add(self, layer: Layer) -> int:
        self.all.append(layer)
        return self.last


def _by_panel(weight: FloatArray) -> Iterator[FloatArray]:
    """The filters of each panel: the longest weights have 50 MB, and are not copied all at once."""
    return (weight[j : j + PANEL] for j in range(0, len(weight), PANEL))


class Task(NamedTuple):
    """A row of the table of tasks."""

    begin: int
    end: int
    first_piece: int
    n_pieces: int
    by_channels: bool
    transformed: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """The tasks for items of certain sizes; the arrays are those of ``compiled_share``.

    Attributes:
        tasks: in order.
        n_memory, n_scratch: floats of the shared memory, and of a thread's own.
    """

    tasks: tuple[Task, ...]
    task_rows: IntArray
    layers: IntArray
    tiles: IntArray
    margins: IntArray
    slots: IntArray
    lengths: IntArray
    places: IntArray
    pieces: IntArray
    n_memory: int
    n_scratch: int


@lru_cache(maxsize=64)
def make_plan(network: Layers, n_samples: tuple[int, ...], n_threads: int) -> Plan:
    """The plan for waveforms of ``n_samples``."""
    layers = network.all
    lengths = np.zeros((len(n_samples), 1 + len(layers)), np.int64)
    lengths[:, 0] = n_samples
    for i, layer in enumerate(layers):
        lengths[:, i + 1] = layer.n_frames(lengths[:, layer.source])
    margins = np.zeros((1 + len(layers), 2), np.int64)
    for layer in layers:
        margins[layer.source] = np.maximum(margins[layer.source], layer.margins)
    tiles = np.array([most_tiles(layer.in_channels) for layer in layers], np.int64)
    cuts = _cut(layers, lengths, n_threads)
    slots = np.full(1 + len(layers), -1, np.int64)
    tasks: list[Task] = []
    pieces: list[IntArray] = []
    n_scratch = 0
    for begin, end, by_channels in cuts:
        if by_channels:
            found, transformed = _pieces_by_channels(layers[begin], lengths[:, end], n_threads), 0
        else:
            strips = _Strips(layers, begin, end, lengths, n_threads)
            found, transformed = strips.pieces, strips.n_scratch
            slots[list(strips.places)] = list(strips.places.values())
        first = sum(len(each) for each in pieces)
        pieces.append(found)
        tasks.append(Task(begin, end, first, len(found), by_channels, transformed))
        of_products = [
            winograd_floats(layer.in_channels, most_tiles(layer.in_channels))
            for layer in layers[begin:end]
            if layer.kind == WINOGRAD
        ]
        n_scratch = max(n_scratch, transformed + max(of_products, default=0))
    n_memory, places = _place(layers, tasks, slots, lengths, margins)
    return Plan(
        tuple(tasks), np.array(tasks, np.int64), np.array([layer[:-1] for layer in layers], np.int64), tiles,
        margins, slots, lengths, places, np.concatenate(pieces), n_memory, n_scratch,
    )  # fmt: skip


def _last_reader(layers: Sequence[Layer], which: int) -> int:
    """The last layer that reads a map; one after all layers for the last map."""
    if which == len(layers):
        return len(layers)
    return max(i for i, layer in enumerate(layers) if which in (layer.source, layer.added))


def _cut(layers: Sequence[Layer], lengths: IntArray, n_threads: int) -> list[tuple[int, int, bool]]:
    """Begin and end of each task, and whether its pieces are channels.

    A task ends where the network says so. Convolutions of few frames and long weights are each a task of
    their own, whose pieces are channels. So is every convolution, with the pooling after it, where strips
    would be so short that neighbours compute too much twice.
    """
    n_frames = lengths.sum(axis=0)
    by_channels = [
        layer.multiplies and n < FEW_ROWS and layer.n_weights >= _LONG_WEIGHTS
        for layer, n in zip(layers, n_frames[1:].tolist(), strict=True)
    ]
    found: list[tuple[int, int, bool]] = []
    begin = 0
    for i, layer in enumerate(layers):
        if i + 1 < len(layers) and not (layer.ends or by_channels[i] or by_channels[i + 1]):
            continue
        end = i + 1
        whole = by_channels[i] or _Strips(layers, begin, end, lengths, n_threads).twice <= _MOST_TWICE
        firsts = [begin] + [j for j in range(begin + 1, end) if layers[j].multiplies and not whole]
        found += [(a, b, by_channels[i]) for a, b in zip(firsts, [*firsts[1:], end], strict=True)]
        begin = end
    return found


class _Strips:
    """Layers ``begin`` to ``end`` in strips, as long as the cache allows.

    Attributes:
        pieces: the strips.
        places: by map, where it begins in the scratch memory.
        n_scratch: floats of all maps there.
        twice: share of the products that more than one strip computes.
    """

    def __init__(
        self, layers: Sequence[Layer], begin: int, end: int, lengths: IntArray, n_threads: int
    ) -> None:
        self._layers, self._begin, self._end = layers, begin, end
        spans = {i + 1: (i, _last_reader(layers, i + 1)) for i in range(begin, end)}
        spans = {which: span for which, span in spans.items() if span[1] < end}
        self._slots = dict(zip(spans, slots_of([*spans.values()]), strict=True))
        total, n = int(lengths[:, end].sum()), fewest_pieces(n_threads)
        while True:
            longest = max(1, -(-total // n))
            self._lay(lengths, longest)
            if self.n_scratch <= _STRIP_FLOATS or longest == 1:
                break
            n = max(n + 1, n * self.n_scratch // _STRIP_FLOATS)

    def _lay(self, lengths: IntArray, longest: int) -> None:
        """Strips of at most ``longest`` frames."""
        layers, begin, end = self._layers, self._begin, self._end
        unit = _EVEN if longest >= 4 * _EVEN else 1
        channels = layers[end - 1].channels
        rows = [
            (item, unit * a, min(unit * b, length), 0, channels)
            for item, length in enumerate(lengths[:, end].tolist())
            for a, b in _ranges(-(-length // unit), -(-length // longest))
        ]
        self.pieces = np.array(rows, np.int64)
        lows = {end: self.pieces[:, 1]}
        highs = {end: self.pieces[:, 2]}
        n_computed = n_needed = 0
        ends = lengths[self.pieces[:, 0]]
        for i in range(end - 1, begin - 1, -1):
            layer = layers[i]
            low = np.maximum(lows.setdefault(i + 1, lows[end]), 0)
            high = np.minimum(highs.setdefault(i + 1, highs[end]), ends[:, i + 1])
            n_computed += _total(*layer.computed(low, high)) * layer.n_weights
            once = layer.computed(np.zeros_like(lengths[:, i + 1]), lengths[:, i + 1])
            n_needed += _total(*once) * layer.n_weights
            for which, (first, last) in ((layer.source, layer.needs(low, high)), (layer.added, (low, high))):
                if which > begin:
                    lows[which] = np.minimum(lows.get(which, first), first)
                    highs[which] = np.maximum(highs.get(which, last), last)
        sizes = [0] * (1 + max(self._slots.values(), default=-1))
        for which, slot in self._slots.items():
            n = int((highs[which] - lows[which]).max())
            sizes[slot] = max(sizes[slot], n * layers[which - 1].channels)
        begins = np.cumsum([0, *sizes]).tolist()
        self.places = {which: begins[slot] for which, slot in self._slots.items()}
        self.n_scratch: int = begins[-1]
        self.twice = n_computed / n_needed - 1 if n_needed else 0.0


def _ranges(total: int, n: int) -> Iterator[tuple[int, int]]:
    """At most ``n`` even ranges, none of them empty."""
    return even_ranges(total, min(total, n))


def _total(low: IntArray, high: IntArray) -> int:
    return int((high - low).sum())


def _pieces_by_channels(layer: Layer, lengths: IntArray, n_threads: int) -> IntArray:
    n_panels = -(-layer.channels // PANEL)
    # Each piece in Winograd's form transforms all inputs, so that there are no more than threads.
    n = n_threads if layer.kind == WINOGRAD else fewest_pieces(n_threads)
    pieces = [
        (item, 0, length, first * PANEL, min(last * PANEL, layer.channels))
        for first, last in _ranges(n_panels, n)
        for item, length in enumerate(lengths.tolist())
    ]
    return np.array(pieces, np.int64)


def _place(
    layers: Sequence[Layer], tasks: Sequence[Task], slots: IntArray, lengths: IntArray, margins: IntArray
) -> tuple[int, IntArray]:
    """Floats of the shared memory, and ``(items, maps)`` places of frame 0 there."""
    writer = [-1, *(t for t, task in enumerate(tasks) for _ in range(task.begin, task.end)), len(tasks)]
    shared = [which for which in range(1 + len(layers)) if slots[which] < 0]
    spans = [(writer[which], writer[1 + _last_reader(layers, which)]) for which in shared]
    channels = [1, *(layer.channels for layer in layers)]
    places = np.zeros_like(lengths)
    chosen = slots_of(spans)
    sizes = [0] * (1 + max(chosen))
    for which, slot in zip(shared, chosen, strict=True):
        each = (lengths[:, which] + margins[which].sum()) * channels[which]
        places[:, which] = np.cumsum(each) - each + margins[which, 0] * channels[which]
        sizes[slot] = max(sizes[slot], int(each.sum()))
    begins = np.cumsum([0, *sizes])
    for which, slot in zip(shared, chosen, strict=True):
        places[:, which] += begins[slot]
    return int(begins[-1]), places

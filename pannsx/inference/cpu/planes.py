"""Activations of the prepared networks: channels last, items stacked in time, with a border of zeros.

An item of ``H`` frames by ``W`` bands has a margin of zeros on each side, as wide as its convolutions
reach: one cell for those of 3 x 3, two for those of 5 x 5. It lies in ``H'`` rows of ``W'`` cells, which are
the next multiples of four and twice the margin. The items of a batch may differ in ``H`` and lie one below
the other. So convolutions read their neighbourhood, and Winograd tiles their 6 x 6 or 8 x 8 cells, without
tests for edges. No item reads another, or any padding but that of its convolutions: each result is the same
as for the item alone.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pannsx.types import FloatArray, IntArray

TILE = 4


def _up_to_tile(size: int) -> int:
    return -(-size // TILE) * TILE


@dataclass(frozen=True, eq=False)
class Rows:
    """Positions of the frames of a batch's items, one below the other.

    Attributes:
        heights: ``H`` of each item.
        margin: cells of zeros on each side.
        starts: row of the first frame of each item.
        n_rows: rows in all, borders included.
        inside: ``(sum of H,)`` rows with frames, in order.
        tiles: first row read by each row of tiles, ``margin`` above its first output row.
    """

    heights: tuple[int, ...]
    margin: int
    starts: IntArray
    n_rows: int
    inside: IntArray
    tiles: IntArray

    def border(self) -> list[tuple[int, int]]:
        """Ranges of rows with zeros."""
        ends = [*(self.starts[1:] - self.margin), self.n_rows]
        stretches = [
            [(start - self.margin, start), (start + height, end)]
            for start, height, end in zip(self.starts, self.heights, ends, strict=True)
        ]
        return [(int(begin), int(end)) for pair in stretches for begin, end in pair]


@lru_cache(maxsize=64)
def rows_of(heights: tuple[int, ...], margin: int = 1) -> Rows:
    """The rows of a batch of items with these heights."""
    taken = [_up_to_tile(height) + 2 * margin for height in heights]
    starts = np.cumsum([margin, *taken[:-1]])
    inside = np.concatenate(
        [start + np.arange(height) for start, height in zip(starts, heights, strict=True)]
    )
    tiles = np.concatenate(
        [start - margin + np.arange(0, height, TILE) for start, height in zip(starts, heights, strict=True)]
    )
    return Rows(heights, margin, starts, sum(taken), inside, tiles)


@lru_cache(maxsize=64)
def tile_targets(source: Rows, target: Rows, step: int) -> IntArray:
    """For each row of tiles of ``source``: its first row of ``target``, and the number of rows it may fill.

    ``step`` is the number of target rows of a tile: four, or two with pooling.
    """
    parts = []
    for start, from_height, to_height in zip(target.starts, source.heights, target.heights, strict=True):
        first = np.arange(-(-from_height // TILE)) * step
        parts.append(np.stack([start + first, np.maximum(to_height - first, 0)], axis=1))
    return np.ascontiguousarray(np.concatenate(parts))


@lru_cache(maxsize=64)
def row_sources(source: tuple[int, ...], target: tuple[int, ...], step: int) -> IntArray:
    """For each frame of ``target``: its first input frame in ``source`` (borders not counted)."""
    starts = np.cumsum([0, *source[:-1]])
    return np.concatenate(
        [start + step * np.arange(height) for start, height in zip(starts, target, strict=True)]
    )


@lru_cache(maxsize=64)
def pooled_rows(heights: tuple[int, ...], margin: int = 1) -> IntArray:
    """For each frame of these items after pooling by two: the row of the first of its two inputs."""
    return np.concatenate(
        [
            start + 2 * np.arange(height // 2)
            for start, height in zip(rows_of(heights, margin).starts, heights, strict=True)
        ]
    )


@dataclass(frozen=True, slots=True)
class Plane:
    """Activations of one layer.

    Attributes:
        cells: ``(rows.n_rows, W', C)``, contiguous.
        rows: positions of the items.
        width: ``W``, in bands.
    """

    cells: FloatArray
    rows: Rows
    width: int

    @property
    def channels(self) -> int:
        """``C``."""
        return int(self.cells.shape[2])

    @property
    def row(self) -> int:
        """Stride from one frame to the next, in floats."""
        return int(self.cells.shape[1] * self.cells.shape[2])

    @property
    def across(self) -> int:
        """Number of tiles across the width."""
        return -(-self.width // TILE)

    @property
    def flat(self) -> FloatArray:
        """All cells in one dimension."""
        return self.cells.reshape(-1)

    @property
    def matrix(self) -> FloatArray:
        """All cells as rows ``(n, C)``, including the border."""
        return self.cells.reshape(-1, self.channels)

    def clear_border(self) -> None:
        """Set the cells around the items to zero."""
        for begin, end in self.rows.border():
            self.cells[begin:end] = 0
        self.cells[:, : self.rows.margin] = 0
        self.cells[:, self.rows.margin + self.width :] = 0

    def items(self) -> list[FloatArray]:
        """Views ``(H, W, C)`` of each item, without the border."""
        left = self.rows.margin
        return [
            self.cells[start : start + height, left : left + self.width]
            for start, height in zip(self.rows.starts, self.rows.heights, strict=True)
        ]


def convolution_step(source: Plane, channels: tuple[int, int], n_taps: int) -> tuple[str, int]:
    """Name and number of operations of a convolution of a plane, for :meth:`Workers.step`."""
    n_cells = sum(source.rows.heights) * source.width
    size = {1: "1 x 1", 9: "3 x 3", 25: "5 x 5"}[n_taps]
    return f"{channels[0]} -> {channels[1]}, {size}", 2 * n_cells * n_taps * channels[0] * channels[1]


class Planes:
    """The planes of a network's layers, in memory reused from pass to pass.

    Newly allocated memory is slow, and the zeros around a plane are written only when its shape changes.

    Args:
        margin: cells of zeros on each side of an item, as far as the convolutions reach.
    """

    def __init__(self, margin: int = 1) -> None:
        self._margin = margin
        self._memory: dict[Hashable, FloatArray] = {}
        self._shapes: dict[Hashable, tuple[Rows, int, int]] = {}

    def get(self, layer: Hashable, heights: tuple[int, ...], width: int, channels: int) -> Plane:
        """The plane of ``layer``, zero around the items; the items hold values of an earlier pass."""
        rows = rows_of(heights, self._margin)
        shape = (rows.n_rows, _up_to_tile(width) + 2 * self._margin, channels)
        size = shape[0] * shape[1] * shape[2]
        memory = self._memory.get(layer)
        if memory is None or len(memory) < size:
            memory = self._memory[layer] = np.empty(size, np.float32)
            self._shapes.pop(layer, None)
        plane = Plane(memory[:size].reshape(shape), rows, width)
        if self._shapes.get(layer) != (rows, width, channels):
            plane.clear_border()
            self._shapes[layer] = (rows, width, channels)
        return plane

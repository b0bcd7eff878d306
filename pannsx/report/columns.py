"""Columns for a picture over time: as many as fit a screen, at bounded memory."""

from __future__ import annotations

import numpy as np

from pannsx.types import FloatArray

MOST_COLUMNS = 4000


class Columns:
    """Collects frames, block by block; a column is the greatest of equally many frames, entry by entry.

    Args:
        n_entries: entries of a frame ``C``.
    """

    def __init__(self, n_entries: int) -> None:
        self._columns = np.zeros((0, n_entries), np.float32)
        self._rest = self._columns  # frames of the next column
        self._size = 1
        self.n_frames = 0

    def push(self, frames: FloatArray) -> None:
        """``(n, C)`` next frames."""
        self.n_frames += len(frames)
        waiting = np.concatenate([self._rest, frames])
        n_whole = len(waiting) - len(waiting) % self._size
        self._columns = np.concatenate([self._columns, _joined(waiting[:n_whole], self._size)])
        self._rest = waiting[n_whole:].copy()
        while len(self._columns) > MOST_COLUMNS and len(self._columns) % 2 == 0:
            self._columns, self._size = _joined(self._columns, 2), self._size * 2

    def values(self) -> tuple[FloatArray, int]:
        """``(N, C)`` of all frames, at most ``MOST_COLUMNS``, and the frames of a column."""
        columns, size = np.concatenate([self._columns, _joined(self._rest, self._size)]), self._size
        while len(columns) > MOST_COLUMNS:
            columns, size = _joined(columns, 2), size * 2
        return columns, size


def _joined(columns: FloatArray, size: int) -> FloatArray:
    """``(n, C)`` -> ``(ceil(n / size), C)``: the greatest of each ``size`` columns."""
    if size == 1 or len(columns) == 0:
        return columns
    return np.maximum.reduceat(columns, np.arange(0, len(columns), size), axis=0)

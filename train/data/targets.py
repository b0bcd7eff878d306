"""Labels of clips as bits: ``(N, K)`` targets that stay packed, and on the disk, until rows are asked for.

Two million clips of 527 classes are a gigabyte as booleans, and 130 MB as bits. The bits of packed stores are
memory-mapped, so that all processes of a machine share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]

_BLOCK = 1 << 16  # rows read at once
_BITS = np.arange(8, dtype=np.uint16)


class Targets:
    """``(N, K)`` booleans: whether a clip has a label. Indexing unpacks the rows that are asked for.

    Args:
        parts: ``(n, ceil(K / 8))`` bits of consecutive clips, the lowest bit first; with each, the rows of it
            that are meant, or None for all.
        n_classes: ``K``.
    """

    def __init__(self, parts: Sequence[tuple[Bits, NDArray[np.int64] | None]], n_classes: int) -> None:
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(bits if rows is None else rows) for bits, rows in parts], dtype=np.int64)
        self.n_classes = n_classes

    @classmethod
    def of(cls, labelled: NDArray[np.bool_]) -> Targets:
        """Of ``(N, K)`` booleans."""
        return cls([(np.packbits(labelled, axis=1, bitorder="little"), None)], labelled.shape[1])

    @classmethod
    def none(cls, n_clips: int, n_classes: int) -> Targets:
        """Of clips without labels: a view of one row, whatever their number."""
        row = np.zeros(((n_classes + 7) // 8,), np.uint8)
        return cls([(np.broadcast_to(row, (n_clips, len(row))), None)], n_classes)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, K)``."""
        return len(self), self.n_classes

    def __getitem__(self, rows: int | slice | NDArray[np.int64]) -> NDArray[np.bool_]:
        """``(n, K)`` of some rows; ``(K,)`` of one.

        Raises:
            IndexError: no such row.
        """
        if isinstance(rows, slice):
            return self._unpacked(self.bits(np.arange(*rows.indices(len(self)))))
        if isinstance(rows, (int, np.integer)):
            one: NDArray[np.bool_] = self._unpacked(self.bits(np.array([rows])))[0]
            return one
        return self._unpacked(self.bits(rows))

    def bits(self, rows: NDArray[np.int64]) -> Bits:
        """``(n, ceil(K / 8))`` bits of some rows."""
        rows = np.asarray(rows, np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)} clips")
        found = np.empty((len(rows), (self.n_classes + 7) // 8), np.uint8)
        part_of = np.searchsorted(self._ends, rows, side="right")
        for number, (bits, chosen) in enumerate(self._parts):
            here = np.flatnonzero(part_of == number)
            if len(here):
                within = rows[here] - (self._ends[number - 1] if number else 0)
                found[here] = bits[within if chosen is None else chosen[within]]
        return found

    @cached_property
    def rows_of_classes(self) -> list[NDArray[np.uint32]]:
        """``K`` arrays: the rows of the clips with each label, ascending. One pass over the bits."""
        rows, classes = [np.empty(0, np.uint32)], [np.empty(0, np.uint16)]
        for first in range(0, len(self), _BLOCK):
            bits = self.bits(np.arange(first, min(first + _BLOCK, len(self))))
            row, byte = np.nonzero(bits)  # few bytes hold a label
            label, bit = np.nonzero((bits[row, byte][:, None] >> _BITS) & 1)
            rows.append((first + row[label]).astype(np.uint32))
            classes.append((8 * byte[label] + bit).astype(np.uint16))
        row_of, class_of = np.concatenate(rows), np.concatenate(classes)
        order = np.argsort(class_of, kind="stable")
        ends = np.cumsum(np.bincount(class_of, minlength=self.n_classes))
        return np.split(row_of[order], ends[:-1])

    def _unpacked(self, bits: Bits) -> NDArray[np.bool_]:
        return np.unpackbits(bits, axis=1, count=self.n_classes, bitorder="little").view(np.bool_)

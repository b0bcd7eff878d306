"""Shares of the rows of a run, for several processes, and the rows that no part has yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

STRIPE_ROWS = 4096
"""Rows of a shard that follow each other, at most; a part never crosses the end of a stripe."""

_STRIPES = 4  # of each shard, at least, so that shards of a small corpus are of one size


class Shard(NamedTuple):
    """One of ``n`` shares of the rows, counted from 0."""

    i: int = 0
    n: int = 1

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"

    @property
    def is_whole(self) -> bool:
        """Whether it is everything."""
        return self.n == 1

    def owns(self, row: int, n_rows: int) -> bool:
        """Whether a row of ``n_rows`` is of this share."""
        return row // self._stripe(n_rows) % self.n == self.i

    def meets(self, other: Shard) -> bool:
        """Whether the two may have a row in common."""
        return self.n != other.n or self.i == other.i

    def ranges(self, n_rows: int) -> Iterator[tuple[int, int]]:
        """First row and end of each of its stripes."""
        stripe = self._stripe(n_rows)
        for first in range(self.i * stripe, n_rows, self.n * stripe):
            yield first, min(first + stripe, n_rows)

    def _stripe(self, n_rows: int) -> int:
        return STRIPE_ROWS if self.is_whole else min(STRIPE_ROWS, -(-n_rows // (_STRIPES * self.n)) or 1)


def missing(
    ranges: Iterable[tuple[int, int]], parts: Iterable[tuple[int, int]], group_rows: int
) -> Iterator[tuple[int, int]]:
    """First row and end of groups that no part has, within ranges."""
    done = sorted(parts)
    at = 0
    for first, stop in ranges:
        row = first
        while row < stop:
            while at < len(done) and sum(done[at]) <= row:
                at += 1
            if at < len(done) and done[at][0] <= row:
                row = sum(done[at])
                continue
            end = min(stop, first + ((row - first) // group_rows + 1) * group_rows)
            if at < len(done):
                end = min(end, done[at][0])
            yield row, end
            row = end

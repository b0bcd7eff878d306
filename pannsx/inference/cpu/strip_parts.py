"""What the networks in strips have in common, besides their kernels: weights, memory, and the call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pannsx.inference.cpu.pieces import n_counters
from pannsx.inference.cpu.workers import Workers
from pannsx.types import FloatArray, IntArray

_RESERVED = 8 * 2**20  # floats, 32 MB: as long as nothing is written there they take no memory
_PIECES_PER_THREAD = 2  # at least, so that a thread that is held up leaves some of its part to others


class Weights:
    """The weights of all layers in one array.

    One array that is long from the beginning is in pages of 2 MB where the system has them: each weight is
    read once a call, and to find a page of 4 KB takes longer than to read it.
    """

    def __init__(self) -> None:
        self._numbers: FloatArray = np.empty(_RESERVED, np.float32)
        self._n = 0

    def put(self, numbers: FloatArray) -> int:
        """Append numbers; returns where they begin."""
        return self.put_each(numbers.size, [numbers])

    def put_each(self, size: int, parts: Iterable[FloatArray]) -> int:
        """Append parts of ``size`` together, which need not be there at once; returns where they begin."""
        begin = at = self._n
        self._n += size
        if self._n > len(self._numbers):
            # Most systems enlarge a long array where it is, so that the weights are never held twice.
            self._numbers.resize(max(self._n, len(self._numbers) * 5 // 4), refcheck=False)
        for part in parts:
            self._numbers[at : at + part.size] = part.reshape(-1)
            at += part.size
        return begin

    def take(self, n_zeros: int) -> FloatArray:
        """All numbers, with zeros at the end, which a product adds to parts of its sums; once only."""
        self.put(np.zeros(n_zeros, np.float32))
        self._numbers.resize(self._n, refcheck=False)
        taken, self._numbers = self._numbers, np.empty(0, np.float32)
        return taken


def fewest_pieces(n_threads: int) -> int:
    """The least number of pieces of a task, if it can be cut into as many."""
    return 1 if n_threads == 1 else _PIECES_PER_THREAD * n_threads


def slots_of(spans: Sequence[tuple[int, int]]) -> list[int]:
    """For each map a slot of memory that it shares with maps of other times, as few slots as that takes.

    A map is written at the first step of its span and last read at the second; spans are in order.
    """
    slots: list[int] = []
    for i, (begin, _) in enumerate(spans):
        in_use = {slots[earlier] for earlier in range(i) if spans[earlier][1] >= begin}
        slots.append(next(slot for slot in range(i + 1) if slot not in in_use))
    return slots


class Described(NamedTuple):
    """A task, for :meth:`Workers.step`."""

    layer: str
    n_operations: int
    form: str
    product: str


Share = Callable[[int, IntArray, int, int], None]


def run_tasks(
    workers: Workers, n: int, n_tasks: int, share: Share, describe: Callable[[int], Described]
) -> None:
    """Run all tasks on ``n`` threads: ``share(i, counters, first, last)`` on each, for a range of tasks.

    If steps are to be noted, the tasks run one by one.
    """
    # New ones for each call: a thread that starts too late finds that all is done.
    counters = np.zeros(n_counters(n_tasks, n), np.int64)

    def run(first: int, last: int) -> None:
        workers.run(lambda i: share(i, counters, first, last), n, each_ends_with_all=True)

    if workers.steps is None:
        run(0, n_tasks)
        return
    for t in range(n_tasks):
        layer, n_operations, form, product = describe(t)
        with workers.step(layer, n_operations, form=form, product=product):
            run(t, t + 1)

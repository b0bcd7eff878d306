"""A pool of threads for the prepared networks, on which torch computes with one thread each.

Kernels of ours and matrix products of torch alternate within a layer.  If torch kept its own pool,
its threads would spin, waiting for more, on the very cores that our kernels need; so each thread
here runs its share of both, and torch's pool is left out of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import numpy as np
import numpy.typing as npt
import torch

FloatArray = npt.NDArray[np.float32]


class Workers:
    """``n`` threads that compute the shares of a task side by side; made on first use, anew after a fork."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._scratch: list[list[FloatArray]] = [[] for _ in range(n)]

    def scratch(self, share: int, *sizes: int) -> list[FloatArray]:
        """Arrays of at least ``sizes`` floats, the same ones for a share every time: fresh pages are slow."""
        kept = self._scratch[share]
        kept += [np.empty(0, np.float32)] * (len(sizes) - len(kept))
        for i, size in enumerate(sizes):
            if len(kept[i]) < size:
                kept[i] = np.empty(size, np.float32)
        return kept[: len(sizes)]

    def run(self, share: Callable[[int], None]) -> None:
        """``share(0)`` to ``share(n - 1)`` at once; returns when all are done; raises what one raised."""
        futures = [self._ready_pool().submit(share, i) for i in range(self.n)]
        for future in futures:
            future.result()

    def __reduce__(self) -> tuple[type[Workers], tuple[int]]:
        return Workers, (self.n,)

    def _ready_pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._process != os.getpid():
                self._process = os.getpid()
                self._pool = _single_threaded_pool(self.n)
            return self._pool


def _single_threaded_pool(n: int) -> ThreadPoolExecutor:
    everyone = Barrier(n + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        everyone.wait()

    pool = ThreadPoolExecutor(n, thread_name_prefix="pannsx", initializer=begin)
    for _ in range(n):
        pool.submit(lambda: None)
    everyone.wait()
    # What a thread sets is its own, but torch also takes it as the default of threads yet to come.
    torch.set_num_threads(torch.get_num_threads())
    return pool


def shares(total: int, n: int) -> Iterator[tuple[int, int]]:
    """``total`` things in ``n`` runs of equal length, or one less: their beginnings and ends."""
    for i in range(n):
        yield total * i // n, total * (i + 1) // n

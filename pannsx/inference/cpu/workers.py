"""The threads of the prepared networks: the caller's and a pool.

Kernels of this package and matrix products alternate within a layer.  The threads of a library's own pool
would spin between products and occupy the cores needed by the kernels. So each thread here runs its share of
both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from threading import Barrier, Lock, RLock, local
from typing import TypeVar
from weakref import WeakSet

import numpy as np

from pannsx.inference.cpu.cores import n_threads
from pannsx.inference.cpu.explanation import Step
from pannsx.types import FloatArray

In = TypeVar("In")
Out = TypeVar("Out")

_everyone: WeakSet[Workers] = WeakSet()


def _after_fork() -> None:
    for workers in _everyone:
        workers.forget_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Workers:
    """As many threads as :func:`~pannsx.inference.cpu.cores.n_threads` says, the calling one and a pool.

    They run the shares of a task in parallel. Threads of the pool are created on first use, and again after a
    fork or a change of that number. Several callers may use it at once, each with a number of its own:
    torch's belongs to the thread that asks.

    Args:
        with_torch: shares run products of torch, on a single torch thread in each.

    Attributes:
        lock: held during :meth:`lead`, since one network keeps all threads busy.
        steps: if a list, where :meth:`step` notes what ran.
    """

    lock: AbstractContextManager[bool]
    steps: list[Step] | None = None

    def __init__(self, *, with_torch: bool = False) -> None:
        self._with_torch = with_torch
        self._scratch: dict[int, list[FloatArray]] = {}
        self.forget_threads()
        _everyone.add(self)

    def forget_threads(self) -> None:
        """Drop all threads and their locks, as a forked process must."""
        self.lock = RLock()
        self._making = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._n_made = 0
        self._leading = local()

    @property
    def n(self) -> int:
        """Number of threads, for the caller of :meth:`run` to divide the work by."""
        return self._n_leading or n_threads()

    @property
    def _n_leading(self) -> int:
        """Number of threads of the task that this thread leads, the same to its end; 0: it leads none."""
        return getattr(self._leading, "n", 0)

    def scratch(self, share: int, *sizes: int) -> list[FloatArray]:
        """Arrays of at least ``sizes`` floats, reused for each share, because fresh pages are slow."""
        kept = self._scratch.setdefault(share, [])
        kept += [np.empty(0, np.float32)] * (len(sizes) - len(kept))
        for i, size in enumerate(sizes):
            if len(kept[i]) < size:
                kept[i] = np.empty(size, np.float32)
        return kept[: len(sizes)]

    def lead(self, task: Callable[[], Out]) -> Out:
        """Run ``task``, all of whose calls of :meth:`run` have the same number of threads.

        It runs on the calling thread, or where shares run products of torch on one of the pool, on a single
        torch thread. The caller holds ``lock``: two leading tasks would wait for each other's threads.
        """

        n = self.n

        def leading() -> Out:
            self._leading.n = n
            try:
                return task()
            finally:
                self._leading.n = 0

        if not self._with_torch:
            return leading()
        (future,) = self._submit(n, [leading])
        return future.result()

    @contextmanager
    def step(self, layer: str, n_operations: int, *, form: str, product: str) -> Iterator[None]:
        """Note a step of the network with its time, if anyone asked; see :class:`Step`."""
        begin = time.perf_counter()
        yield
        if self.steps is not None:
            self.steps.append(Step(layer, form, product, n_operations, time.perf_counter() - begin))

    def run(
        self, share: Callable[[int], None], n: int | None = None, *, each_ends_with_all: bool = False
    ) -> None:
        """Run ``share(0)`` to ``share(n - 1)`` in parallel, to the end; an error of a share is raised.

        The first one runs on the calling thread, unless that is not one for shares with products of torch:
        a thread that must be woken comes later.

        Args:
            share: one of the ``n`` parts of the work.
            n: what the work was divided by; None: the present :attr:`n`, which only a task that leads can
                rely on.
            each_ends_with_all: each share does what the others have not begun, and returns when all the work
                is done. So when the first one returns, nobody waits for the others: those that have not begun
                are left out, and the rest have nothing more to do.
        """
        n = n or self.n
        first = 1 if self._n_leading or not self._with_torch else 0
        futures = self._submit(n, [partial(share, i) for i in range(first, n)])
        try:
            if first:
                share(0)
        except BaseException:
            wait(futures)
            raise
        if first and each_ends_with_all:
            futures = [future for future in futures if not future.cancel() and future.done()]
        if futures:
            wait(futures)
        for future in futures:
            future.result()

    def map(self, function: Callable[[In], Out], items: Sequence[In]) -> list[Out]:
        """``function`` of each item, in their order."""
        futures = self._submit(self.n, [partial(function, item) for item in items])
        wait(futures)
        return [future.result() for future in futures]

    def _submit(self, n: int, tasks: Sequence[Callable[[], Out]]) -> list[Future[Out]]:
        """Under the lock: a caller with another number could else shut the pool down before it has them."""
        with self._making:
            pool = self._ready_pool(n)
            return [pool.submit(task) for task in tasks]

    def _ready_pool(self, n: int) -> ThreadPoolExecutor:
        if self._pool is None or self._n_made != n:
            if self._pool is not None:
                self._pool.shutdown(wait=False)
            make = _pool_with_torch if self._with_torch else _pool
            self._pool, self._n_made = make(n), n
        return self._pool


def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, thread_name_prefix="pannsx")


def _pool_with_torch(n: int) -> ThreadPoolExecutor:
    import torch

    everyone = Barrier(n + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread adopts torch's default at its first query, and only then
        torch.set_num_threads(1)
        everyone.wait()

    pool = ThreadPoolExecutor(n, thread_name_prefix="pannsx", initializer=begin)
    for _ in range(n):
        pool.submit(lambda: None)
    everyone.wait()
    # A thread's setting is its own, but torch also makes it the default of later threads.
    torch.set_num_threads(n)
    return pool


def even_ranges(total: int, n: int) -> Iterator[tuple[int, int]]:
    """Begin and end of ``n`` ranges of ``total`` items, with lengths that differ by one at most."""
    for i in range(n):
        yield total * i // n, total * (i + 1) // n

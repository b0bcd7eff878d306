"""Prefetching: the next items are computed on a thread while earlier ones are processed."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from queue import Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")

_PATIENCE_S = 0.05  # seconds to wait for a full queue before checking whether the consumer has stopped


class _End(Generic[Item]):
    """End mark: no more items, or the error that ended them."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(items: Generator[Item, None, None], depth: int, *, n_first: int = 0) -> Iterator[Item]:
    """The same items in the same order, computed on a separate thread, at most ``depth`` of them ahead.

    The first ``n_first`` are computed here, and if there are no more, no thread is started.

    Errors of ``items`` are raised here, after the items before them.  A caller that stops early should close
    this iterator (leaving a ``for`` loop in a generator does): ``items`` is then closed, too.
    """
    queue: Queue[Item | _End[Item]] = Queue(depth)
    with closing(items):
        for number in range(n_first):
            try:
                item = next(items)
            except StopIteration:
                return
            if number < n_first - 1:
                yield item
            else:
                queue.put(item)  # the thread is at work when the caller is
        yield from _from_thread(items, queue)


def _from_thread(items: Generator[Item, None, None], queue: Queue[Item | _End[Item]]) -> Iterator[Item]:
    """What is in a queue, and after it the items, put there by a thread."""
    unwanted = threading.Event()

    def put(item: Item | _End[Item]) -> None:
        while not unwanted.is_set():
            with suppress(Full):
                queue.put(item, timeout=_PATIENCE_S)
                return

    def produce() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(item)
                if unwanted.is_set():
                    break
            items.close()
        except BaseException as raised:
            error = raised
        put(_End(error))

    thread = threading.Thread(target=produce, name="pannsx-reader", daemon=True)
    thread.start()
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        unwanted.set()
        thread.join()

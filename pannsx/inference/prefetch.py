"""Prefetching: the next items are computed on a thread while earlier ones are processed."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from queue import Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")

_PATIENCE_S = 0.05  # seconds to wait for a full queue before checking whether the consumer has stopped


class _End(Generic[Item]):
    """End mark: no more items, or the error that ended them."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(items: Generator[Item, None, None], depth: int) -> Iterator[Item]:
    """The same items in the same order, computed on a separate thread, at most ``depth`` of them ahead.

    Errors of ``items`` are raised here, after the items before them.  A caller that stops early should close
    this iterator (leaving a ``for`` loop in a generator does): ``items`` is then closed, too.
    """
    queue: Queue[Item | _End[Item]] = Queue(depth)
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

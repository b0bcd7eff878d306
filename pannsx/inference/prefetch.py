"""Reading ahead: what comes next is made on a thread, while what came before is worked on."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from queue import Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")

_PATIENCE_S = 0.05  # how long a full queue is waited for before looking whether anyone still wants more


class _End(Generic[Item]):
    """What follows the last item: nothing, or the error that ended the items."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(items: Generator[Item, None, None], depth: int) -> Iterator[Item]:
    """The same items in the same order, made on a thread of their own, at most ``depth`` of them ahead.

    Whatever ``items`` raises is raised here, after the items before it.  Whoever stops early should close
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

"""Stopping a run by a signal: at the end of a step, with a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """A request to stop the run.

    Attributes:
        is_set: set by the signal handler.
    """

    is_set = False


@contextmanager
def stop_signal() -> Iterator[Stop]:
    """Set by SIGTERM, from schedulers and ``torchrun``, and by Ctrl+C; a second Ctrl+C interrupts."""
    stop = Stop()

    def note(number: int, _: object) -> None:
        stop.is_set = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Stopping a run by a signal or after some minutes: at the end of a step, with a checkpoint."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """A request to stop the run.

    Attributes:
        is_signalled: set by the signal handler.
        deadline: time of :func:`time.monotonic` from which the run is to stop.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self.is_signalled = False
        self.deadline = deadline

    @property
    def is_set(self) -> bool:
        """Whether the run is to stop now."""
        return self.is_signalled or time.monotonic() >= self.deadline


@contextmanager
def stop_signal(deadline: float = math.inf) -> Iterator[Stop]:
    """Set by SIGTERM, from schedulers and ``torchrun``, and by Ctrl+C; a second Ctrl+C interrupts.

    ``deadline`` is the time of :func:`time.monotonic` at which it is set in any case.
    """
    stop = Stop(deadline)

    def note(number: int, _: object) -> None:
        stop.is_signalled = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

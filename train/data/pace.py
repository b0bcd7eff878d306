"""Rate limit of requests, with longer intervals while the site refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from train.data.ledger import State

LONGEST_PAUSE_S = 60.0


class Pace:
    """Interval between requests of all threads; grows with refusals, recovers with every success."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._least_s = self._apart_s = 1.0 / per_second
        self._clock = clock
        self._next_s = clock()
        self._lock = threading.Lock()

    def turn_s(self) -> float:
        """Seconds to wait before the next request; reserves its place in the queue."""
        with self._lock:
            now = self._clock()
            begin = max(now, self._next_s)
            self._next_s = begin + self._apart_s
            return begin - now

    def tell(self, state: State) -> None:
        """Adapt the interval to the outcome of a segment."""
        with self._lock:
            if state == "blocked":
                self._apart_s = min(2 * self._apart_s, max(LONGEST_PAUSE_S, self._least_s))
                self._next_s = max(self._next_s, self._clock() + self._apart_s)
            else:
                self._apart_s = max(self._least_s, self._apart_s / 2)

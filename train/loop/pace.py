"""Pace of a run: clips per second, and the share of the time spent waiting for clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")

SLOW_SHARE = 0.2
"""Share of waiting above which the reading of clips limits the run."""


class Pace:
    """Times the steps of a run, and how long each waits for its batch.

    Attributes:
        is_slow: whether the last interval waited for more than `SLOW_SHARE`; said once.
        advice: what to do then.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._said = self.is_slow = False
        self.advice = ""
        self._n_intervals = 0
        self.restart()

    def restart(self) -> None:
        """Begin an interval: what came before, such as an evaluation, does not count."""
        self._began, self._waited_s, self._n_steps = self._clock(), 0.0, 0

    def timed(self, batches: Iterable[_T]) -> Iterator[_T]:
        """The batches, each with the time waited for it."""
        pending = iter(batches)
        while True:
            began = self._clock()
            try:
                batch = next(pending)
            except StopIteration:
                return
            self._waited_s += self._clock() - began
            self._n_steps += 1
            yield batch

    def since_last(self, n_clips: int) -> tuple[float, float]:
        """Clips per second and share of waiting in the interval, whose steps have `n_clips` each; ends it."""
        took_s = max(self._clock() - self._began, 1e-9)
        share = self._waited_s / took_s
        clips_per_s = self._n_steps * n_clips / took_s
        self._n_intervals += 1
        # The first interval waits for the readers to start.
        self.is_slow = share > SLOW_SHARE and self._n_intervals > 1 and not self._said
        if self.is_slow:
            self._said = True
            self.advice = (
                f"{share:.0%} of the time is spent waiting for clips; increase data.workers, pack the "
                "clips as raw, or put them on a faster disk"
            )
        self.restart()
        return clips_per_s, share

"""Comparable times: candidates run in alternation, with ratios of neighbours in time."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Candidate = Callable[[], object]

POOLS_REST_S = 0.1
"""A pause after which others' thread pools have stopped spinning.

ONNX Runtime's spins for up to 40 ms after a call; a candidate measured then took half as long again.
"""

LEAD_S = 0.06
"""Calls that do not count, for so long before each timing.

After a pause the cores sleep, and some kernels run all threads on one of them for the first milliseconds: of
two threads only one computed in half of the calls of 5 ms.
"""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one call of a candidate, one number a round.

    Attributes:
        seconds: in the order of the rounds.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median: the usual cost of a call."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """The best round: the cost of a call on an undisturbed machine."""
        return min(self.seconds)

    @property
    def most(self) -> float:
        """The worst round."""
        return max(self.seconds)


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median over the rounds of one candidate's time divided by another's in the same round.

    A temporary slowdown of the machine affects both and cancels out.

    Raises:
        ValueError: no rounds, or different numbers of rounds.
    """
    return statistics.median(a / b for a, b in _pairs(numerator, denominator))


def paired_difference(minuend: Sequence[float], subtrahend: Sequence[float]) -> float:
    """Median over the rounds of one candidate's time minus another's in the same round.

    Raises:
        ValueError: as :func:`paired_ratio`.
    """
    return statistics.median(a - b for a, b in _pairs(minuend, subtrahend))


def _pairs(first: Sequence[float], second: Sequence[float]) -> Iterator[tuple[float, float]]:
    if len(first) != len(second) or not first:
        raise ValueError(
            f"got {len(first)} and {len(second)} rounds; as many of both, and at least one, are needed"
        )
    return zip(first, second, strict=True)


def alternate(
    candidates: Mapping[str, Candidate],
    *,
    rounds: int,
    warm_ups: int = 2,
    pause_s: float = 0.0,
    lead_s: float = 0.0,
    shortest_s: float = 0.005,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Time every candidate once a round, A B C A B C ...; the first rounds do not count.

    Args:
        candidates: functions without arguments, by name.
        rounds: number of timings of each.
        warm_ups: preceding rounds, to fill caches and compile code.
        pause_s: pause before each timing: thread pools spin for a while after a call and would occupy the
            cores of the next candidate.
        lead_s: calls that do not count, for so long after each pause.
        shortest_s: a candidate faster than this is called several times for one timing; 0: one call for each
            timing, without a trial call.
        clock: the measured time; :func:`time.process_time` leaves out waiting, and the time of other
            processes on a shared machine.

    Raises:
        ValueError: no round to measure.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; at least 1 is needed")
    for _ in range(warm_ups):
        for candidate in candidates.values():
            candidate()
    repeats = dict.fromkeys(candidates, 1)
    if shortest_s:
        for name, candidate in candidates.items():
            repeats[name] = max(1, round(shortest_s / max(_seconds(candidate, 1, clock), 1e-9)))
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, candidate in candidates.items():
                time.sleep(pause_s)
                _run_for(candidate, lead_s, clock)
                seconds[name].append(_seconds(candidate, repeats[name], clock))
    finally:
        if collecting:
            gc.enable()
    return {name: Times(tuple(values)) for name, values in seconds.items()}


def _run_for(candidate: Candidate, seconds: float, clock: Callable[[], float]) -> None:
    end = clock() + seconds
    while seconds and clock() < end:
        candidate()


def _seconds(candidate: Candidate, repeats: int, clock: Callable[[], float]) -> float:
    begin = clock()
    for _ in range(repeats):
        candidate()
    return (clock() - begin) / repeats

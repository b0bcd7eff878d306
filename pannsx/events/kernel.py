"""The loops over frames and classes, compiled: levels, top-k, majority, runs.

A probability is first reduced to its *level*: 0 below the off-threshold, 2 from the threshold upwards, 1
between them. The median of a window reaches a threshold if and only if most of its frames do, so that a
median filter of any length is a count of levels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.jit.cache import compiled
from pannsx.types import FloatArray

Levels = npt.NDArray[np.uint8]

NONE = -1
"""Marks "no run" in a start."""

TILE = 64
"""Classes tested together for the begin or end of a run, as few have one in any frame."""


class Runs(NamedTuple):
    """State of each of ``C`` classes after some frames.

    Attributes:
        start: first frame of the open run; ``NONE`` without one.
        peak: greatest probability in it.
        sure: whether it has reached level 2, without which it is no event.
        closed_start: first frame of the run before it, if that may still be joined with it, or ``NONE``.
        closed_stop: the frame after its last.
        closed_peak: greatest probability in it.
    """

    start: npt.NDArray[np.int64]
    peak: FloatArray
    sure: Levels
    closed_start: npt.NDArray[np.int64]
    closed_stop: npt.NDArray[np.int64]
    closed_peak: FloatArray


def no_runs(n_classes: int) -> Runs:
    """The state at the beginning of a recording."""
    none, zeros = np.full(n_classes, NONE, np.int64), np.zeros(n_classes, np.float32)
    return Runs(none, zeros, np.zeros(n_classes, np.uint8), none.copy(), none.copy(), zeros.copy())


@compiled
def levels_of(scores, on, off):
    """``(n, C)`` probabilities, ``(C,)`` thresholds -> ``(n, C)`` levels."""
    n, n_classes = scores.shape
    levels = np.empty((n, n_classes), np.uint8)
    for i in range(n):
        for c in range(n_classes):
            levels[i, c] = np.uint8(scores[i, c] >= on[c]) + np.uint8(scores[i, c] >= off[c])
    return levels


@compiled
def keep_top(scores, k, levels):
    """Set ``(n, C)`` levels to 0, except at the ``k`` greatest scores of each row (ties: the first)."""
    n, n_classes = scores.shape
    best = np.empty(k, np.float32)  # the greatest so far, in ascending order
    for i in range(n):
        best[:] = np.float32(-1)
        for c in range(n_classes):
            score = scores[i, c]
            if score > best[0]:
                j = 0
                while j + 1 < k and best[j + 1] < score:
                    best[j] = best[j + 1]
                    j += 1
                best[j] = score
        least = best[0]
        n_equal = 0  # how many scores equal to the smallest may stay
        for j in range(k):
            n_equal += best[j] == least
        for c in range(n_classes):
            if scores[i, c] == least and n_equal > 0:
                n_equal -= 1
            elif scores[i, c] <= least:
                levels[i, c] = 0


@compiled
def majorities(levels, halves):
    """``(n + 2 H, C)`` levels -> ``(n, C)``: the median of ``2 halves[c] + 1`` rows around each of the ``n``.

    ``H`` is the greatest of ``halves (C,)``.
    """
    n_rows, n_classes = levels.shape
    most = np.max(halves)
    n = max(0, n_rows - 2 * most)
    found = np.empty((n, n_classes), np.uint8)
    above = np.zeros(n_classes, np.int32)
    within = np.zeros(n_classes, np.int32)
    if np.min(halves) == most:  # the usual case, in which the loops over classes are vectorised
        for i in range(n_rows):
            for c in range(n_classes):
                above[c] += levels[i, c] == 2
                within[c] += levels[i, c] != 0
            done = i - 2 * most
            if done >= 0:
                for c in range(n_classes):
                    found[done, c] = np.uint8(above[c] > most) + np.uint8(within[c] > most)
                    above[c] -= levels[done, c] == 2
                    within[c] -= levels[done, c] != 0
        return found
    for c in range(n_classes):
        for i in range(most - halves[c], min(most + halves[c], n_rows)):
            above[c] += levels[i, c] == 2
            within[c] += levels[i, c] != 0
    for done in range(n):
        for c in range(n_classes):
            half = halves[c]
            last, first = levels[done + most + half, c], levels[done + most - half, c]
            above[c] += last == 2
            within[c] += last != 0
            found[done, c] = np.uint8(above[c] > half) + np.uint8(within[c] > half)
            above[c] -= first == 2
            within[c] -= first != 0
    return found


@compiled
def follow(steps, levels, scores, first, gaps, runs, places, peaks):
    """Follow the runs of each class through ``(n, C)`` levels and probabilities, starting at frame ``first``.

    A run begins where ``steps (n, C)`` is 2 and ends where it is 0; it counts if its level reaches 2.

    Runs of class ``c`` with at most ``gaps[c]`` frames between them are one. Finished runs are written to
    ``places (m, 3)``, class, first frame and frame after the last, and ``peaks (m,)``; both grow as needed.

    Returns places, peaks, and the number of rows in use.
    """
    n, n_classes = levels.shape
    n_found = 0
    turn = np.empty(n_classes, np.uint8)  # the level at which a run ends, or begins
    for c in range(n_classes):
        turn[c] = 2 if runs.start[c] < 0 else 0
    for i in range(n):
        frame = first + i
        for begin in range(0, n_classes, TILE):
            # Views with indices from 0, so that the loops over them are vectorised.
            tile = steps[i, begin : begin + TILE]
            turns = turn[begin : begin + TILE]
            n_turns = np.uint8(0)
            for j in range(len(tile)):
                n_turns += np.uint8(tile[j] == turns[j])
            if n_turns:
                for j in range(len(tile)):
                    if tile[j] != turns[j]:
                        continue
                    c = begin + j
                    turns[j] = 2 - turns[j]
                    if turns[j] == 2:
                        _close(c, frame, runs)
                        continue
                    if runs.closed_start[c] >= 0 and frame - runs.closed_stop[c] > gaps[c]:
                        if n_found == len(places):
                            places, peaks = _larger(places, peaks)
                        places[n_found, 0] = c
                        places[n_found, 1] = runs.closed_start[c]
                        places[n_found, 2] = runs.closed_stop[c]
                        peaks[n_found] = runs.closed_peak[c]
                        n_found += 1
                        runs.closed_start[c] = -1
                    runs.start[c] = frame
                    runs.peak[c] = scores[i, c]
                    runs.sure[c] = 0
        row, level, peak, sure = scores[i], levels[i], runs.peak, runs.sure
        for c in range(n_classes):  # meaningless without a run; set at the begin of one
            peak[c] = row[c] if row[c] > peak[c] else peak[c]
            sure[c] |= np.uint8(level[c] == 2)
    return places, peaks, n_found


@compiled
def _close(c, frame, runs):
    """Close the run of class ``c`` before ``frame``; it is kept, as the next may be joined with it."""
    if not runs.sure[c]:
        runs.start[c] = -1
        return
    if runs.closed_start[c] < 0:
        runs.closed_start[c] = runs.start[c]
        runs.closed_peak[c] = runs.peak[c]
    else:
        runs.closed_peak[c] = max(runs.closed_peak[c], runs.peak[c])
    runs.closed_stop[c] = frame
    runs.start[c] = -1


@compiled
def _larger(places, peaks):
    more_places = np.empty((2 * len(places), 3), np.int64)
    more_places[: len(places)] = places
    more_peaks = np.empty(2 * len(peaks), np.float32)
    more_peaks[: len(peaks)] = peaks
    return more_places, more_peaks


def finished(
    runs: Runs, frame: int, gaps: npt.NDArray[np.int64], *, at_end: bool
) -> tuple[npt.NDArray[Any], FloatArray]:
    """Remove and return the runs that are final at ``frame``: ``(m, 3)`` places, ``(m,)`` peaks.

    With ``at_end``, the recording ends there, so that open runs are final too.
    """
    if at_end:
        going = (runs.start >= 0) & (runs.sure != 0)
        fresh = going & (runs.closed_start < 0)
        runs.closed_start[fresh] = runs.start[fresh]
        runs.closed_peak[fresh] = 0
        runs.closed_peak[going] = np.maximum(runs.closed_peak[going], runs.peak[going])
        runs.closed_stop[going] = frame
        runs.start[:] = NONE
        over = runs.closed_start >= 0
    else:
        over = (runs.closed_start >= 0) & (runs.start < 0) & (frame - runs.closed_stop > gaps)
    classes = np.flatnonzero(over)
    places = np.stack([classes, runs.closed_start[over], runs.closed_stop[over]], axis=1)
    peaks = runs.closed_peak[over]
    runs.closed_start[over] = NONE
    return places, peaks

"""Operating points for events: threshold, hysteresis and smoothing of each class by the F1 of whole events.

:func:`pannsx.events.calibrate` decides frame by frame.  An event also needs a right begin and end: one frame
that falls below the threshold cuts it in two, and both halves are wrong.  So of a grid of thresholds,
off-thresholds, medians and gaps, the one with the best mean F1 over some collars is taken, class by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.events.event import Event
from pannsx.events.frames import check_hop, frame_edges
from pannsx.events.operating_points import OperatingPoint, OperatingPoints, check_seconds
from pannsx.types import FloatArray

COLLARS_S = (0.2, 1.0)
"""Collars of the F1s whose mean decides: one alone, of few events, is mostly chance."""

OFFSET_SHARE = 0.2
"""An offset may also be off by this share of the event's length, as usual in the field."""

_THRESHOLDS = 9
_OFF_SHARES = (1.0, 0.5, 0.25)
_MEDIANS_S = (0.0, 0.3, 0.6, 1.0)
_GAPS_S = (0.0, 0.4)


class Annotated(NamedTuple):
    """A recording with reference events.

    Attributes:
        framewise: ``(T', K)`` probabilities.
        events: reference events.
        duration_s: length in seconds.
    """

    framewise: FloatArray
    events: Sequence[Event]
    duration_s: float


def tune_events(
    recordings: Sequence[Annotated],
    points: OperatingPoints,
    labels: Sequence[str],
    *,
    hop_s: float,
    offset_s: float,
) -> OperatingPoints:
    """Operating points of :func:`pannsx.events.calibrate` -> those with the best F1 of events.

    Args:
        recordings: annotated recordings, with the ``K`` classes of ``labels``.
        points: points to begin with; only their classes are tuned. Their precision, recall and F1, of frames,
            are replaced by those of events with the widest collar.
        labels: ``K`` names.
        hop_s: seconds from one frame to the next.
        offset_s: centre of the first frame in seconds.

    Raises:
        ValueError: no recording, or a point of a class that is not in ``labels``.
    """
    if not recordings:
        raise ValueError("there is no recording to tune on; give at least one")
    points.check(labels)
    joined = _Joined.of(recordings, labels, hop_s, offset_s)
    tuned = {
        label: _tuned(joined, list(labels).index(label), point) for label, point in points.points.items()
    }
    return replace(points, points=tuned, rule="best F1 of events", hop_s=hop_s, both_ends=True)


def median_filter(framewise: npt.ArrayLike, *, hop_s: float, median_s: float) -> FloatArray:
    """``(T', K)`` probabilities -> ``(T', K)``: the median of ``median_s`` seconds around each frame.

    The length is rounded to an odd number of frames, and the outermost frames are repeated at the ends, as
    with ``median_s`` of :class:`pannsx.events.EventSettings`. For scores over all thresholds, such as PSDS.

    Raises:
        ValueError: a hop or a time that is none.
    """
    frames = np.asarray(framewise, np.float32)
    half = max(0, round((check_seconds(median_s, "median_s") / check_hop(hop_s) - 1) / 2))
    if half == 0 or not len(frames):
        return frames
    padded = np.pad(frames, ((half, half), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    return np.asarray(np.partition(windows, half, axis=-1)[..., half])


def _tuned(joined: _Joined, k: int, point: OperatingPoint) -> OperatingPoint:
    """The best point of class ``k``."""
    scores = joined.scores[:, k]
    truth = joined.truth[k]
    sounding = np.sort(scores[joined.is_target[:, k]])
    quantiles = np.linspace(0.05, 0.95, _THRESHOLDS)
    # The thresholds that keep 5 to 95 % of the frames in which the class sounds, and the best of frames.
    thresholds = {point.threshold, *(float(f"{value:.3g}") for value in np.quantile(sounding, quantiles))}
    best, best_f1 = point, -1.0
    for median_s in _MEDIANS_S:
        smooth = median_filter(scores[:, None], hop_s=joined.hop_s, median_s=median_s)[:, 0]
        for threshold, share in product(sorted(thresholds, reverse=True), _OFF_SHARES):
            runs = joined.runs(smooth, threshold, threshold * share)
            for gap_s in _GAPS_S:
                found = joined.times(runs, gap_s)
                hits = [_n_hits(found, truth, collar_s) for collar_s in COLLARS_S]
                f1 = float(np.mean([2 * n / max(1, len(found) + len(truth)) for n in hits]))
                if f1 > best_f1 + 1e-9:
                    best_f1 = f1
                    best = OperatingPoint(
                        threshold,
                        None if share == 1 else float(f"{threshold * share:.3g}"),
                        precision=round(hits[-1] / max(1, len(found)), 6),
                        recall=round(hits[-1] / max(1, len(truth)), 6),
                        f1=round(2 * hits[-1] / max(1, len(found) + len(truth)), 6),
                        n_positive=len(truth),
                        median_s=median_s,
                        max_gap_s=gap_s,
                    )
    return best


class _Joined(NamedTuple):
    """Recordings one after the other, with room between them in which nothing sounds.

    Attributes:
        scores: ``(N, K)``, 0 between recordings.
        is_target: ``(N, K)`` whether a class sounds at a frame's centre.
        truth: for each class ``(m, 2)`` onsets and offsets, by onset.
        edges_s: ``(N, 2)`` begin and end of each frame.
        hop_s: seconds from one frame to the next.
    """

    scores: FloatArray
    is_target: npt.NDArray[np.bool_]
    truth: list[npt.NDArray[np.float64]]
    edges_s: npt.NDArray[np.float64]
    hop_s: float

    @classmethod
    def of(
        cls, recordings: Sequence[Annotated], labels: Sequence[str], hop_s: float, offset_s: float
    ) -> _Joined:
        room_s = max(_MEDIANS_S) + max(_GAPS_S) + 2 * max(COLLARS_S) + hop_s
        room = int(np.ceil(room_s / hop_s))
        scores: list[FloatArray] = []
        edges: list[npt.NDArray[np.float64]] = []
        truth: list[list[tuple[float, float]]] = [[] for _ in labels]
        position = {label: k for k, label in enumerate(labels)}
        begin_s = 0.0
        for framewise, events, duration_s in recordings:
            own = frame_edges(len(framewise), hop_s, offset_s=offset_s, duration_s=duration_s)
            scores += [np.asarray(framewise, np.float32), np.zeros((room, len(labels)), np.float32)]
            edges += [
                begin_s + np.stack([own[:-1], own[1:]], axis=1),
                np.full((room, 2), begin_s + duration_s),
            ]
            for event in events:
                truth[position[event.label]].append((begin_s + event.onset_s, begin_s + event.offset_s))
            begin_s += duration_s + room_s
        edges_s = np.concatenate(edges)
        times = [np.array(sorted(each), np.float64).reshape(-1, 2) for each in truth]
        centres = edges_s.mean(axis=1)
        is_target = np.zeros((len(edges_s), len(labels)), np.bool_)
        for k, each in enumerate(times):
            for onset_s, offset_s_ in each:
                is_target[np.searchsorted(centres, onset_s) : np.searchsorted(centres, offset_s_), k] = True
        return cls(np.concatenate(scores), is_target, times, edges_s, hop_s)

    def runs(self, scores: FloatArray, on: float, off: float) -> npt.NDArray[np.int64]:
        """``(m, 2)`` first and last frames of the runs at least ``off`` that reach ``on``."""
        inside = np.concatenate([[False], scores >= np.float32(off), [False]])
        turns = np.flatnonzero(inside[1:] != inside[:-1])
        firsts, stops = turns[::2], turns[1::2]
        if not len(firsts):
            return np.zeros((0, 2), np.int64)
        reached = np.flatnonzero(scores >= np.float32(on))
        next_reached = np.append(reached, len(scores))[np.searchsorted(reached, firsts)]
        return np.stack([firsts, stops - 1], axis=1)[next_reached < stops]

    def times(self, runs: npt.NDArray[np.int64], gap_s: float) -> npt.NDArray[np.float64]:
        """``(m, 2)`` onsets and offsets of runs, those with a short gap between them joined."""
        if not len(runs):
            return np.zeros((0, 2))
        apart = runs[1:, 0] - runs[:-1, 1] - 1 > int(gap_s / self.hop_s + 1e-6)
        firsts, lasts = np.append(True, apart), np.append(apart, True)
        return np.stack([self.edges_s[runs[firsts, 0], 0], self.edges_s[runs[lasts, 1], 1]], axis=1)


def _n_hits(found: npt.NDArray[np.float64], truth: npt.NDArray[np.float64], collar_s: float) -> int:
    """Number of found events with a true one of their own; both ``(m, 2)`` onsets and offsets, by onset."""
    if not (len(found) and len(truth)):
        return 0
    first = np.searchsorted(truth[:, 0], found[:, 0] - collar_s)
    stop = np.searchsorted(truth[:, 0], found[:, 0] + collar_s, side="right")
    within_s = np.maximum(collar_s, OFFSET_SHARE * (truth[:, 1] - truth[:, 0]))
    taken, last = 0, -1
    for i in np.flatnonzero(stop > first):
        for j in range(max(first[i], last + 1), stop[i]):
            if abs(found[i, 1] - truth[j, 1]) <= within_s[j]:
                taken, last = taken + 1, j
                break
    return taken

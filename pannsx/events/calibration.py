"""Calibration: the threshold of each class with the best F1, or a required precision, from labelled data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pannsx.errors import did_you_mean
from pannsx.events.event import Event
from pannsx.events.operating_points import OperatingPoint, OperatingPoints
from pannsx.types import FloatArray

_SHORTEST_S = 1e-9  # a frame after the end of the audio has no length, and is never a target


def calibrate(
    targets: npt.ArrayLike,
    scores: npt.ArrayLike,
    labels: Sequence[str],
    *,
    precision: float | None = None,
    model: str | None = None,
    hop_s: float | None = None,
    known: npt.NDArray[np.bool_] | None = None,
) -> OperatingPoints:
    """``(N, K)`` targets, 0 or 1, and ``(N, K)`` probabilities of frames or clips -> a point per class.

    A threshold is halfway between the lowest accepted and the highest rejected score. Of equally good
    thresholds, the highest is taken.

    Args:
        targets: whether class ``k`` is present in frame or clip ``n``.
        scores: the network's probabilities.
        labels: ``K`` names.
        precision: required precision: the threshold is then the one with the greatest recall. None: the best
            F1.
        model: name of the checkpoint, stored with the points.
        hop_s: time between the frames, stored with the points.
        known: ``(N, K)``, whether a target is known; a class is calibrated on those. None: all are.

    Returns:
        operating points. A class without a target has none, nor does one that no threshold brings to the
        required precision.

    Raises:
        ValueError: shapes that do not match, targets other than 0 and 1, scores outside [0, 1], or a
            precision outside (0, 1].
    """
    truth, ranked = np.asarray(targets), np.asarray(scores)
    if truth.ndim != 2 or truth.shape != ranked.shape or truth.shape[1] != len(labels) or not len(truth):
        raise ValueError(
            f"targets are {truth.shape}, scores {ranked.shape} and labels {len(labels)}; (N, K), (N, K) and "
            "K are needed, N >= 1"
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("targets hold values other than 0 and 1")
    if not (
        ranked.min(initial=0.0) >= 0 and ranked.max(initial=0.0) <= 1
    ):  # NaN fails this form of the test too
        raise ValueError("scores hold values outside [0, 1]; probabilities are needed")
    if precision is not None and not 0 < precision <= 1:
        raise ValueError(f"precision is {precision}; a share above 0, up to 1, is needed")
    points = {}
    for k, label in enumerate(labels):
        rows = slice(None) if known is None else known[:, k]
        point = _of_class(truth[rows, k].astype(bool), ranked[rows, k].astype(np.float32), precision)
        if point is not None:
            points[label] = point
    rule = "best F1" if precision is None else f"precision of at least {precision:g}"
    return OperatingPoints(points, model=model, rule=rule, hop_s=hop_s)


def _of_class(
    truth: npt.NDArray[np.bool_], scores: FloatArray, precision: float | None
) -> OperatingPoint | None:
    """``(N,)`` targets and scores of one class -> its point, if there is one."""
    n_positive = int(truth.sum())
    if n_positive == 0:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    # A threshold fits only between different scores.
    cuts = np.append(np.flatnonzero(ranked[1:] < ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(truth[order])[cuts]
    n_found = cuts + 1
    precisions, recalls = hits / n_found, hits / n_positive
    f1 = 2 * hits / (n_found + n_positive)
    if precision is None:
        best = int(np.argmax(f1))
    else:
        good = precisions >= precision
        if not good.any():
            return None
        best = int(np.argmax(np.where(good, recalls, -1.0)))
    return OperatingPoint(
        threshold=_between(ranked, int(cuts[best])),
        precision=_rounded(precisions[best]),
        recall=_rounded(recalls[best]),
        f1=_rounded(f1[best]),
        n_positive=n_positive,
    )


def _between(ranked: FloatArray, last: int) -> float:
    """A threshold that accepts ``ranked``, greatest first, up to place ``last`` and no further."""
    least_in = ranked[last]
    if last + 1 == len(ranked):
        return float(least_in)
    # Rounded to four digits unless that moves it past a score; else exact, in the precision of scores.
    middle = (float(least_in) + float(ranked[last + 1])) / 2
    for threshold in (float(f"{middle:.4g}"), float(np.float32(middle))):
        if ranked[last + 1] < np.float32(threshold) <= least_in:
            return threshold
    return float(least_in)


def _rounded(value: Any) -> float:
    return round(float(value), 6)


def frame_targets(
    events: Sequence[Event], edges_s: npt.NDArray[np.float64], labels: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Events and ``(T' + 1,)`` frame edges -> ``(T', K)``: whether a class is present for half of a frame.

    Raises:
        ValueError: an event with a label that is not in ``labels``.
    """
    position = {label: k for k, label in enumerate(labels)}
    heard_s = np.zeros((len(edges_s) - 1, len(labels)))
    for event in events:
        if event.label not in position:
            raise ValueError(f"unknown class {event.label!r}{did_you_mean(event.label, labels)}")
        begins, ends = np.maximum(edges_s[:-1], event.onset_s), np.minimum(edges_s[1:], event.offset_s)
        heard_s[:, position[event.label]] += np.maximum(0.0, ends - begins)
    return np.asarray(heard_s >= np.maximum(np.diff(edges_s), _SHORTEST_S)[:, None] / 2)

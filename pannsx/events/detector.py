"""From framewise probabilities to events, for a whole recording or piece by piece."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.events import kernel
from pannsx.events.event import Event
from pannsx.events.frames import check_duration, check_hop, edges_at
from pannsx.events.operating_points import (
    DEFAULT_THRESHOLD,
    SMOOTHING,
    OperatingPoints,
    check_seconds,
    read_operating_points,
)
from pannsx.events.parents import check_has_parents, hide_parents
from pannsx.events.selection import Selection
from pannsx.events.super_classes import SuperClasses
from pannsx.events.thresholds import Threshold, resolve_thresholds
from pannsx.labels import LabelSet
from pannsx.types import FloatArray, PathLike

_ROOM = 1024  # initial capacity of the compiled code, in events
_SLACK = 1e-6  # of a frame, as times in seconds are not exact multiples of a hop


@dataclass(frozen=True, kw_only=True)
class EventSettings:
    """Settings of event detection, in the order in which the steps apply.

    Attributes:
        super_classes: classes composed of others, by noisy-or: a mapping from names to labels, or a JSON
            file with such a mapping or an ontology (:func:`pannsx.events.read_super_classes`).
        classes: the labels or super-classes to find, by name, id or ancestor: ``["Dog", "all birds"]``, see
            :meth:`pannsx.labels.LabelSet.select`. None: all super-classes if there are any, else all labels.
        top_k: only the ``k`` most probable classes count in each frame; None: all.
        threshold: probability at which an event begins: one number, ``K`` numbers, a mapping to numbers from
            classes in the forms of ``classes``, operating points, or the path of their file. In a mapping,
            the number given for fewer classes wins: ``{"all birds": 0.2, "Crow": 0.3}``. Classes missing from
            a mapping or file have 0.5, or the file's default. None: the operating points of a calibrated
            checkpoint, else 0.5.
        off_threshold: probability below which an event ends, in the same forms; not above ``threshold``.
            None: that of the operating points, else ``threshold``.
        median_s: length of a median filter over the probabilities, rounded to an odd number of frames; the
            outermost frame is repeated at both ends. 0: no filter. None, here and below: that of the
            operating points, else 0.
        max_gap_s: events of a class with at most this gap between them are joined.
        min_duration_s: events shorter than this are dropped, after joining.
        both_ends: whether ``off_threshold`` also moves begins: an event that reaches ``threshold`` begins
            where the probability rose to ``off_threshold`` before (double threshold, Dinkel and Yu 2020,
            arXiv:1904.03841). None: as the operating points say, else False.
        leaves: hide the parents of the classes found: see :func:`pannsx.events.hide_parents`. This needs all
            events of the recording; :class:`EventDetector` refuses it.
    """

    super_classes: SuperClasses | PathLike | None = None
    classes: Sequence[str] | None = None
    top_k: int | None = None
    threshold: Threshold | None = None
    off_threshold: Threshold | None = None
    median_s: float | None = None
    max_gap_s: float | None = None
    min_duration_s: float | None = None
    both_ends: bool | None = None
    leaves: bool = False

    def __post_init__(self) -> None:
        for name in SMOOTHING:
            value = getattr(self, name)
            if value is not None:
                check_seconds(value, name)
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}; ask for at least one class at a time")


def detect(
    framewise: npt.ArrayLike,
    hop_s: float,
    *,
    labels: Sequence[str] | LabelSet,
    offset_s: float | None = None,
    duration_s: float | None = None,
    super_classes: SuperClasses | PathLike | None = None,
    classes: Sequence[str] | None = None,
    top_k: int | None = None,
    threshold: Threshold = 0.5,
    off_threshold: Threshold | None = None,
    median_s: float | None = None,
    max_gap_s: float | None = None,
    min_duration_s: float | None = None,
    both_ends: bool | None = None,
    leaves: bool = False,
) -> list[Event]:
    """``(T', K)`` framewise probabilities -> the events, by onset.

    >>> from pannsx.events import detect
    >>>
    >>> framewise = [[0.1], [0.75], [0.4], [0.1]]
    >>> print(detect(framewise, 0.5, labels=["Dog"], off_threshold=0.3))
    [Event(label='Dog', onset_s=0.5, offset_s=1.5, probability=0.75)]

    Frame ``i`` covers the time between edges ``i`` and ``i + 1`` of :func:`pannsx.events.frame_edges`,
    halfway between the centres of frames.

    Args:
        framewise: probabilities.
        hop_s: seconds from one frame to the next.
        labels: ``K`` names, or a label set, whose ids then also name classes.
        offset_s: centre of the first frame in seconds; None: half a hop.
        duration_s: length of the audio in seconds, the latest end of an event; None: the end of the last
            frame.
        super_classes, classes, top_k, threshold, off_threshold: see :class:`EventSettings`.
        median_s, max_gap_s, min_duration_s, both_ends, leaves: see :class:`EventSettings`.

    Raises:
        OSError: a file given as an argument cannot be read.
        ValueError: probabilities outside [0, 1] or NaN, a shape that does not match the labels, an unknown
            class, an invalid threshold or time, or ``leaves`` for labels of which none is in AudioSet's tree.
    """
    settings = EventSettings(
        super_classes=super_classes,
        classes=classes,
        top_k=top_k,
        threshold=threshold,
        off_threshold=off_threshold,
        median_s=median_s,
        max_gap_s=max_gap_s,
        min_duration_s=min_duration_s,
        both_ends=both_ends,
        leaves=leaves,
    )
    return find_events(framewise, hop_s, settings, labels=labels, offset_s=offset_s, duration_s=duration_s)


def find_events(
    framewise: npt.ArrayLike,
    hop_s: float,
    settings: EventSettings,
    *,
    labels: Sequence[str] | LabelSet,
    offset_s: float | None = None,
    duration_s: float | None = None,
) -> list[Event]:
    """:func:`detect` with its settings as one record."""
    detector = EventDetector(labels, hop_s, replace(settings, leaves=False), offset_s=offset_s)
    if settings.leaves:
        detector.check_has_parents()
    found = detector._events([*detector._advance(framewise), *detector._finish()], duration_s)
    return detector.in_order(detector.without_parents(found) if settings.leaves else found)


class _Found(NamedTuple):
    """Finished runs: ``(m, 3)`` class, first frame, frame after the last; ``(m,)`` peaks."""

    places: npt.NDArray[np.int64]
    peaks: FloatArray


class Smoothing(NamedTuple):
    """The times of smoothing of a detector, in seconds, ``(C,)`` each: see :class:`EventSettings`."""

    median_s: npt.NDArray[np.float64]
    max_gap_s: npt.NDArray[np.float64]
    min_duration_s: npt.NDArray[np.float64]

    @classmethod
    def of(cls, settings: EventSettings, threshold: Threshold, names: Sequence[str]) -> Smoothing:
        """Those of the settings; where they are None, of operating points, else 0."""
        points = threshold if isinstance(threshold, OperatingPoints) else OperatingPoints({})

        def of_class(time: str, name: str) -> float:
            for place in (settings, points.points.get(name)):
                value: float | None = getattr(place, time, None)
                if value is not None:
                    return value
            return float(getattr(points, time))

        return cls(*(np.array([of_class(time, name) for name in names]) for time in SMOOTHING))


class EventDetector:
    """Finds events in a recording that comes in pieces; the result does not depend on the division.

    >>> from pannsx.events import EventDetector, EventSettings
    >>>
    >>> detector = EventDetector(["Dog"], hop_s=0.5, settings=EventSettings(max_gap_s=0.5))
    >>> for piece in ([[0.1], [0.75]], [[0.1], [0.75]], [[0.1], [0.1]]):
    ...     print(len(detector.push(piece)))
    0
    0
    1
    >>> print(len(detector.close(duration_s=3.0)))
    0

    Args:
        labels: ``K`` names, or a label set, whose ids then also name classes.
        hop_s: seconds from one frame to the next.
        settings: settings of event detection.
        offset_s: centre of the first frame in seconds; None: half a hop.

    Raises:
        OSError, ValueError: as :func:`detect`.

    Attributes:
        labels: the ``C`` classes and super-classes to find.
        smoothing: the smoothing of these classes.
        both_ends: whether the off-threshold also moves begins.
    """

    def __init__(
        self,
        labels: Sequence[str] | LabelSet,
        hop_s: float,
        settings: EventSettings | None = None,
        *,
        offset_s: float | None = None,
    ) -> None:
        settings = settings or EventSettings()
        if settings.leaves:
            raise ValueError(
                "leaves needs all events of a recording: detect without it, and give the events of all "
                "pieces to pannsx.events.hide_parents"
            )
        self.hop_s = check_hop(hop_s)
        self.offset_s = self.hop_s / 2 if offset_s is None else offset_s
        self.settings = settings
        self._selection = Selection(labels, settings.super_classes, settings.classes)
        self.labels = self._selection.names
        threshold = DEFAULT_THRESHOLD if settings.threshold is None else settings.threshold
        if isinstance(threshold, (str, os.PathLike)):
            threshold = read_operating_points(threshold)
        self._on, self._off = resolve_thresholds(
            threshold, settings.off_threshold, self._selection.labels, self.labels
        )
        self.smoothing = Smoothing.of(settings, threshold, self.labels)
        self.both_ends = (
            isinstance(threshold, OperatingPoints) and threshold.both_ends
            if settings.both_ends is None
            else settings.both_ends
        )
        rows = np.rint((self.smoothing.median_s / self.hop_s - 1) / 2).astype(np.int64)
        self._halves = np.maximum(rows, 0)
        self._half = int(self._halves.max())
        self._gaps = (self.smoothing.max_gap_s / self.hop_s + _SLACK).astype(np.int64)
        self._positions = {label: i for i, label in enumerate(self.labels)}
        self.reset()

    def reset(self) -> None:
        """Begin a new recording."""
        n_classes = len(self.labels)
        self._runs = kernel.no_runs(n_classes)
        self._levels = np.empty((0, n_classes), np.uint8)  # earlier frames that the next medians need
        self._scores = np.empty((0, n_classes), np.float32)  # frames without a median so far
        self._n_pushed = 0
        self._n_judged = 0

    @property
    def thresholds(self) -> tuple[FloatArray, FloatArray]:
        """``(C,)`` at which events of the classes of ``labels`` begin, and ``(C,)`` below which they end."""
        return self._on, self._off

    @property
    def latency_s(self) -> float:
        """Upper bound, in seconds of frames, from an event's end to its output."""
        return (self._half + int(self._gaps.max()) + 1) * self.hop_s

    def push(self, framewise: npt.ArrayLike) -> list[Event]:
        """``(n, K)`` probabilities of the next frames -> the events that are now final.

        Raises:
            ValueError: probabilities outside [0, 1] or NaN, or a shape that does not match the labels; the
                frames are then ignored.
        """
        return self.in_order(self._events(self._advance(framewise), None))

    def close(self, duration_s: float | None = None) -> list[Event]:
        """End of the recording -> the pending events, none of them ending after ``duration_s``.

        The detector is reset afterwards, as by :meth:`reset`.

        Raises:
            ValueError: the audio is much longer than its frames.
        """
        events = self.in_order(self._events(self._finish(), duration_s))
        self.reset()
        return events

    def in_order(self, events: Sequence[Event]) -> list[Event]:
        """Events by onset; those with equal onset in the order of :attr:`labels`."""
        return sorted(events, key=lambda event: (event.onset_s, self._positions[event.label]))

    def check_has_parents(self) -> None:
        """ValueError if neither tree nor super-classes order any of these classes."""
        check_has_parents(self._selection.labels, self._selection.super_classes)

    def without_parents(self, events: Sequence[Event]) -> list[Event]:
        """All events of a recording without the parents of the classes found: :func:`hide_parents`."""
        least_s = float(self.smoothing.min_duration_s.max())
        return hide_parents(events, min_duration_s=least_s, super_classes=self._selection.super_classes)

    def state(self) -> dict[str, Any]:
        """The state after the frames so far, as arrays and numbers, for :meth:`restore`."""
        runs = {f"runs_{name}": values.copy() for name, values in self._runs._asdict().items()}
        counts = {"n_pushed": self._n_pushed, "n_judged": self._n_judged}
        return {**runs, "levels": self._levels, "scores": self._scores, **counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state` of a detector with the same arguments."""
        self._runs = kernel.Runs(
            **{
                name: np.array(state[f"runs_{name}"], values.dtype)
                for name, values in self._runs._asdict().items()
            }
        )
        self._levels = np.array(state["levels"], np.uint8).reshape(-1, len(self.labels))
        self._scores = np.array(state["scores"], np.float32).reshape(-1, len(self.labels))
        self._n_pushed, self._n_judged = int(state["n_pushed"]), int(state["n_judged"])

    def _advance(self, framewise: npt.ArrayLike) -> list[_Found]:
        scores = self._selection.scores(framewise)
        if len(scores) == 0:
            return []
        levels = kernel.levels_of(scores, self._on, self._off)
        top_k = self.settings.top_k
        if top_k is not None and top_k < len(self.labels):
            kernel.keep_top(scores, top_k, levels)
        if self._half:
            before = np.repeat(levels[:1], self._half, axis=0) if self._n_pushed == 0 else self._levels
            levels = np.concatenate([before, levels])
            scores = np.concatenate([self._scores, scores])
            self._n_pushed += len(scores) - len(self._scores)
            return self._judge(levels, scores)
        self._n_pushed += len(scores)
        return self._judge(levels, scores)

    def _judge(self, levels: npt.NDArray[np.uint8], scores: FloatArray) -> list[_Found]:
        """Levels, with earlier frames that the first medians need, and pending scores -> finished runs."""
        half = self._half
        if half:
            kept = levels[max(0, len(levels) - 2 * half) :].copy()
            levels = kernel.majorities(levels, self._halves)
            self._levels, self._scores = kept, scores[len(levels) :].copy()
        n = len(levels)
        places, peaks, n_found = kernel.follow(
            np.where(levels, np.uint8(2), np.uint8(0)) if self.both_ends else levels,
            levels,
            scores[:n],
            self._n_judged,
            self._gaps,
            self._runs,
            np.empty((_ROOM, 3), np.int64),
            np.empty(_ROOM, np.float32),
        )
        self._n_judged += n
        over = kernel.finished(self._runs, self._n_judged, self._gaps, at_end=False)
        return [_Found(places[:n_found], peaks[:n_found]), _Found(*over)]

    def _finish(self) -> list[_Found]:
        found: list[_Found] = []
        if self._half and self._n_pushed:
            after = np.repeat(self._levels[-1:], self._half, axis=0)
            found = self._judge(np.concatenate([self._levels, after]), self._scores)
        return [*found, _Found(*kernel.finished(self._runs, self._n_judged, self._gaps, at_end=True))]

    def _events(self, found: list[_Found], duration_s: float | None) -> list[Event]:
        """Runs -> events in seconds; too short ones are dropped."""
        if duration_s is not None:
            check_duration(self._n_pushed, self.hop_s, duration_s, self.offset_s)
        least = self.smoothing.min_duration_s - _SLACK * self.hop_s
        events = []
        for places, peaks in found:
            onsets, offsets = (edges_at(places[:, i], self.hop_s, self.offset_s) for i in (1, 2))
            if duration_s is not None:
                offsets = np.where(
                    places[:, 2] == self._n_pushed, duration_s, np.minimum(offsets, duration_s)
                )
            long_enough = (offsets > onsets) & (offsets - onsets >= least[places[:, 0]])
            columns = (array[long_enough].tolist() for array in (places[:, 0], onsets, offsets, peaks))
            events += [Event(self.labels[c], *rest) for c, *rest in zip(*columns, strict=True)]
        return events

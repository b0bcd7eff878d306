"""Operating points for whole events: what tuning chooses, and what the detector finds with it."""

from __future__ import annotations

import numpy as np
import pytest

from pannsx.events import (
    Annotated,
    Event,
    OperatingPoint,
    OperatingPoints,
    detect,
    median_filter,
    tune_events,
)
from pannsx.events.tuning import COLLARS_S, OFFSET_SHARE

HOP_S = 0.1
LABELS = ("Dog", "Rain")


def recording(seed: int) -> Annotated:
    """Ten seconds: barks of half a second with a dip in the middle, rain whose frames flicker."""
    rng = np.random.default_rng(seed)
    framewise = rng.uniform(0.0, 0.1, (100, 2)).astype(np.float32)
    events = []
    for begin in (10, 40, 70):
        framewise[begin : begin + 6, 0] = [0.3, 0.6, 0.2, 0.7, 0.6, 0.3]
        events.append(Event("Dog", begin * HOP_S, (begin + 6) * HOP_S, 1.0))
    framewise[20:60, 1] = 0.4
    framewise[20 + rng.permutation(40)[:10], 1] = 0.05
    events.append(Event("Rain", 2.0, 6.0, 1.0))
    return Annotated(framewise, events, 10.0)


def begun() -> OperatingPoints:
    return OperatingPoints({label: OperatingPoint(0.5) for label in LABELS}, model="mine")


def hits(found: list[Event], truth: list[Event], collar_s: float) -> int:
    left = list(truth)
    for event in found:
        for true in left:
            within_s = max(collar_s, OFFSET_SHARE * (true.offset_s - true.onset_s))
            if (
                abs(event.onset_s - true.onset_s) <= collar_s
                and abs(event.offset_s - true.offset_s) <= within_s
            ):
                left.remove(true)
                break
    return len(truth) - len(left)


def test_dips_and_flicker_are_bridged() -> None:
    recordings = [recording(seed) for seed in range(4)]
    points = tune_events(recordings, begun(), LABELS, hop_s=HOP_S, offset_s=HOP_S / 2)
    assert points.both_ends
    assert points.model == "mine"
    assert points.rule == "best F1 of events"
    for label in LABELS:
        assert points.points[label].f1 == 1.0
    # The detector finds, with these points, the events that tuning counted.
    for each in recordings:
        found = detect(each.framewise, HOP_S, labels=LABELS, threshold=points, duration_s=10.0)
        for label in LABELS:
            mine = [event for event in found if event.label == label]
            true = [event for event in each.events if event.label == label]
            assert hits(mine, true, min(COLLARS_S)) == len(mine) == len(true)
    before = detect(recordings[0].framewise, HOP_S, labels=LABELS, threshold=0.5, duration_s=10.0)
    assert hits(before, list(recordings[0].events), min(COLLARS_S)) == 0


def test_counts_are_those_of_the_detector() -> None:
    """Of noise, in which right and wrong events are mixed: precision and recall as counted by hand."""
    rng = np.random.default_rng(3)
    recordings = []
    for _ in range(5):
        smooth = np.convolve(rng.uniform(size=240), np.ones(5) / 5, "valid")[:200]
        framewise = np.stack([smooth, 1 - smooth], axis=1).astype(np.float32)
        onsets = np.sort(rng.choice(18, 5, replace=False)) + 0.3
        events = [Event("Dog", float(each), float(each) + 0.6, 1.0) for each in onsets]
        recordings.append(Annotated(framewise, events, 20.0))
    points = tune_events(
        recordings, OperatingPoints({"Dog": OperatingPoint(0.5)}), LABELS, hop_s=HOP_S, offset_s=HOP_S / 2
    )
    found = [
        detect(each.framewise, HOP_S, labels=LABELS, classes=["Dog"], threshold=points, duration_s=20.0)
        for each in recordings
    ]
    n_hits = sum(
        hits(list(mine), list(each.events), max(COLLARS_S))
        for mine, each in zip(found, recordings, strict=True)
    )
    point = points.points["Dog"]
    assert point.precision == pytest.approx(n_hits / sum(map(len, found)), abs=1e-6)
    assert point.recall == pytest.approx(n_hits / 25, abs=1e-6)
    assert 0 < n_hits < 25


def test_bad_recordings() -> None:
    with pytest.raises(ValueError, match="no recording"):
        tune_events([], begun(), LABELS, hop_s=HOP_S, offset_s=0.05)
    with pytest.raises(ValueError, match="'Dog', which is not one of the 1 classes"):
        tune_events([recording(0)], begun(), ("Rain",), hop_s=HOP_S, offset_s=0.05)


def test_median_filter_is_the_detectors() -> None:
    framewise = recording(0).framewise
    for median_s in (0.0, 0.1, 0.3, 0.7):
        smooth = median_filter(framewise, hop_s=HOP_S, median_s=median_s)
        assert smooth.shape == framewise.shape
        one = detect(smooth, HOP_S, labels=LABELS, threshold=0.3)
        other = detect(framewise, HOP_S, labels=LABELS, threshold=0.3, median_s=median_s)
        assert [event[:3] for event in one] == [event[:3] for event in other]
    with pytest.raises(ValueError, match="median_s is -1"):
        median_filter(framewise, hop_s=HOP_S, median_s=-1)

"""Events from frames, against a plain reference, and by the laws that they keep."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pannsx.events import (
    Event,
    EventDetector,
    EventSettings,
    OperatingPoint,
    OperatingPoints,
    detect,
    frame_edges,
    noisy_or,
    read_super_classes,
)

LABELS = ("Dog", "Cat", "Rain", "Siren")
SAME_TIME = 1e-9  # seconds: the sums of float64 are taken in another order
SAME_PROBABILITY = 1e-6  # float32 against float64

thorough = settings(derandomize=True, deadline=None, max_examples=100)

# Few values, so that scores meet thresholds and each other.
framewises = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 40), st.just(len(LABELS))),
    elements=st.sampled_from([0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0]),
)
thresholds = st.tuples(st.sampled_from([0.25, 0.5, 0.6]), st.sampled_from([0.2, 0.25, 1.0])).map(
    lambda pair: (pair[0], min(pair))
)


def reference(
    framewise: np.ndarray,
    hop_s: float,
    *,
    on: float,
    off: float,
    half: int = 0,
    gap: int = 0,
    least_s: float = 0.0,
    top_k: int | None = None,
    offset_s: float | None = None,
    duration_s: float | None = None,
    both_ends: bool = False,
) -> list[Event]:
    """One class after the other, frame after frame, as the words of the documentation say it."""
    n = len(framewise)
    offset_s = hop_s / 2 if offset_s is None else offset_s
    edges = [max(0.0, offset_s + hop_s * (i - 0.5)) for i in range(n + 1)]
    edges[0] = 0.0
    if duration_s is not None:
        edges = [min(edge, duration_s) for edge in edges[:-1]] + [duration_s]
    found = []
    for c, label in enumerate(LABELS):
        heard = [float(row[c]) for row in framewise]
        counted = list(heard)
        if top_k is not None:
            for i, row in enumerate(framewise.tolist()):
                order = sorted(range(len(row)), key=lambda k: (-row[k], k))
                if c not in order[:top_k]:
                    counted[i] = -1.0
        padded = [counted[0]] * half + counted + [counted[-1]] * half if n else []
        smooth = [median(padded[i : i + 2 * half + 1]) for i in range(n)]
        runs: list[list[int]] = []
        active = False
        for i, value in enumerate(smooth):
            if not active and value >= (off if both_ends else on):
                active = True
                runs.append([i, i + 1])
            elif active and value < off:
                active = False
            if active:
                runs[-1][1] = i + 1
        runs = [run for run in runs if max(smooth[slice(*run)]) >= on]
        merged: list[tuple[int, int, float]] = []
        for start, stop in runs:
            peak = max(heard[start:stop])
            if merged and start - merged[-1][1] <= gap:
                merged[-1] = (merged[-1][0], stop, max(merged[-1][2], peak))
            else:
                merged.append((start, stop, peak))
        for start, stop, peak in merged:
            length = edges[stop] - edges[start]
            if length > 0 and length >= least_s - 1e-6 * hop_s:
                found.append(Event(label, edges[start], edges[stop], peak))
    return sorted(found, key=lambda event: (event.onset_s, LABELS.index(event.label)))


def assert_same(found: Sequence[Event], expected: Sequence[Event]) -> None:
    assert [event.label for event in found] == [event.label for event in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1:3] == pytest.approx(other[1:3], abs=SAME_TIME)
        assert one.probability == pytest.approx(other.probability, abs=SAME_PROBABILITY)


options = st.fixed_dictionaries(
    {
        "half": st.integers(0, 3),
        "gap": st.integers(0, 3),
        "least": st.integers(0, 4),
        "top_k": st.none() | st.integers(1, 5),
        "both_ends": st.booleans(),
        "last_s": st.none() | st.floats(-0.9, 0.9),  # of a hop: where the audio ends
    }
)


def keywords(on: float, off: float, hop_s: float, chosen: dict[str, Any]) -> dict[str, Any]:
    return {
        "threshold": on,
        "off_threshold": off,
        "median_s": (2 * chosen["half"] + 1) * hop_s if chosen["half"] else 0.0,
        "max_gap_s": chosen["gap"] * hop_s,
        "min_duration_s": chosen["least"] * hop_s,
        "top_k": chosen["top_k"],
        "both_ends": chosen["both_ends"],
    }


@thorough
@given(framewise=framewises, on_off=thresholds, hop_s=st.sampled_from([0.02, 0.1, 0.32]), chosen=options)
def test_as_the_reference(
    framewise: np.ndarray, on_off: tuple[float, float], hop_s: float, chosen: dict[str, Any]
) -> None:
    duration_s = None
    if chosen["last_s"] is not None and len(framewise):
        duration_s = (len(framewise) + chosen["last_s"]) * hop_s
    found = detect(framewise, hop_s, labels=LABELS, duration_s=duration_s, **keywords(*on_off, hop_s, chosen))
    expected = reference(
        framewise,
        hop_s,
        on=on_off[0],
        off=on_off[1],
        half=chosen["half"],
        gap=chosen["gap"],
        least_s=chosen["least"] * hop_s,
        top_k=chosen["top_k"],
        duration_s=duration_s,
        both_ends=chosen["both_ends"],
    )
    assert_same(found, expected)
    end_s = len(framewise) * hop_s if duration_s is None else duration_s
    for event in found:
        assert 0 <= event.onset_s < event.offset_s <= end_s + SAME_TIME


@thorough
@given(framewise=framewises, data=st.data(), cut=st.integers(0, 20))
def test_each_class_has_its_own_smoothing(framewise: np.ndarray, data: st.DataObject, cut: int) -> None:
    """Operating points with times of each class: as one class alone with those times, in pieces too."""
    hop_s = 0.1
    times = st.sampled_from([0.0, 0.3, 0.5, 0.7])
    points, expected = {}, []
    for label in LABELS:
        on, off = data.draw(thresholds)
        smooth = {name: data.draw(times) for name in ("median_s", "max_gap_s", "min_duration_s")}
        points[label] = OperatingPoint(on, off, **smooth)
        expected += detect(
            framewise, hop_s, labels=LABELS, classes=[label], threshold=on, off_threshold=off,
            both_ends=True, **smooth,
        )  # fmt: skip
    expected.sort(key=lambda event: (event.onset_s, LABELS.index(event.label)))
    how = OperatingPoints(points, both_ends=True)
    assert_same(detect(framewise, hop_s, labels=LABELS, threshold=how), expected)
    detector = EventDetector(LABELS, hop_s, EventSettings(threshold=how))
    found = [*detector.push(framewise[:cut]), *detector.push(framewise[cut:]), *detector.close()]
    assert_same(detector.in_order(found), expected)
    # What a call says holds for all classes.
    given_all = detect(
        framewise, hop_s, labels=LABELS, threshold=how, median_s=0.5, max_gap_s=0.3, min_duration_s=0.0,
        both_ends=False,
    )  # fmt: skip
    alone = detect(
        framewise, hop_s, labels=LABELS, threshold=how.thresholds(), off_threshold=how.off_thresholds(),
        median_s=0.5, max_gap_s=0.3,
    )  # fmt: skip
    assert_same(given_all, alone)


@thorough
@given(
    framewise=framewises,
    on_off=thresholds,
    chosen=options,
    cuts=st.lists(st.integers(0, 40), max_size=6),
    stored=st.booleans(),
)
def test_however_it_is_cut(
    framewise: np.ndarray,
    on_off: tuple[float, float],
    chosen: dict[str, Any],
    cuts: list[int],
    stored: bool,
) -> None:
    hop_s = 0.1
    how = EventSettings(**keywords(*on_off, hop_s, chosen))
    whole = detect(framewise, hop_s, labels=LABELS, **keywords(*on_off, hop_s, chosen))
    detector = EventDetector(LABELS, hop_s, how)
    found = []
    for piece in np.split(framewise, sorted(cut for cut in cuts if cut < len(framewise))):
        new = detector.push(piece)
        for event in new:
            assert event.offset_s <= detector._n_pushed * hop_s
        found += new
        if stored:
            state = detector.state()
            detector = EventDetector(LABELS, hop_s, how)
            detector.restore(state)
    found += detector.close()
    assert_same(sorted(found, key=lambda event: (event.onset_s, LABELS.index(event.label))), whole)
    assert detector.close() == []


@pytest.mark.parametrize(("gap_s", "median_s"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.3, 0.5)])
def test_events_come_as_early_as_stated(gap_s: float, median_s: float) -> None:
    how = EventSettings(max_gap_s=gap_s, median_s=median_s)
    detector = EventDetector(("Dog",), 0.1, how)
    frames = np.array([[0.0]] * 10 + [[0.9]] * 10 + [[0.0]] * 20)
    for i, frame in enumerate(frames, start=1):
        if found := detector.push(frame[None]):
            assert found[0].offset_s == pytest.approx(2.0)
            assert i * 0.1 - found[0].offset_s == pytest.approx(detector.latency_s)
            return
    pytest.fail("no event came")


# frames in time


@given(n=st.integers(0, 200), hop_s=st.floats(0.005, 2), shift=st.floats(-0.6, 3), cut=st.floats(-1, 1))
@settings(derandomize=True, deadline=None)
def test_edges(n: int, hop_s: float, shift: float, cut: float) -> None:
    duration_s = max(0.0, (n + shift + cut) * hop_s)
    edges = frame_edges(n, hop_s, offset_s=(0.5 + shift) * hop_s, duration_s=duration_s)
    assert len(edges) == n + 1
    assert edges[0] == 0
    assert (np.diff(edges) >= 0).all()
    if n:
        assert edges[-1] == duration_s


def test_edges_lie_between_centres() -> None:
    assert frame_edges(3, 0.32, offset_s=0.155) == pytest.approx([0, 0.315, 0.635, 0.955])
    assert frame_edges(3, 0.32, offset_s=0.155, duration_s=1.0) == pytest.approx([0, 0.315, 0.635, 1.0])
    assert frame_edges(2, 0.5) == pytest.approx([0, 0.5, 1.0])


def test_frames_of_other_audio_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"3 frames 0\.32 s apart end at 0\.960 s, and the audio at 10\.000 s"
    ):
        detect(np.zeros((3, 4)), 0.32, labels=LABELS, duration_s=10)


# thresholds


def test_hysteresis_begins_at_on_and_ends_below_off() -> None:
    frames = [[0.3], [0.6], [0.3], [0.2], [0.1], [0.4]]
    (event,) = detect(frames, 1.0, labels=["Dog"], threshold=0.5, off_threshold=0.2)
    assert event[:3] == ("Dog", 1.0, 4.0)
    assert event.probability == pytest.approx(0.6)


@pytest.mark.parametrize(
    "threshold",
    [
        [0.1, 0.9, 0.5, 0.5],
        np.array([0.1, 0.9, 0.5, 0.5], np.float32),
        {"Dog": 0.1, "Cat": 0.9},
        OperatingPoints({"Dog": OperatingPoint(0.1), "Cat": OperatingPoint(0.9)}),
    ],
    ids=["numbers", "array", "mapping", "operating points"],
)
def test_thresholds_by_class(threshold: Any) -> None:
    frames = np.full((2, 4), 0.4)
    frames[:, 2] = 0.6
    found = detect(frames, 1.0, labels=LABELS, threshold=threshold)
    assert [event.label for event in found] == ["Dog", "Rain"]


def test_operating_points_have_their_own_ends() -> None:
    points = OperatingPoints({"Dog": OperatingPoint(0.6, 0.2)}, default=0.9)
    frames = np.array([[0.7, 0.7], [0.3, 0.95], [0.1, 0.3]])
    found = detect(frames, 1.0, labels=["Dog", "Cat"], threshold=points)
    assert [event[:3] for event in found] == [("Dog", 0.0, 2.0), ("Cat", 1.0, 2.0)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"threshold": 1.5}, "threshold is 1.5; a probability from 0 to 1"),
        ({"threshold": math.nan}, "threshold is nan; a number"),
        ({"threshold": True}, "threshold is True"),
        ({"threshold": [0.5, 0.5]}, "threshold has 2 numbers; one for each of 4 labels"),
        ({"threshold": {"Dogg": 0.5}}, "threshold: unknown class 'Dogg' among 4 classes; did you mean 'Dog'"),
        ({"threshold": {"Dog": -1}}, "threshold of 'Dog' is -1"),
        (
            {"threshold": OperatingPoints({"Dgo": OperatingPoint(0.5)})},
            "contain 'Dgo', which is not one of the 4 classes; did you mean 'Dog'",
        ),
        ({"threshold": 0.3, "off_threshold": 0.4}, "off_threshold is 0.4 for 'Dog', above its threshold 0.3"),
        ({"classes": ["Dgo"]}, "unknown class 'Dgo' among 4 classes; did you mean 'Dog'"),
        ({"classes": []}, "classes is empty"),
        ({"classes": "Dog"}, "a list of names is needed"),
        (
            {"super_classes": {"Pet": ["Dog", "Catt"]}},
            "the super-class 'Pet': unknown class 'Catt' among 4 classes; did you",
        ),
        ({"super_classes": {"Pet": []}}, "'Pet' has no members"),
        ({"top_k": 0}, "top_k is 0"),
        ({"median_s": -1}, "median_s is -1"),
        ({"max_gap_s": math.inf}, "max_gap_s is inf"),
        ({"min_duration_s": math.nan}, "min_duration_s is nan"),
        ({"hop_s": 0}, "hop_s is 0"),
        ({"labels": LABELS[:3]}, r"framewise is \(2, 4\); \(frames, 3\) is needed"),
        ({"labels": ("Dog",) * 4}, "label name 'Dog' is repeated"),
        ({"framewise": np.full((2, 4), 2.0)}, "holds 2.0 in frame 0, class 'Dog'; probabilities"),
        ({"framewise": np.full((2, 4), np.nan)}, "holds nan in frame 0"),
        ({"framewise": np.array([["a"] * 4])}, "probabilities are needed"),
        ({"duration_s": -1.0}, "duration_s is -1.0"),
    ],
)
def test_the_impossible_is_refused(changed: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"framewise": np.zeros((2, 4)), "hop_s": 0.5, "labels": LABELS, **changed}
    with pytest.raises(ValueError, match=said):
        detect(arguments.pop("framewise"), arguments.pop("hop_s"), **arguments)


def test_a_refused_piece_is_not_taken() -> None:
    detector = EventDetector(LABELS, 0.1)
    detector.push(np.full((5, 4), 0.9))
    with pytest.raises(ValueError, match="nan"):
        detector.push(np.full((5, 4), np.nan))
    assert [event.offset_s for event in detector.close()] == pytest.approx([0.5] * 4)


# classes


def test_classes_come_in_the_order_asked_for() -> None:
    found = detect(np.full((2, 4), 0.9), 1.0, labels=LABELS, classes=["Siren", "Dog"])
    assert [event.label for event in found] == ["Siren", "Dog"]


@given(
    p=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.floats(0, 1, width=32)
    )
)
@settings(derandomize=True, deadline=None)
def test_noisy_or(p: np.ndarray) -> None:
    found = noisy_or(p)
    for row, value in zip(p, found, strict=True):
        assert value == pytest.approx(1 - math.prod(1 - float(each) for each in row), abs=SAME_PROBABILITY)
        assert value >= row.max() - SAME_PROBABILITY


def test_super_classes_stand_alone_or_among_classes() -> None:
    frames = np.array([[0.4, 0.4, 0.7, 0.0]])
    pets = {"Pet": ["Dog", "Cat"]}
    (event,) = detect(frames, 1.0, labels=LABELS, super_classes=pets)
    assert event.label == "Pet"
    assert event.probability == pytest.approx(1 - 0.6**2)
    found = detect(frames, 1.0, labels=LABELS, super_classes=pets, classes=["Rain", "Pet"])
    assert [event.label for event in found] == ["Rain", "Pet"]
    assert detect(frames, 1.0, labels=LABELS, super_classes=pets, threshold={"Pet": 0.9}) == []


def test_an_ontology(tmp_path: Path) -> None:
    path = tmp_path / "ontology.json"
    entries = [
        {"id": "/m/1", "name": "Animal", "child_ids": ["/m/2"]},
        {"id": "/m/2", "name": "Pet", "child_ids": ["/m/3", "/m/4"]},
        {"id": "/m/3", "name": "Dog", "child_ids": []},
        {"id": "/m/4", "name": "Cat", "child_ids": []},
        {"id": "/m/5", "name": "Weather", "child_ids": ["/m/6"]},
        {"id": "/m/6", "name": "Rain", "child_ids": []},
        {"id": "/m/7", "name": "Music", "child_ids": ["/m/8"]},
        {"id": "/m/8", "name": "Guitar", "child_ids": []},
    ]
    path.write_text(json.dumps(entries), "utf-8")
    expected = {"Animal": ("Dog", "Cat"), "Pet": ("Dog", "Cat"), "Weather": ("Rain",)}
    assert read_super_classes(path, LABELS) == expected
    assert read_super_classes(path, (*LABELS, "Pet"))["Animal"] == ("Dog", "Cat", "Pet")
    found = detect(np.full((1, 4), 0.4), 1.0, labels=LABELS, super_classes=path, classes=["Animal"])
    assert [event.label for event in found] == ["Animal"]
    entries[2]["child_ids"] = ["/m/1"]
    path.write_text(json.dumps(entries), "utf-8")
    with pytest.raises(ValueError, match="is its own descendant"):
        read_super_classes(path, LABELS)
    entries[2]["child_ids"] = ["/m/9"]
    path.write_text(json.dumps(entries), "utf-8")
    with pytest.raises(ValueError, match="'/m/9' is listed as a child but has no entry"):
        read_super_classes(path, LABELS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not JSON"),
        ('{"Pet": "Dog"}', "neither an object"),
        ("[1]", "not of objects with id"),
        ('{"Pet": ["Dogg"]}', "did you mean 'Dog'"),
    ],
)
def test_files_that_hold_no_super_classes(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "classes.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=said):
        read_super_classes(path, LABELS)

"""Operating points: the best threshold, files that come back, and the default of results."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import noise

import pannsx.labels
from pannsx import AudioTagger
from pannsx.events import (
    Event,
    OperatingPoint,
    OperatingPoints,
    calibrate,
    detect,
    frame_edges,
    frame_targets,
    read_operating_points,
    write_operating_points,
)
from pannsx.weights import manifest, operating_points, operating_points_path, points_of
from pannsx.weights.digests import file_digest
from pannsx.weights.record_json import record_to_json

ROUNDED = 1e-6  # measures are stored with six digits

POINTS = OperatingPoints(
    {"Dog": OperatingPoint(0.25, 0.1, 0.8, 0.7, 0.75, 12, 0.3, 0.2, 0.1), "Cat": OperatingPoint(0.6)},
    model="Some",
    rule="best F1",
    default=0.4,
    hop_s=0.32,
    median_s=0.5,
    max_gap_s=0.25,
    min_duration_s=0.125,
    both_ends=True,
    data="own recordings",
    weights_sha256="0" * 64,
)


def measures(truth: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float, float]:
    found = scores >= np.float32(threshold)
    hits = int((found & truth).sum())
    precision = hits / max(1, int(found.sum()))
    recall = hits / int(truth.sum())
    return precision, recall, 2 * hits / (int(found.sum()) + int(truth.sum()))


labelled = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7, 0.9, 1.0])), min_size=1, max_size=25
)


@given(data=labelled)
@settings(derandomize=True, deadline=None)
def test_no_threshold_has_a_better_f1(data: list[tuple[bool, float]]) -> None:
    truth, scores = np.array([d[0] for d in data]), np.array([d[1] for d in data], np.float32)
    points = calibrate(truth[:, None], scores[:, None], ["Dog"]).points
    if not truth.any():
        assert points == {}
        return
    point = points["Dog"]
    assert (point.precision, point.recall, point.f1) == pytest.approx(
        measures(truth, scores, point.threshold), abs=ROUNDED
    )
    best = max(measures(truth, scores, score)[2] for score in scores)
    assert point.f1 == pytest.approx(best, abs=ROUNDED)
    assert point.n_positive == truth.sum()


@given(data=labelled, wanted=st.sampled_from([0.2, 0.5, 0.75, 1.0]))
@settings(derandomize=True, deadline=None)
def test_the_greatest_recall_with_a_wanted_precision(data: list[tuple[bool, float]], wanted: float) -> None:
    truth, scores = np.array([d[0] for d in data]), np.array([d[1] for d in data], np.float32)
    points = calibrate(truth[:, None], scores[:, None], ["Dog"], precision=wanted).points
    if not truth.any():
        assert points == {}
        return
    reached = [
        measures(truth, scores, score)[1] for score in scores if measures(truth, scores, score)[0] >= wanted
    ]
    if not reached:
        assert points == {}
        return
    precision, recall, _ = measures(truth, scores, points["Dog"].threshold)
    assert precision >= wanted
    assert recall == pytest.approx(max(reached))


def test_a_threshold_lies_between_scores() -> None:
    truth = np.array([[1], [1], [0], [0]])
    points = calibrate(truth, np.array([[0.9], [0.7], [0.3], [0.1]]), ["Dog"]).points
    assert points["Dog"].threshold == pytest.approx(0.5)
    near = np.nextafter(np.float32(0.5), np.float32(1))
    points = calibrate(truth, np.array([[0.9], [near], [0.5], [0.1]], np.float32), ["Dog"]).points
    assert np.float32(0.5) < np.float32(points["Dog"].threshold) <= near


def test_frames_of_an_event() -> None:
    edges = frame_edges(4, 1.0)
    events = [Event("Dog", 0.6, 2.4, 1.0), Event("Dog", 2.4, 2.6, 1.0), Event("Cat", 3.0, 3.4, 1.0)]
    targets = frame_targets(events, edges, ["Dog", "Cat"])
    assert targets.T.tolist() == [[False, True, True, False], [False] * 4]
    with pytest.raises(ValueError, match="unknown class 'Dgo'; did you mean 'Dog'"):
        frame_targets([Event("Dgo", 0, 1, 1.0)], edges, ["Dog", "Cat"])


@given(
    places=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=5),
    hop_s=st.sampled_from([0.1, 0.32]),
)
@settings(derandomize=True, deadline=None)
def test_events_of_targets_are_the_events(places: list[tuple[int, int]], hop_s: float) -> None:
    """Detecting in frames made of events gives them back, as far as they do not touch."""
    frames = np.zeros(20, bool)
    for start, length in places:
        frames[start : start + length] = True
    events = detect(frames[:, None].astype(np.float32), hop_s, labels=["Dog"])
    assert (frame_targets(events, frame_edges(20, hop_s), ["Dog"])[:, 0] == frames).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"targets": np.zeros((3, 1))}, r"targets are \(3, 1\)"),
        ({"targets": np.full((2, 1), 0.5)}, "values other than 0 and 1"),
        ({"scores": np.full((2, 1), np.nan)}, "values outside"),
        ({"labels": ["a", "b"]}, "labels 2"),
        ({"precision": 0.0}, "precision is 0.0"),
        ({"precision": 1.5}, "precision is 1.5"),
    ],
)
def test_what_cannot_be_calibrated_on(changed: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"targets": np.ones((2, 1)), "scores": np.ones((2, 1)), "labels": ["Dog"]}
    with pytest.raises(ValueError, match=said):
        calibrate(**{**arguments, **changed})


# files


def test_operating_points_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "some.operating_points.json"
    write_operating_points(POINTS, path)
    assert read_operating_points(path) == POINTS
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no operating points"),
        ('{"format": "pannsx operating points 1"}', "missing points"),
        ('{"format": "pannsx operating points 1", "points": {"Dog": {"threshold": 2}}}', "threshold is 2"),
        (
            '{"format": "pannsx operating points 1", "points": {"Dog": {"treshold": 0.5}}}',
            "unknown key points.Dog.treshold",
        ),
        (
            '{"format": "pannsx operating points 1", "points":'
            ' {"Dog": {"threshold": 0.5, "off_threshold": 0.6}}}',
            "off_threshold is 0.6, above the threshold 0.5",
        ),
    ],
)
def test_files_that_hold_none(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "points.json"
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=said):
        read_operating_points(path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A checkpoint with a record of its own: the bundled one, under another name."""
    record = manifest.find(manifest.DEFAULT_CHECKPOINT)
    mine = replace(record, name="mine", filename="mine.safetensors", sources=())
    source = Path(pannsx.__file__).parent / "data" / str(record.filename)
    shutil.copyfile(source, tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").write_text(json.dumps(record_to_json(mine)), "utf-8")
    return tmp_path


def test_those_beside_a_checkpoint_are_the_default(own: Path) -> None:
    waveform = noise(2 * 32_000)
    plain = AudioTagger(checkpoint=own)
    assert plain.operating_points is None
    result = plain.inference(waveform)
    assert result.events() == result.events(threshold=0.5)
    loudest = result.top(1)[0].label
    points = OperatingPoints({loudest: OperatingPoint(0.001)}, model="mine", default=1.0)
    path = operating_points_path(plain.record, own)
    assert path == own / "mine.operating_points.json"
    write_operating_points(points, path)
    for checkpoint in (own, own / "mine.json", own / "mine.safetensors"):
        tagger = AudioTagger(checkpoint=checkpoint)
        assert tagger.operating_points == points
    result = tagger.inference(waveform)
    assert [event.label for event in result.events()] == [loudest]
    assert result.events(threshold=0.5) == plain.inference(waveform).events()
    batch = tagger.inference([waveform])
    assert batch[0].events() == result.events()


def test_those_of_another_checkpoint_are_refused(own: Path) -> None:
    path = own / "mine.operating_points.json"
    write_operating_points(OperatingPoints({}, model="other"), path)
    with pytest.raises(ValueError, match="are of 'other', not of 'mine'"):
        AudioTagger(checkpoint=own)
    write_operating_points(OperatingPoints({"Dgo": OperatingPoint(0.5)}), path)
    with pytest.raises(ValueError, match="not one of the 527 classes; did you mean 'Dog'"):
        AudioTagger(checkpoint=own)


def test_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PANNSX_HOME", str(tmp_path))
    record = manifest.find("Cnn14")
    assert operating_points_path(record) == tmp_path / "Cnn14.operating_points.json"
    beside = operating_points_path(record, "weights/my.pth")
    assert beside == Path("weights/my.operating_points.json")


def test_those_of_the_package_are_the_default_after_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PANNSX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(operating_points, "PACKAGE", tmp_path)
    record = manifest.find(manifest.DEFAULT_CHECKPOINT)
    labels = pannsx.labels.audioset().names
    path = tmp_path / "data" / f"{record.name}.operating_points.json"
    path.parent.mkdir()
    bundled = OperatingPoints(
        {"Dog": OperatingPoint(0.1)}, model=record.name, weights_sha256=record.sha256, data="scenes"
    )
    write_operating_points(bundled, path)
    with_points = replace(record, operating_points_sha256=file_digest(path, "sha256"))
    assert points_of(replace(record, operating_points_sha256=None), labels) is None
    assert points_of(with_points, labels) == bundled
    assert points_of(with_points, labels, tmp_path / "other.safetensors") is None
    of_other_weights = replace(bundled, weights_sha256="1" * 64)
    mine = operating_points_path(with_points)
    write_operating_points(of_other_weights, mine)
    with pytest.raises(ValueError, match="are of other weights of"):
        points_of(with_points, labels)
    write_operating_points(replace(bundled, default=0.2), mine)
    found = points_of(with_points, labels)
    assert found is not None
    assert found.default == 0.2
    mine.unlink()
    path.write_text(path.read_text() + " ")
    with pytest.raises(ValueError, match="the package is damaged"):
        points_of(with_points, labels)


def test_bundled_points_are_of_the_bundled_weights() -> None:
    record = manifest.find(manifest.DEFAULT_CHECKPOINT)
    found = points_of(record, pannsx.labels.audioset().names)
    assert (found is None) == (record.operating_points_sha256 is None)
    if found is not None:
        assert found.weights_sha256 == record.sha256
        assert found.data


def test_one_off_threshold_beside_points_is_for_those_above_it() -> None:
    points = OperatingPoints({"Dog": OperatingPoint(0.1), "Cat": OperatingPoint(0.6)})
    frames = [[0.0, 0.0], [0.1, 0.6], [0.09, 0.5], [0.0, 0.2]]
    found = detect(frames, 1.0, labels=["Dog", "Cat"], threshold=points, off_threshold=0.3)
    assert [(event.label, event.offset_s) for event in found] == [("Dog", 2.0), ("Cat", 3.0)]
    with pytest.raises(ValueError, match=r"off_threshold is 0\.3 for 'Dog', above its threshold 0\.1"):
        detect(frames, 1.0, labels=["Dog", "Cat"], threshold={"Dog": 0.1, "Cat": 0.6}, off_threshold=0.3)


def test_a_result_without_frames_has_no_events() -> None:
    result = AudioTagger().inference(noise(32_000), framewise=False)
    with pytest.raises(ValueError, match="there are no frames"):
        result.events()

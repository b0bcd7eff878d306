"""Soundscapes with known events, and the scores of the events found in them."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from benchmarks import sed, sed_metrics, sed_page
from benchmarks.sed_metrics import Frames
from benchmarks.soundscapes import RATE, Scene, Sound, audible_parts, compose, pink_noise
from pannsx.events import Event

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("bark", "bell")
TRUTH = {"one": [Event("bark", 1.0, 2.0, 1.0), Event("bell", 4.0, 8.0, 1.0)]}
DURATIONS_S = {"one": 10.0}


def tone(seconds: float, hz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def sounds() -> list[Sound]:
    return [Sound("bark", tone(0.7, 400)), Sound("bell", tone(2.0, 1000)), Sound("bell", tone(1.1, 2000))]


def test_silence_is_no_event() -> None:
    silence = np.zeros(RATE, np.float32)
    clip = np.concatenate([silence, tone(0.5, 500), silence, tone(0.3, 500), silence[: RATE // 4]])
    parts = audible_parts(np.concatenate([clip, tone(0.4, 500)]))
    assert [len(part) / RATE for part in parts] == pytest.approx([0.5, 0.95], abs=0.04)
    assert audible_parts(silence) == []


@pytest.mark.parametrize("overlap", [1, 3])
def test_events_are_where_they_are_said_to_be(overlap: int) -> None:
    scene = Scene(duration_s=40.0, snr_db=20.0, overlap=overlap, repetition=0.5, pause_s=2.0)
    scape = compose(sounds(), scene, 7)
    again = compose(sounds(), scene, 7)
    assert np.array_equal(scape.waveform, again.waveform)
    assert scape.events == again.events
    assert not np.array_equal(scape.waveform, compose(sounds(), scene, 8).waveform)
    assert len(scape.events) > 5
    assert len(scape.waveform) == 40 * RATE
    loud = np.square(scape.waveform, dtype=np.float64)
    heard = np.zeros(len(loud), bool)
    for event in scape.events:
        first, last = round(event.onset_s * RATE), round(event.offset_s * RATE)
        assert not heard[first:last].all() or overlap > 1
        heard[first:last] = True
    # Of noise and tone a hundred times its power, whichever is heard decides the mean.
    assert loud[heard].mean() == pytest.approx(101 * loud[~heard].mean(), rel=0.5 if overlap > 1 else 0.1)
    for one, other in combinations(scape.events, 2):
        assert one.label != other.label or one.offset_s < other.onset_s or other.offset_s < one.onset_s


def test_pink_noise_loses_three_decibels_an_octave() -> None:
    noise = pink_noise(2**18, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    bands = [power[(hz >= low) & (hz < 2 * low)].mean() for low in (100, 200, 400, 800, 1600, 3200)]
    assert np.diff(10 * np.log10(bands)) == pytest.approx(-3.01, abs=0.5)
    assert np.mean(noise**2) == pytest.approx(1.0)


def test_the_best_flat_threshold() -> None:
    scores = np.array([[0.1, 0.2], [0.4, 0.5], [0.6, 0.3]], np.float32)
    targets = np.array([[False, False], [True, True], [True, False]])
    found = sed.best_flat_threshold(targets, scores)
    assert 0.3 < found <= 0.4


def test_pages_are_up_to_date() -> None:
    found = sed_page.pages(sed.RESULTS)
    assert len(found) > 1
    for name, text in found.items():
        assert (ROOT / "docs" / name).read_text("utf-8") == text, "run `python -m benchmarks.sed_page`"


@pytest.fixture
def tools() -> None:
    if not os.environ.get("PANNSX_FORMAT_OWNERS"):
        pytest.importorskip("sed_scores_eval", reason='needs pip install "pannsx[sed]"')
        pytest.importorskip("sed_eval", reason='needs pip install "pannsx[sed]"')


@pytest.mark.usefixtures("tools")
def test_what_is_right_scores_one() -> None:
    assert sed_metrics.event_f1(TRUTH, TRUTH, DURATIONS_S, CLASSES) == pytest.approx(1.0)
    assert sed_metrics.segment_f1(TRUTH, TRUTH, DURATIONS_S, CLASSES) == pytest.approx(1.0)
    edges = np.arange(21) / 2
    scores = np.zeros((20, 2), np.float32)
    scores[2:4, 0] = scores[8:16, 1] = 0.9
    found = sed_metrics.psds({"one": Frames(scores, edges)}, TRUTH, DURATIONS_S, CLASSES)
    assert found == pytest.approx({"PSDS1": 1.0, "PSDS2": 1.0})


@pytest.mark.usefixtures("tools")
def test_what_is_missed_and_late_counts() -> None:
    late = {"one": [Event("bark", 1.5, 2.5, 1.0)]}  # half a second late, and no bell
    assert sed_metrics.event_f1(late, TRUTH, DURATIONS_S, CLASSES) == 0.0
    assert sed_metrics.event_f1(late, TRUTH, DURATIONS_S, CLASSES, collar_s=1.0) == pytest.approx(0.5)
    # Segments of barks: 1 to 2 in truth; 1 to 3 found, of which one is right.
    assert sed_metrics.segment_f1(late, TRUTH, DURATIONS_S, CLASSES) == pytest.approx((2 / 3 + 0) / 2)

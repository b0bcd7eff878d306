"""Windows: every sample is heard, frames lie on one grid, joined answers are those of the parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannsx.inference.windows import (
    Extent,
    WindowPlan,
    borders,
    combine,
    combine_logits,
    plan_windows,
    slide,
    stitch_frames,
)

CNN14 = {"sample_rate": 32000, "hop_samples": 10240, "min_samples": 9920}


def cut(n_samples: int, plan: WindowPlan, block: int):
    x = np.arange(n_samples, dtype=np.float32)
    return list(slide((x[i : i + block] for i in range(0, n_samples, block)), plan))


@st.composite
def cases(draw):
    hop = draw(st.integers(1, 50))
    window = draw(st.integers(hop, 8 * hop))
    plan = WindowPlan(window, hop, draw(st.integers(1, window // hop)))
    return draw(st.integers(1, 30 * hop)), plan, draw(st.integers(1, 400))


@given(cases())
@settings(deadline=None, derandomize=True, max_examples=150)
def test_every_sample_is_in_its_place(case):
    n_samples, plan, block = case
    windows = cut(n_samples, plan, block)
    heard = np.zeros(n_samples, bool)
    for window in windows:
        first = window.start_frame * plan.hop_samples
        expected = np.arange(first, first + len(window.waveform), dtype=np.float32)
        np.testing.assert_array_equal(window.waveform, expected)
        assert len(window.waveform) <= plan.window_samples
        heard[first : first + len(window.waveform)] = True
    assert heard.all()
    starts = [window.start_frame for window in windows]
    assert starts == sorted(set(starts))
    if len(windows) > 1:  # the last window is as full as whole frames allow
        assert len(windows[-1].waveform) > plan.window_samples - plan.hop_samples
    assert [len(w.waveform) for w in windows[:-1]] == [plan.window_samples] * (len(windows) - 1)


@given(cases(), st.integers(1, 400))
@settings(deadline=None, derandomize=True)
def test_blocks_do_not_matter(case, other_block):
    n_samples, plan, block = case
    a, b = cut(n_samples, plan, block), cut(n_samples, plan, other_block)
    assert [w.start_frame for w in a] == [w.start_frame for w in b]
    assert all(np.array_equal(x.waveform, y.waveform) for x, y in zip(a, b, strict=True))


def extents_of(windows, hop: int) -> list[Extent]:
    return [Extent(w.start_frame, max(1, len(w.waveform) // hop), len(w.waveform)) for w in windows]


@given(cases().filter(lambda case: case[1].window_samples >= 2 * case[1].hop_samples))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_stitched_frames_lie_on_the_grid(case):
    n_samples, plan, block = case
    extents = extents_of(cut(n_samples, plan, block), plan.hop_samples)
    parts = [np.arange(e.start_frame, e.start_frame + e.n_frames, dtype=np.float32)[:, None] for e in extents]
    joined = stitch_frames(parts, extents)
    np.testing.assert_array_equal(joined[:, 0], np.arange(max(1, n_samples // plan.hop_samples)))


def test_a_frame_comes_from_the_window_that_sees_more_around_it():
    extents = [Extent(0, 10, 100), Extent(6, 10, 100)]
    assert borders(extents) == [0, 8, 16]
    parts = [np.zeros((10, 1), np.float32), np.ones((10, 1), np.float32)]
    assert stitch_frames(parts, extents)[:, 0].tolist() == [0] * 8 + [1] * 8


def test_mean_is_weighted_by_the_time_a_window_answers_for():
    extents = [Extent(0, 10, 100), Extent(10, 10, 100), Extent(15, 10, 105)]
    parts = [np.array([value], np.float32) for value in (1.0, 2.0, 4.0)]
    weights = np.array([100, 70, 255 - 170])  # borders at frames 0, 10, 17 and the last sample
    expected = (weights @ [1.0, 2.0, 4.0]) / weights.sum()
    assert combine(parts, extents, "mean", 10)[0] == pytest.approx(expected, abs=1e-6)
    assert combine(parts, extents, "max", 10)[0] == 4


@pytest.mark.parametrize("how", ["mean", "max"])
def test_logits_of_windows_are_those_of_their_joined_probability(how):
    extents = [Extent(0, 10, 100), Extent(5, 10, 100)]  # answer for 70 and 80 samples
    logits = [np.array([-3.0, 0.5, 60.0], np.float32), np.array([2.0, 0.5, 40.0], np.float32)]
    joined = combine_logits(logits, extents, how, 10)
    probabilities = [1 / (1 + np.exp(-each)) for each in logits]
    of_probability = combine(probabilities, extents, how, 10)
    np.testing.assert_allclose(1 / (1 + np.exp(-joined)), of_probability, rtol=1e-6)
    # Where float32 has probability 1: the mean of 1 - p, e^-60 and e^-40, is 80 / 150 e^-40.
    assert joined[2] == pytest.approx(40 + np.log(150 / 80) if how == "mean" else 60, rel=1e-6)
    assert combine_logits(logits[:1], extents[:1], how, 10).tolist() == logits[0].tolist()


def test_cnn14_ten_seconds():
    plan = plan_windows(**CNN14, window_s=10, overlap_s=0)
    assert plan.window_samples == 320000
    assert plan.advance_frames == 31  # 9.92 s


def test_overlap_is_at_least_what_was_asked_for():
    plan = plan_windows(**CNN14, window_s=10, overlap_s=5)
    assert plan.window_samples - plan.advance_samples >= 5 * 32000
    assert plan.advance_frames == 15


def test_no_gap_where_edges_cost_a_frame():
    """DaiNet19 has no padding: 10 s give 1,249 frames of 256 samples, not 1,250."""
    plan = plan_windows(sample_rate=32000, hop_samples=256, min_samples=332, window_s=10, overlap_s=0)
    assert plan.advance_frames == 1249


@pytest.mark.parametrize(
    ("window_s", "overlap_s", "message"),
    [
        (0.1, 0, "at least 0.320 s"),
        (10, 9.9, "at least one frame"),
        (10, -1, "non-negative"),
        (float("nan"), 0, "finite"),
        (float("inf"), 0, "finite"),
    ],
)
def test_impossible_windows(window_s, overlap_s, message):
    with pytest.raises(ValueError, match=message):
        plan_windows(**CNN14, window_s=window_s, overlap_s=overlap_s)

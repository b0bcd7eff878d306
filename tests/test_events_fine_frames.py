"""Frames at a chosen hop: each is the network's own answer for its time, and memory does not grow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import noise

from pannsx import AudioError, AudioTagger
from pannsx.inference.fine_frames import FrameReader, Position, _Bins

SAME = 2e-5  # probability: float32 convolutions over batches of other sizes
MEAN = 1e-5  # of float32 frames, summed in another order

RATE = 32_000


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger(window_s=2.0)


def frames(reader: FrameReader, waveform: np.ndarray) -> np.ndarray:
    return np.concatenate([block.framewise for block in reader.blocks(waveform)])


@pytest.mark.parametrize("seconds", [0.05, 1.9, 2.0, 2.01, 4.4, 9.7])
def test_at_the_networks_own_hop_it_is_inference(tagger: AudioTagger, seconds: float) -> None:
    waveform = noise(round(seconds * RATE))
    whole = tagger.inference(waveform)
    assert whole.framewise is not None
    reader = FrameReader(tagger)
    blocks = list(reader.blocks(waveform))
    assert reader.n_passes == 1
    assert (reader.hop_s, reader.offset_s) == (whole.hop_s, whole.offset_s)
    assert np.concatenate([block.framewise for block in blocks]) == pytest.approx(whole.framewise, abs=SAME)
    assert [block.duration_s for block in blocks[:-1]] == [None] * (len(blocks) - 1)
    assert blocks[-1].duration_s == whole.duration_s
    firsts = [block.first_frame for block in blocks]
    assert firsts == [0, *np.cumsum([len(block.framewise) for block in blocks])[:-1]]


def test_each_pass_is_inference_from_later_on(tagger: AudioTagger) -> None:
    waveform = noise(5 * RATE + 1234)
    n_passes = 4
    result = tagger.inference(waveform, hop_s=tagger.hop_s / n_passes)
    assert result.framewise is not None
    step = round(tagger.hop_s * RATE / n_passes)
    for i in range(n_passes):
        comb = result.framewise[i::n_passes]
        shifted = tagger.inference(waveform[i * step :])
        assert shifted.framewise is not None
        # The last window is drawn back by what is left of each, so that its context differs.
        n = len(comb) - round(2.0 / tagger.hop_s) - 1
        assert comb[:n] == pytest.approx(shifted.framewise[:n], abs=SAME)
        centres = result.frame_times[i::n_passes]
        assert centres[:n] == pytest.approx(shifted.frame_times[:n] + i * step / RATE)
    assert result.clipwise.shape == (len(tagger.labels),)
    assert result.duration_s == len(waveform) / RATE
    assert result.hop_s == tagger.hop_s / n_passes


@pytest.mark.parametrize("hop_s", [0.05, 0.1, 0.5, 1.0])
def test_other_hops_are_means_of_frames_between(tagger: AudioTagger, hop_s: float) -> None:
    waveform = noise(6 * RATE)
    reader = FrameReader(tagger, hop_s)
    fine_hop_s = tagger.hop_s / reader.n_passes
    assert fine_hop_s <= hop_s + 1e-9
    fine = frames(FrameReader(tagger, fine_hop_s), waveform)
    found = frames(reader, waveform)
    assert len(found) == int(np.ceil(len(fine) * fine_hop_s / hop_s - 1e-9))
    ratio = hop_s / fine_hop_s
    for i, row in enumerate(found):
        weights = [max(0.0, min(k + 1, (i + 1) * ratio) - max(k, i * ratio)) for k in range(len(fine))]
        assert row == pytest.approx(np.average(fine, axis=0, weights=weights), abs=SAME)
    # A frame lies where those lie that it is made of.
    begin_s = FrameReader(tagger, fine_hop_s).offset_s - fine_hop_s / 2
    assert reader.offset_s - hop_s / 2 == pytest.approx(begin_s)


@given(
    n=st.integers(0, 60),
    ratio=st.floats(1.0, 7.0).filter(lambda ratio: abs(ratio - round(ratio)) > 1e-3 or ratio > 1.5),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
@settings(derandomize=True, deadline=None)
def test_means_keep_sums_however_frames_come(n: int, ratio: float, cuts: list[int]) -> None:
    rows = np.random.default_rng(n).random((n, 2), dtype=np.float32)
    bins = _Bins(ratio, Position(0, 0, 0, rows[:0]))
    found = [bins.push(piece) for piece in np.split(rows, sorted(cut for cut in cuts if cut < n))]
    means = np.concatenate([*found, bins.finish()])
    if n == 0:
        assert len(means) == 0
        return
    widths = np.diff(np.minimum(np.arange(len(means) + 1) * ratio, n))
    assert widths.sum() == pytest.approx(n)
    assert (means * widths[:, None]).sum(axis=0) == pytest.approx(rows.sum(axis=0), rel=MEAN, abs=MEAN)
    assert means.min() >= rows.min() - MEAN
    assert means.max() <= rows.max() + MEAN


@pytest.mark.parametrize("hop_s", [None, 0.1])
@pytest.mark.parametrize("overlap_s", [0.0, 0.7])
def test_it_goes_on_from_any_block(hop_s: float | None, overlap_s: float) -> None:
    reader = FrameReader(AudioTagger(window_s=2.0, overlap_s=overlap_s), hop_s)
    waveform = noise(round(7.3 * RATE))
    blocks = list(reader.blocks(waveform))
    assert len(blocks) > 3
    for i in (0, 1, len(blocks) - 2):
        rest = list(reader.blocks(waveform, position=blocks[i].position))
        assert [block.first_frame for block in rest] == [block.first_frame for block in blocks[i + 1 :]]
        assert rest[-1].duration_s == blocks[-1].duration_s
        for one, other in zip(rest, blocks[i + 1 :], strict=True):
            assert one.framewise == pytest.approx(other.framewise, abs=SAME)


@pytest.mark.parametrize("name", ["LeeNet11", "DaiNet19", "MobileNetV2"])
def test_any_architecture(name: str) -> None:
    """By seeded weights: no published ones are needed."""
    from small_models import seeded_checkpoint

    from pannsx.inference.pipeline import Pipeline, WindowSettings

    tagger = AudioTagger.__new__(AudioTagger)
    tagger._pipeline = Pipeline(seeded_checkpoint(name), settings=WindowSettings(window_s=2.0))
    hop_s = 0.1
    result = tagger.inference(noise(3 * RATE), hop_s=hop_s)
    assert result.framewise is not None
    assert np.isfinite(result.framewise).all()
    # The last frame begins before the end, and leaves less than two of the network's own frames behind it.
    assert result.frame_times[-1] - hop_s / 2 < 3.0
    assert 3.0 - (result.frame_times[-1] + hop_s / 2) < 2 * tagger.hop_s


def test_a_bounded_number_of_windows_is_held(tagger: AudioTagger) -> None:
    """Of a source without end, which would fill the memory if it were collected."""
    n_read = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal n_read
        while True:
            n_read += 1
            yield noise(RATE)

    from pannsx.inference.windows import slide

    reader = FrameReader(tagger, 0.16)
    windows = ((window, False) for window in slide(blocks(), reader._plan))
    heard = reader._heard(windows)  # type: ignore[arg-type]
    found = [next(heard) for _ in range(6)]
    heard.close()  # type: ignore[attr-defined]
    assert all(later.start > earlier.start for earlier, later in pairwise(found))
    assert n_read < 60


@pytest.mark.parametrize("hop_s", [0.0, 0.019, 1.01, float("nan")])
def test_hops_that_cannot_be_had(tagger: AudioTagger, hop_s: float) -> None:
    with pytest.raises(ValueError, match=r"0\.02 to 1\.0 s is possible"):
        FrameReader(tagger, hop_s)


def test_bad_sources_are_said(tagger: AudioTagger) -> None:
    with pytest.raises(AudioError, match="no file"):
        tagger.inference("missing.wav", hop_s=0.1)

"""`StreamTagger`: the frames of the whole recording, in time, at a cost that does not grow."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
import streams
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_models import HOPS_AND_OFFSETS, empty_model
from small_models import narrow_published, noise
from streams import RATE, SCENE, collected, cut, found_whole

from pannsx import AudioError, AudioTagger, StreamTagger
from pannsx.events import EventSettings
from pannsx.events.operating_points import OperatingPoint, OperatingPoints
from pannsx.inference.engine import Answer
from pannsx.inference.pipeline import Pipeline, WindowSettings
from pannsx.streaming import StreamUpdate

tagger, scene = streams.tagger, streams.scene

WHOLE_FILE = 1e-5
"""Between a stream's probabilities and the whole file's: the same sums, in another order at times."""

EVENTS = EventSettings(threshold=0.3, off_threshold=0.2, median_s=0.96, max_gap_s=0.64)


def frames_of(updates: list[StreamUpdate]) -> np.ndarray:
    """``(T', K)``; the updates must follow one another."""
    first = 0
    for update in updates:
        assert update.first_frame == first
        first += len(update.framewise)
    return np.concatenate([update.framewise for update in updates])


@pytest.fixture(scope="module")
def decision_level() -> tuple[StreamTagger, Pipeline]:
    """A stream and a pipeline for whole files, of one DecisionLevel model."""
    name = "Cnn14_DecisionLevelMax"
    checkpoint = narrow_published(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pannsx.weights.heads.open_checkpoint", lambda *_, **__: checkpoint)
        stream = StreamTagger(name, device="cpu", low_memory=True, step_s=1.6)
    pipeline = Pipeline(checkpoint, device="cpu", low_memory=True, settings=WindowSettings(window_s=60.0))
    return stream, pipeline


@pytest.mark.parametrize(("rate", "seconds"), [(RATE, 8.3), (44_100, 5.0)])
def test_frames_of_a_decision_level_model_are_the_whole_files(
    decision_level: tuple[StreamTagger, Pipeline], rate: int, seconds: float
) -> None:
    stream, pipeline = decision_level
    stream.reset()
    waveform = noise(round(seconds * rate))
    updates = collected(stream, cut(waveform, 7000, 1, 44_444), rate)
    (whole,) = pipeline.analyse([waveform], source_rate=rate, framewise=True)
    assert whole.answer.framewise is not None
    assert len(updates) > 2
    assert updates[0].frame_source == "native"
    np.testing.assert_allclose(frames_of(updates), whole.answer.framewise, rtol=0, atol=WHOLE_FILE)
    assert np.ptp(whole.answer.framewise, axis=0).max() > 100 * WHOLE_FILE  # else this shows nothing


@settings(derandomize=True, deadline=None, max_examples=12)
@given(
    seconds=st.floats(0.01, 9.0),
    rate=st.sampled_from([RATE, 8000, 44_100, 48_000]),
    lengths=st.lists(st.integers(1, 90_000), min_size=1, max_size=4),
    step_s=st.sampled_from([0.1, 0.64, 1.0, 5.0]),
)
def test_any_cut_at_any_rate_gives_the_whole_file(
    tagger: AudioTagger, seconds: float, rate: int, lengths: list[int], step_s: float
) -> None:
    waveform = noise(max(1, round(seconds * rate)), seed=len(lengths))
    lengths = [max(length, len(waveform) // 50) for length in lengths]
    stream = StreamTagger(tagger, source_rate=rate, step_s=step_s)
    updates = collected(stream, cut(waveform, *lengths))
    whole = tagger.inference(waveform, rate)
    assert whole.framewise is not None
    np.testing.assert_allclose(frames_of(updates), whole.framewise, rtol=0, atol=WHOLE_FILE)
    times = np.concatenate([update.frame_times for update in updates])
    np.testing.assert_allclose(times, whole.frame_times)
    for a, b in pairwise(updates):
        assert a.stop_s == pytest.approx(b.start_s)


def test_updates_come_within_the_latency(tagger: AudioTagger) -> None:
    for rate, step_s in ((RATE, 0.7), (44_100, 2.0)):
        stream = StreamTagger(tagger, source_rate=rate, step_s=step_s)
        block = rate // 50
        waits = []
        for i, piece in enumerate(cut(noise(9 * rate), block), start=1):
            for update in stream.push(piece):
                waits.append(i * block / rate - update.frame_times[0])
                assert update.window_s[1] <= i * block / rate
        assert len(waits) >= 2
        assert max(waits) <= stream.latency_s + block / rate
        assert max(waits) > stream.latency_s - 1e-3  # it is no more than what is so


def test_memory_and_cost_do_not_grow(tagger: AudioTagger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour with a network that answers at once: all windows alike, and no more held than one."""
    stream = StreamTagger(tagger, step_s=1.0)
    engine, heard = tagger._pipeline.engine, []

    def run(waveforms: list[np.ndarray], wanted: object = None) -> list[Answer]:
        heard.extend(len(waveform) for waveform in waveforms)
        n_frames = [engine.network.n_frames(len(waveform)) for waveform in waveforms]
        one = np.zeros(len(tagger.labels), np.float32)
        return [Answer(one, one, np.zeros((n, len(one)), np.float32), None, one) for n in n_frames]

    monkeypatch.setattr(engine, "run", run)
    block = noise(RATE // 4)
    for _ in range(4 * 1800):
        stream.push(block)
        assert sum(map(len, stream._intake._pieces)) <= stream.window_s * RATE + len(block)
        assert all(piece.base is None for piece in stream._intake._pieces)  # no view holds more than it shows
    settled = heard[10:]
    assert len(settled) > 1700
    assert set(settled) == {round(stream.window_s * RATE)}


def test_many_tiny_blocks_are_joined(tagger: AudioTagger) -> None:
    stream = StreamTagger(tagger)
    for _ in range(3000):
        assert stream.push(np.zeros(1, np.float32)) == []
        assert len(stream._intake._pieces) <= 1001
    assert len(frames_of(stream.close())) == 1


def test_the_block_may_be_written_over(tagger: AudioTagger) -> None:
    waveform = noise(3 * RATE)
    expected = frames_of(collected(StreamTagger(tagger), cut(waveform, 4000)))
    stream, buffer, updates = StreamTagger(tagger), np.empty(4000, np.float32), []
    for block in cut(waveform, 4000):
        buffer[:] = block
        updates += stream.push(buffer)
        buffer[:] = np.nan
    assert np.array_equal(frames_of(updates + stream.close()), expected)


def test_kinds_of_blocks(tagger: AudioTagger) -> None:
    waveform = (noise(2 * RATE) * 32767).clip(-32768, 32767).astype(np.int16)
    expected = frames_of(collected(StreamTagger(tagger), [waveform]))
    stereo = np.stack([waveform, waveform], axis=1)
    tensor = torch.from_numpy(waveform.astype(np.float32) / 32768)
    for block in (stereo, tensor):
        assert np.array_equal(frames_of(collected(StreamTagger(tagger), [block])), expected)


def test_a_bad_block_is_not_taken(tagger: AudioTagger) -> None:
    waveform = noise(5 * RATE)
    expected = frames_of(collected(StreamTagger(tagger), cut(waveform, RATE)))
    bad = noise(1000)
    bad[17] = np.nan
    stream, updates = StreamTagger(tagger, source_rate=RATE), []
    for i, block in enumerate(cut(waveform, RATE)):
        with pytest.raises(
            AudioError, match=rf"block that begins at {i}\.000 s of the stream has NaN at sample 17"
        ):
            stream.push(bad)
        with pytest.raises(AudioError, match="44100 Hz and the stream 32000 Hz"):
            stream.push(block, 44_100)
        with pytest.raises(AudioError, match="shape"):
            stream.push(np.zeros((2, 2, 2)))
        assert stream.push(np.zeros((0, 2), np.float32)) == []
        updates += stream.push(block)
    assert np.array_equal(frames_of(updates + stream.close()), expected)


def test_close_and_reset(tagger: AudioTagger) -> None:
    stream = StreamTagger(tagger)
    assert stream.close() == []
    stream.reset()
    first = collected(stream, [noise(2 * RATE)], 44_100)
    assert stream.close() == []
    with pytest.raises(ValueError, match=r"closed; reset\(\)"):
        stream.push(noise(10))
    stream.reset()
    second = collected(stream, [noise(2 * RATE)], 16_000)  # another rate: another stream
    assert len(frames_of(second)) > len(frames_of(first))
    assert second[0].window_s[0] == 0.0


def test_update_reads_like_a_result(tagger: AudioTagger) -> None:
    update = collected(StreamTagger(tagger), [noise(5 * RATE)])[0]
    top = update.top(2)
    assert top[0].probability == pytest.approx(update.framewise.max())
    assert update.clipwise.shape == (527,)
    assert update.embedding.shape == (tagger.embedding_size,)
    assert top[0].label in repr(update)


@pytest.mark.parametrize("step_s", [0.0, -1.0, np.nan, np.inf])
def test_impossible_steps(tagger: AudioTagger, step_s: float) -> None:
    with pytest.raises(ValueError, match="step_s"):
        StreamTagger(tagger, step_s=step_s)


def test_impossible_arguments(tagger: AudioTagger) -> None:
    with pytest.raises(AudioError, match="source_rate"):
        StreamTagger(tagger, source_rate=0)
    with pytest.raises(ValueError, match="checkpoint= cannot be given with an open AudioTagger"):
        StreamTagger(tagger, checkpoint="weights.pth")
    with pytest.raises(ValueError, match="did you mean"):
        StreamTagger("Cnn41")


def test_every_field_is_declared() -> None:
    """Of all trunks the stream can be used with; a trunk without layers would see a frame of a sample."""
    for name in HOPS_AND_OFFSETS:
        field = empty_model(name).receptive_field
        assert field.last - field.first > 2 * field.hop_samples, name


@pytest.mark.parametrize("seconds", [15.0, 8.0, 7.68, 0.2])
def test_events_are_those_of_the_whole(tagger: AudioTagger, scene: np.ndarray, seconds: float) -> None:
    waveform = scene[: round(seconds * RATE)]
    stream = StreamTagger(tagger, events=EVENTS, step_s=0.7)
    updates = collected(stream, cut(waveform, 5000, 77))
    found = [event for update in updates for event in update.events]
    expected = found_whole(tagger, waveform, EVENTS)
    assert sorted(found) == sorted(expected)
    assert len(found) > 5 or seconds < 1


def test_events_come_within_their_latency(tagger: AudioTagger, scene: np.ndarray) -> None:
    stream = StreamTagger(tagger, events=EVENTS, step_s=0.7)
    block = RATE // 50
    waits = []
    for i, piece in enumerate(cut(scene, block), start=1):
        waits += [i * block / RATE - e.offset_s for update in stream.push(piece) for e in update.events]
    assert len(waits) > 5
    assert max(waits) <= stream.event_latency_s + block / RATE
    with pytest.raises(ValueError, match="does not detect events"):
        _ = StreamTagger(tagger).event_latency_s


def test_fields_and_latencies_of_the_documentation() -> None:
    """The table of docs/how-to/streams.md is what the layers say."""
    page = (SCENE.parents[1] / "docs" / "how-to" / "streams.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?) \| ([\d.]+) s \| ([\d.]+) s \|$", page, re.M)
    named = set()
    for names, seen_s, latency_s in rows:
        for name in re.findall(r"`(\w+)`", names):
            named.add(name)
            model = empty_model(name)
            field = model.receptive_field
            assert f"{(field.last - field.first + 1) / model.sample_rate:.2f}" == seen_s
            waits = field.last + 1 - model.grid.offset_samples
            assert f"{waits / model.sample_rate:.2f}" == latency_s
    assert named == set(HOPS_AND_OFFSETS)


def test_events_go_by_the_operating_points_of_a_calibrated_checkpoint(
    tagger: AudioTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = OperatingPoints({"Siren": OperatingPoint(threshold=0.2, off_threshold=0.1)}, default=0.9)
    monkeypatch.setattr(tagger._pipeline, "operating_points", points)
    stream = StreamTagger(tagger, events=EventSettings())
    assert stream._detector is not None
    on, off = stream._detector.thresholds
    siren, other = stream.labels.index("Siren"), stream.labels.index("Dog")
    assert (on[siren], off[siren], on[other]) == pytest.approx((0.2, 0.1, 0.9))
    own = StreamTagger(tagger, events=EventSettings(threshold=0.4))
    assert own._detector is not None
    assert own._detector.thresholds[0] == pytest.approx(0.4)

"""`StreamTagger`: the frames of the whole recording, in time, at a cost that does not grow; and its pipe."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import struct
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_models import HOPS_AND_OFFSETS, empty_model
from small_models import lively_checkpoint, noise

from pannsx import AudioError, AudioTagger, StreamTagger
from pannsx.audio import load
from pannsx.audio.pcm import ENCODINGS, read_blocks, read_wav_header
from pannsx.cli import main
from pannsx.events import Event, EventDetector, EventSettings
from pannsx.events.operating_points import OperatingPoint, OperatingPoints
from pannsx.inference.engine import Answer
from pannsx.inference.pipeline import Pipeline, WindowSettings
from pannsx.streaming import StreamUpdate

RATE = 32_000
SCENE = Path(__file__).resolve().parents[1] / "examples" / "scene.flac"
WHOLE_FILE = 1e-5
"""Between a stream's probabilities and the whole file's: the same sums, in another order at times."""

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger(device="cpu", window_s=60.0)


def collected(stream: StreamTagger, blocks: list[np.ndarray], rate: int | None = None) -> list[StreamUpdate]:
    updates = [update for block in blocks for update in stream.push(block, rate)]
    return updates + stream.close()


def frames_of(updates: list[StreamUpdate]) -> np.ndarray:
    """``(T', K)``; the updates must follow one another."""
    first = 0
    for update in updates:
        assert update.first_frame == first
        first += len(update.framewise)
    return np.concatenate([update.framewise for update in updates])


def cut(waveform: np.ndarray, *lengths: int) -> list[np.ndarray]:
    """Blocks of these lengths, again and again."""
    blocks, at, i = [], 0, 0
    while at < len(waveform):
        blocks.append(waveform[at : at + lengths[i % len(lengths)]])
        at += lengths[i % len(lengths)]
        i += 1
    return blocks


@pytest.fixture(scope="module")
def decision_level() -> tuple[StreamTagger, Pipeline]:
    """A stream and a pipeline for whole files, of one DecisionLevel model."""
    checkpoint = lively_checkpoint("Cnn14_DecisionLevelMax")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pannsx.weights.heads.open_checkpoint", lambda *_, **__: checkpoint)
        stream = StreamTagger("Cnn14_DecisionLevelMax", device="cpu", low_memory=True, step_s=1.6)
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
    expected = frames_of(collected(StreamTagger(tagger), [waveform]))
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


class Pipe(io.BytesIO):
    """Bytes that come a few at a time, noting what has been printed by then."""

    def __init__(self, content: bytes, at_once: int, capsys: Captured | None = None) -> None:
        super().__init__(content)
        self.at_once, self.capsys, self.printed = at_once, capsys, ""
        self.reads_before_first_line: int | None = None
        self.n_reads = 0

    def read1(self, size: int | None = -1) -> bytes:
        if self.capsys is not None:
            self.printed += self.capsys.readouterr().out
            if self.printed and self.reads_before_first_line is None:
                self.reads_before_first_line = self.n_reads
        self.n_reads += 1
        return self.read(self.at_once)


def stdin(monkeypatch: pytest.MonkeyPatch, pipe: io.BytesIO) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))


def piped_wav(seconds: float, subtype: str = "PCM_16", channels: int = 1) -> tuple[bytes, np.ndarray]:
    """A WAV whose header does not know its length, as ffmpeg pipes it, and its samples ``(S, C)``."""
    file = io.BytesIO()
    samples = noise(round(seconds * RATE) * channels).reshape(-1, channels).clip(-1, 1)
    soundfile.write(file, samples, RATE, format="WAV", subtype=subtype)
    content = bytearray(file.getvalue())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff" * 4
    file.seek(0)
    return bytes(content), soundfile.read(file, always_2d=True, dtype="float32")[0]


def test_cli_prints_while_the_pipe_goes_on(
    tagger: AudioTagger, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    wav, samples = piped_wav(8.0)
    pipe = Pipe(wav, 9999, capsys)
    stdin(monkeypatch, pipe)
    assert main(["stream", "-", "--format", "json", "--top", "2"]) == 0
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in (pipe.printed + shown.out).splitlines()]
    updates = collected(StreamTagger(tagger), [samples])
    assert len(lines) == len(updates)
    for line, update in zip(lines, updates, strict=True):
        assert line["file"] == "-"
        assert line["onset_s"] == pytest.approx(update.start_s, abs=1e-6)
        assert line["offset_s"] == pytest.approx(update.stop_s, abs=1e-6)
        assert [tag["label"] for tag in line["tags"]] == [tag.label for tag in update.top(2)]
        expected = [tag.probability for tag in update.top(2)]
        assert [tag["probability"] for tag in line["tags"]] == pytest.approx(expected, rel=1e-5)
    first_s = StreamTagger(tagger).latency_s
    assert pipe.reads_before_first_line is not None
    assert pipe.reads_before_first_line * 9999 / 2 / RATE < first_s + 1.0


def test_cli_raw_samples_and_table(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    wav, _ = piped_wav(2.0, channels=2)
    raw = wav[wav.index(b"data") + 8 :]
    shown = []
    for content, options in ((wav, []), (raw, ["--rate", "32000", "--channels", "2"])):
        stdin(monkeypatch, Pipe(content, 12_345))
        assert main(["stream", "-", *options]) == 0
        shown.append(capsys.readouterr())
    assert shown[0] == shown[1]
    assert shown[0].err.startswith("pannsx: 32000 Hz, 2 channels, s16le; a line every 0.96 s")
    assert shown[0].out.splitlines()[0].startswith("     0.00 - 1.92 s  ")
    stdin(monkeypatch, Pipe(raw, 12_345))
    assert main(["stream", "-", "--quiet", "--rate", "64000", "--threshold", "1"]) == 0
    assert capsys.readouterr().err == ""


def test_cli_classes_and_leaves(
    tagger: AudioTagger, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    wav, samples = piped_wav(2.0)
    updates = collected(StreamTagger(tagger), [samples])
    options = ["-q", "--format", "json", "-n", "99", "-c", "all animals", "-c", "/m/09x0r", "--leaves"]
    stdin(monkeypatch, Pipe(wav, 12_345))
    assert main(["stream", "-", *options]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line, update in zip(lines, updates, strict=True):
        expected = update.top(99, classes=["all animals", "Speech"], leaves=True)
        assert [tag["label"] for tag in line["tags"]] == [tag.label for tag in expected]
    for wrong, said in (
        (["-c", "Dgo"], "did you mean 'Dog'"),
        (["--events", "-c", "Dgo"], "did you mean 'Dog'"),
        (["--events", "--leaves"], "--leaves needs all events of a recording"),
    ):
        stdin(monkeypatch, Pipe(wav, 12_345))
        assert main(["stream", "-", *wrong]) == 2
        shown = capsys.readouterr()
        assert said in shown.err
        assert shown.out == ""


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 3])
def test_wav_of_every_encoding(subtype: str, channels: int) -> None:
    wav, samples = piped_wav(0.1, subtype, channels)
    pipe = Pipe(wav, 1001)
    pcm = read_wav_header(pipe)
    assert (pcm.sample_rate, pcm.n_channels, pcm.n_bytes) == (RATE, channels, None)
    read = np.concatenate(list(read_blocks(pipe, pcm)))
    np.testing.assert_allclose(read, samples.mean(axis=1, dtype=np.float64), rtol=0, atol=1e-7)


def test_wav_that_knows_its_length_ends_there() -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(500), RATE, format="WAV", subtype="PCM_16")
    pipe = Pipe(file.getvalue() + b"LIST\x04\x00\x00\x00abcd", 77)
    pcm = read_wav_header(pipe)
    assert pcm.n_bytes == 1000
    assert sum(map(len, read_blocks(pipe, pcm))) == 500


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_wav_of_the_telephone(subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(500), 8000, format="WAV", subtype=subtype)
    codes = bytes(range(256))
    wav = file.getvalue()[: file.getvalue().index(b"data")] + b"data" + (256).to_bytes(4, "little") + codes
    pipe = Pipe(wav, 77)
    read = np.concatenate(list(read_blocks(pipe, read_wav_header(pipe))))
    np.testing.assert_array_equal(read, soundfile.read(io.BytesIO(wav), dtype="float32")[0])


UNKNOWN = [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x7FFF_FFDB, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFDB]


@pytest.mark.parametrize("size", UNKNOWN)
def test_a_wav_of_unknown_length_goes_on_to_its_end(size: int) -> None:
    assert read_wav_header(Pipe(wav_of_size(size), 77)).n_bytes is None


def wav_of_size(size: int, n_samples: int = 500, rate: int = RATE) -> bytes:
    """A WAV of 16 bits that states a length of its samples."""
    file = io.BytesIO()
    soundfile.write(file, noise(n_samples), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()[:40] + size.to_bytes(4, "little") + file.getvalue()[44:]


def read_all(wav: bytes) -> int:
    pipe = Pipe(wav, 77)
    return sum(map(len, read_blocks(pipe, read_wav_header(pipe))))


def test_a_pipe_that_holds_other_than_it_states() -> None:
    assert read_all(wav_of_size(1000) + wav_of_size(600, 300)) == 800
    with pytest.warns(UserWarning, match="announces 600 bytes of samples and more follow"):
        assert read_all(wav_of_size(600)) == 500
    with pytest.raises(AudioError, match=r"another WAV file, \(8000, 1, 's16le'\) after"):
        read_all(wav_of_size(1000) + wav_of_size(1000, rate=8000))
    pipe = Pipe(wav_of_size(2000), 77)
    blocks = read_blocks(pipe, read_wav_header(pipe))
    assert sum(map(len, itertools.islice(blocks, 13))) == 500  # 77 bytes at a time
    with pytest.raises(AudioError, match="announces 2000 bytes of samples, and the pipe ended after 1000"):
        next(blocks)


def test_raw_encodings() -> None:
    for encoding, kind in ENCODINGS.items():
        if encoding in ("s24le", "mulaw", "alaw"):
            continue
        values = np.array([0, 64, 100], np.uint8) if encoding == "u8" else np.array([0, 1, -1], kind)
        pcm = read_wav_header(Pipe(piped_wav(0.01)[0], 10))._replace(encoding=encoding)
        (read,) = read_blocks(Pipe(values.astype(kind).tobytes(), 999), pcm)
        scale = 1 if kind[1] == "f" else 2.0 ** (8 * values.itemsize - 1)
        expected = (values.astype(np.float64) - (128 if encoding == "u8" else 0)) / scale
        np.testing.assert_allclose(read, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the pipe is empty"),
        (b"fLaC and so on, and on", "does not hold WAV: it begins with b'fLaC'"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "ends before the first sample"),
        (b"RIFF\xff\xff\xff\xffWAVEdata\x00\x00\x00\x00", "no fmt chunk before its samples"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 85, 2, 44100, 0, 1, 0), "format 85"),
    ],
)
def test_cli_bad_pipes(
    content: bytes, message: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    stdin(monkeypatch, Pipe(content, 100))
    assert main(["stream", "-"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err


def test_cli_not_finite_samples(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    samples = noise(RATE).astype("<f4")
    samples[20_000] = np.inf
    stdin(monkeypatch, Pipe(samples.tobytes(), 40_000))
    assert main(["stream", "-", "--rate", str(RATE), "--encoding", "f32le"]) == 1
    assert "infinite" in capsys.readouterr().err


def test_cli_usage(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert main(["stream", "-", "--model", "Cnn41"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["stream", "no such pipe"]) == 1
    stdin(monkeypatch, Pipe(b"", 1))
    assert main(["stream", "-", "--rate", "32000", "--device", "abacus"]) == 2
    assert "abacus" in capsys.readouterr().err
    stdin(monkeypatch, Pipe(b"", 1))
    assert main(["stream", "-", "--rate", "7"]) == 1
    assert "7 Hz" in capsys.readouterr().err


def found_whole(tagger: AudioTagger, waveform: np.ndarray, settings: EventSettings) -> list[Event]:
    whole = tagger.inference(waveform)
    assert whole.framewise is not None
    detector = EventDetector(tagger.labels, whole.hop_s, settings, offset_s=whole.offset_s)
    return detector.push(whole.framewise) + detector.close(whole.duration_s)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """``(S,)``: the example scene twice, with silence between and a piece of it at the end."""
    once = load(SCENE, RATE).waveform
    return np.concatenate([once, np.zeros(2 * RATE, np.float32), once, once[:RATE]])


EVENTS = EventSettings(threshold=0.3, off_threshold=0.2, median_s=0.96, max_gap_s=0.64)


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


def test_cli_events(
    tagger: AudioTagger, scene: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    raw = scene.astype("<f4").tobytes()
    options = ["--rate", str(RATE), "--encoding", "f32le", "--quiet", "--events", "--threshold", "0.3"]
    stdin(monkeypatch, Pipe(raw, 50_000))
    assert main(["stream", "-", *options, "--format", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = found_whole(tagger, scene, EventSettings(threshold=0.3))
    assert sorted((line["label"], line["onset_s"], line["offset_s"]) for line in lines) == sorted(
        (event.label, round(event.onset_s, 6), round(event.offset_s, 6)) for event in expected
    )
    stdin(monkeypatch, Pipe(raw, 50_000))
    assert main(["stream", "-", *options]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == len(lines)
    assert lines[0]["label"] in table[0]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("events", [[], ["--events", "--threshold", "0.3"]])
def test_cli_writes_to_a_file(
    form: str, events: list[str], scene: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:  # fmt: skip
    output = tmp_path / f"live.{form}"
    stdin(monkeypatch, Pipe(scene.astype("<f4").tobytes(), 50_000))
    raw = ["--rate", str(RATE), "--encoding", "f32le"]
    assert main(["stream", "-", *raw, *events, "--top", "2", "-o", str(output)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"wrote {output} (" in shown.err
    text = output.read_text("utf-8")
    if form == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        rows = rows if events else [{**row, **tag} for row in rows for tag in row["tags"]]
    else:
        rows = list(csv.DictReader(io.StringIO(text), delimiter="\t" if form == "tsv" else ","))
        assert list(rows[0]) == ["file", "onset_s", "offset_s", "label", "mid", "probability"]
    assert {row["file"] for row in rows} == {"-"}
    assert any((row["label"], row["mid"]) == ("Speech", "/m/09x0r") for row in rows)
    assert all(0 <= float(row["onset_s"]) < float(row["offset_s"]) <= len(scene) / RATE for row in rows)


def test_cli_keeps_what_an_interrupted_stream_has_written(
    scene: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    class Interrupted(Pipe):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > len(scene) * 3:
                raise KeyboardInterrupt
            return super().read(size)

    output = tmp_path / "live.csv"
    stdin(monkeypatch, Interrupted(scene.astype("<f4").tobytes(), 50_000))
    assert main(["stream", "-", "--rate", str(RATE), "--encoding", "f32le", "-o", str(output)]) == 130
    assert len(output.read_text("utf-8").splitlines()) > 3
    assert f"wrote {output} (" in capsys.readouterr().err
    assert main(["stream", "-", "-o", str(tmp_path / "live.json")]) == 2
    assert "name the file .jsonl" in capsys.readouterr().err


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

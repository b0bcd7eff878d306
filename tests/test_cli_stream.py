"""`pannsx stream`: lines while the pipe goes on, events, tables, and pipes that hold no sound."""

from __future__ import annotations

import csv
import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import streams
from small_models import noise
from streams import RATE, Captured, Pipe, collected, found_whole, piped_wav, stdin

from pannsx import AudioTagger, StreamTagger
from pannsx.cli import main
from pannsx.events import EventSettings

tagger, scene = streams.tagger, streams.scene


def test_prints_while_the_pipe_goes_on(
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


def test_raw_samples_and_table(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
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


def test_classes_and_leaves(tagger: AudioTagger, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
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
def test_bad_pipes(content: bytes, message: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    stdin(monkeypatch, Pipe(content, 100))
    assert main(["stream", "-"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err


def test_not_finite_samples(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    samples = noise(RATE).astype("<f4")
    samples[20_000] = np.inf
    stdin(monkeypatch, Pipe(samples.tobytes(), 40_000))
    assert main(["stream", "-", "--rate", str(RATE), "--encoding", "f32le"]) == 1
    assert "infinite" in capsys.readouterr().err


def test_usage(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert main(["stream", "-", "--model", "Cnn41"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["stream", "no such pipe"]) == 1
    stdin(monkeypatch, Pipe(b"", 1))
    assert main(["stream", "-", "--rate", "32000", "--device", "abacus"]) == 2
    assert "abacus" in capsys.readouterr().err
    stdin(monkeypatch, Pipe(b"", 1))
    assert main(["stream", "-", "--rate", "7"]) == 1
    assert "7 Hz" in capsys.readouterr().err


def test_events(
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
def test_writes_to_a_file(
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


def test_keeps_what_an_interrupted_stream_has_written(
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

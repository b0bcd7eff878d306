"""``pannsx tag`` with the bundled checkpoint: every format, every kind of source, bad files among good."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from cli_files import wav_bytes, write_wav

from pannsx import AudioTagger
from pannsx.cli import main
from pannsx.weights.manifest import DEFAULT_CHECKPOINT

DIGITS = 1e-5  # relative: probabilities are printed with six significant digits

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger()


def test_table(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    paths = [write_wav(tmp_path / "b.wav", 1.5), write_wav(tmp_path / "a.wav", 0.5, seed=1)]
    assert main(["tag", *paths, "--top", "2"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "pannsx: 2 of 2 tagged\n"
    paragraphs = shown.out.split("\n\n")
    for paragraph, path, seconds in zip(paragraphs, paths, ("1.5", "0.5"), strict=True):
        head, *lines = paragraph.splitlines()
        assert head == f"{path}  ({seconds} s)"
        for line, tag in zip(lines, tagger.inference(path).top(2), strict=True):
            assert line.split()[0] == f"{tag.probability:.3f}"
            assert line.endswith(f"  {tag.label}")


def test_json(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    paths = [write_wav(tmp_path / f"{seed}.wav", 1 + seed / 4, seed) for seed in range(3)]
    assert main(["tag", *paths, "--format", "json", "--top", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["file"] for entry in found] == paths
    for entry, path in zip(found, paths, strict=True):
        result = tagger.inference(path)
        assert set(entry) == {"file", "duration_s", "model", "tags"}
        assert entry["duration_s"] == result.duration_s
        assert entry["model"] == DEFAULT_CHECKPOINT
        assert [tag["label"] for tag in entry["tags"]] == [tag.label for tag in result.top(4)]
        expected = [tag.probability for tag in result.top(4)]
        assert [tag["probability"] for tag in entry["tags"]] == pytest.approx(expected, rel=DIGITS)


def test_csv(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    path = write_wav(tmp_path / 'a, "quoted" name.wav' if sys.platform != "win32" else tmp_path / "a, b.wav")
    assert main(["tag", path, "--format", "csv", "--top", "600"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    result = tagger.inference(path)
    assert list(rows[0]) == ["file", "rank", "label", "probability"]
    assert {row["file"] for row in rows} == {path}
    assert [int(row["rank"]) for row in rows] == list(range(1, 528))
    assert [row["label"] for row in rows] == [tag.label for tag in result.top(527)]
    expected = [tag.probability for tag in result.top(527)]
    assert [float(row["probability"]) for row in rows] == pytest.approx(expected, rel=DIGITS)


def test_threshold(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav")
    threshold = tagger.inference(path).top(7)[-1].probability
    assert main(["tag", path, "--format", "json", "--threshold", f"{threshold - 1e-6}"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["tags"]) == 7
    assert main(["tag", path, "--format", "json", "--threshold", f"{threshold - 1e-6}", "--top", "2"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["tags"]) == 2
    assert main(["tag", path, "--threshold", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["  no tag reaches 1"]


def test_bad_files_do_not_stop_the_others(tmp_path: Path, capsys: Captured) -> None:
    first, last = write_wav(tmp_path / "a.wav"), write_wav(tmp_path / "z.wav", 0.7)
    text, empty, missing = (str(tmp_path / name) for name in ("text.wav", "empty.wav", "missing.wav"))
    Path(text).write_text("this is no sound")
    Path(empty).touch()
    pattern = str(tmp_path / "*.flac")
    assert main(["tag", first, text, empty, missing, pattern, last, "--format", "csv", "--top", "1"]) == 1
    shown = capsys.readouterr()
    assert [row["file"] for row in csv.DictReader(io.StringIO(shown.out))] == [first, last]
    complaints = shown.err.splitlines()
    assert complaints[0] == f"pannsx: no file matches the pattern {pattern!r}"
    assert complaints[1].startswith(f"pannsx: {text}: is not audio: it is text")
    assert complaints[2].startswith(f"pannsx: {empty}: is not audio: it is an empty file")
    assert complaints[3].startswith(f"pannsx: {missing}: there is no file")
    assert complaints[4:] == ["pannsx: 2 of 5 tagged, 3 failed, 1 skipped (1 without audio files)"]


def test_nothing_but_bad_files(tmp_path: Path, capsys: Captured) -> None:
    assert main(["tag", str(tmp_path / "missing.wav"), "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == []
    assert main(["tag", str(tmp_path / "*.wav"), "--format", "json"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no file matches" in shown.err


def test_a_folder(tmp_path: Path, capsys: Captured) -> None:
    expected = [write_wav(tmp_path / name, 0.4) for name in ("b.wav", "sub/a.wav")]
    (tmp_path / "notes.txt").write_text("not for here")
    assert main(["tag", str(tmp_path), "--format", "json"]) == 0
    assert [entry["file"] for entry in json.loads(capsys.readouterr().out)] == expected


def test_standard_input(tagger: AudioTagger, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    sound = wav_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sound)))
    assert main(["tag", "-", "--format", "json", "--top", "1"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["file"] == "-"
    assert entry["tags"][0]["label"] == tagger.inference(sound).top(1)[0].label


def test_window_and_overlap_are_used(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 4)
    found = []
    for options in ([], ["--window", "1"], ["--window", "1", "--overlap", "0.5"]):
        assert main(["tag", path, "--format", "json", *options]) == 0
        found.append(json.loads(capsys.readouterr().out)[0]["tags"])
    assert found[0] != found[1] != found[2]
    assert main(["tag", path, "--window", "1", "--overlap", "1"]) == 2
    assert "overlap_s is 1.0 s" in capsys.readouterr().err


def test_impossible_networks_end_with_one_line(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 0.4)
    for status, options, said in (
        (2, ["--device", "cuda:99"], "cuda:99"),
        (2, ["--device", "abacus"], "unknown device 'abacus'"),
        (1, ["--model", "Cnn14_mel32"], "no weights were ever released for Cnn14_mel32"),
        (1, ["--model", "Cnn14", "--checkpoint", str(tmp_path / "none.pth")], "none.pth"),
    ):
        assert main(["tag", path, *options]) == status
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("pannsx: ")
        assert len(shown.err.splitlines()) == 1
        assert said in shown.err


def test_table_for_a_terminal_without_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "näme.wav")
    write_wav(Path(name), 0.4)
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert main(["tag", name]) == 0
    shown = ascii_only.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "n\\xe4me.wav" in shown

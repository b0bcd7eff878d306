"""Fetching with a stand-in for yt-dlp on the PATH, which behaves as the video's id tells it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
from packing import noise, write_list

from train import download as module
from train.data import pace as pace_module
from train.data.ledger import Ledger
from train.data.pace import LONGEST_PAUSE_S, Pace
from train.data.yt_dlp import Fetcher
from train.download import BLOCKED_IN_A_ROW, DownloadError, download, main

STAND_IN = """
import json, os, pathlib, shutil, sys, time
arguments = sys.argv[1:]
video = arguments[-1].partition("watch?v=")[2]
folder = pathlib.Path(os.environ["STAND_IN_FOLDER"])
with open(folder / "calls.jsonl", "a") as log:
    log.write(json.dumps({"id": video, "at": time.time(), "arguments": arguments}) + "\\n")
def fail(message):
    print("WARNING: something else", file=sys.stderr)
    print("ERROR: [youtube] " + video + ": " + message, file=sys.stderr)
    sys.exit(1)
target = arguments[arguments.index("--output") + 1].replace("%%", "%")
suffix = arguments[arguments.index("--audio-format") + 1]
if "private" in video:
    fail("Private video. Sign in if you've been granted access")
if "blocked" in video:
    fail("Sign in to confirm you\\u2019re not a bot")
tries = sum(json.loads(line)["id"] == video for line in open(folder / "calls.jsonl"))
if "flaky" in video and tries == 1:
    pathlib.Path(target.replace("%(ext)s", "webm.part")).write_bytes(b"half a video")
    fail("Unable to download: timed out")
if "slow" in video:
    time.sleep(60)
if "noise" in video:
    pathlib.Path(target.replace("%(ext)s", suffix)).write_bytes(b"no audio")
else:
    shutil.copy(folder / "clip.flac", target.replace("%(ext)s", suffix))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``yt-dlp`` on the PATH; its calls are in ``calls.jsonl``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    soundfile.write(folder / "clip.flac", noise(0, 8000), 8000, subtype="PCM_16")
    script = folder / "stand_in.py"
    script.write_text(STAND_IN, encoding="utf-8")
    if os.name == "nt":
        (folder / "yt-dlp.bat").write_text(f'@"{sys.executable}" -S "{script}" %*\n')
    else:
        (folder / "yt-dlp").write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{script}" "$@"\n')
        (folder / "yt-dlp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_FOLDER", str(folder))
    return folder


def calls(stand_in: Path) -> list[dict[str, Any]]:
    path = stand_in / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(tmp_path: Path, names: list[str], *more: str, expected: int = 0) -> Path:
    segments = write_list(tmp_path / "eval_segments.csv", {name: [0] for name in names})
    folder = tmp_path / "audios 100%"
    assert main([str(folder), str(segments), "--per-second", "1000", *more]) == expected
    return folder


def ledger(folder: Path) -> dict[str, tuple[str, int]]:
    """The last state and the attempts of each id, straight from the file."""
    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    return {line["id"]: (line["state"], line["attempts"]) for line in lines}


def test_fetched_into_the_published_layout(
    tmp_path: Path, stand_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["-good000000", "good0000001", "private0000", "noise000000"]
    folder = run(tmp_path, names)
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert there == ["eval_segments/Y-good000000.flac", "eval_segments/Ygood0000001.flac", "ledger.jsonl"]
    assert ledger(folder) == {
        "-good000000": ("have", 1),
        "good0000001": ("have", 1),
        "private0000": ("gone", 1),
        "noise000000": ("failed", 1),
    }
    assert "2 have, 1 gone, 1 failed" in capsys.readouterr().out
    with Ledger(folder / "ledger.jsonl") as read:
        entry = read["private0000"]
        assert entry is not None
        assert entry.reason.startswith("[youtube] private0000: Private video")


def test_arguments(tmp_path: Path, stand_in: Path) -> None:
    """A section of a video, and an id that looks like an option is none."""
    run(tmp_path, ["-good000000"], "--yt-dlp-arguments=--proxy=http://localhost:1")
    arguments = calls(stand_in)[0]["arguments"]
    assert arguments[-2:] == ["--", "https://www.youtube.com/watch?v=-good000000"]
    assert arguments[arguments.index("--download-sections") + 1] == "*30.000-40.000"
    assert "--proxy=http://localhost:1" in arguments


def test_goes_on_where_it_was(tmp_path: Path, stand_in: Path) -> None:
    """Nothing is fetched twice, what is gone is left alone, what failed is tried again."""
    names = ["good0000001", "flaky000000", "private0000", "copied00000"]
    copied = tmp_path / "audios 100%" / "eval_segments" / "Ycopied00000.wav"
    copied.parent.mkdir(parents=True)
    copied.write_bytes(b"from elsewhere")
    folder = run(tmp_path, names)
    assert ledger(folder)["flaky000000"] == ("failed", 1)
    assert ledger(folder)["copied00000"][0] == "have"
    run(tmp_path, names)
    assert ledger(folder)["flaky000000"] == ("have", 2)
    asked = [call["id"] for call in calls(stand_in)]
    assert sorted(asked) == ["flaky000000", "flaky000000", "good0000001", "private0000"]
    run(tmp_path, names, "--retry-gone")
    assert [call["id"] for call in calls(stand_in)][4:] == ["private0000"]
    (folder / "eval_segments" / "Ygood0000001.flac").unlink()
    run(tmp_path, names)
    assert [call["id"] for call in calls(stand_in)][5:] == ["good0000001"], (
        "the folder counts, not the ledger"
    )


def test_a_torn_ledger_costs_one_segment(tmp_path: Path, stand_in: Path) -> None:
    folder = run(tmp_path, ["private0000", "private0001"])
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    run(tmp_path, ["private0000", "private0001"])
    assert len(calls(stand_in)) == 3
    with Ledger(path) as read:
        assert read["private0000"] is not None
        assert read["private0001"] is not None
    Ledger(path).close()


def test_failures_are_given_up_at_last(tmp_path: Path, stand_in: Path) -> None:
    with Ledger(tmp_path / "audios 100%" / "ledger.jsonl") as written:
        for _ in range(module.MAX_ATTEMPTS):
            written.record("good0000001", "failed", "timed out")
    run(tmp_path, ["good0000001"])
    assert calls(stand_in) == []


def test_refused(tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It slows down, then stops; being refused is not held against the segments."""
    monkeypatch.setattr(pace_module, "LONGEST_PAUSE_S", 0.005)
    monkeypatch.setattr(module, "BLOCKED_IN_A_ROW", 3)
    names = [f"blocked{number:04d}" for number in range(8)]
    folder = run(tmp_path, names, "--workers", "1", expected=1)
    assert len(calls(stand_in)) == 3
    assert set(ledger(folder).values()) == {("blocked", 0)}
    segments = write_list(tmp_path / "list.csv", {name: [0] for name in names})
    fetcher = Fetcher(str(stand_in / "yt-dlp"))
    with pytest.raises(DownloadError, match="the last 3 requests were refused; wait some hours"):
        download(folder, [segments], fetcher, n_workers=1, per_second=1000)
    assert BLOCKED_IN_A_ROW > 3


def test_pace() -> None:
    now = [100.0]
    pace = Pace(per_second=2.0, clock=lambda: now[0])
    assert [pace.turn_s() for _ in range(3)] == [0.0, 0.5, 1.0]
    now[0] += 10
    assert pace.turn_s() == 0.0
    pace.tell("blocked")
    assert pace.turn_s() == 1.0
    assert pace.turn_s() == 2.0
    for _ in range(20):
        pace.tell("blocked")
    assert pace.turn_s() >= LONGEST_PAUSE_S
    for _ in range(20):
        pace.tell("have")
    now[0] += 1000
    assert [pace.turn_s() for _ in range(2)] == [0.0, 0.5]


def test_calls_are_kept_apart(tmp_path: Path, stand_in: Path) -> None:
    names = [f"good{number:07d}" for number in range(4)]
    begin = time.monotonic()
    run(tmp_path, names, "--per-second", "10")
    assert time.monotonic() - begin >= 0.3
    run(tmp_path, [*names, "good0000009", "good0000010"], "--limit", "1")
    assert len(calls(stand_in)) == 5


def test_a_slow_video_is_given_up(tmp_path: Path, stand_in: Path) -> None:
    folder = run(tmp_path, ["slow0000000"], "--timeout", "0.5")
    with Ledger(folder / "ledger.jsonl") as read:
        assert read["slow0000000"] == ("failed", "no answer in 0.5 s", 1)


def test_ids_cannot_leave_the_folder(tmp_path: Path, stand_in: Path) -> None:
    folder = run(tmp_path, ["../../etc/x"])
    assert ledger(folder)["../../etc/x"][0] == "gone"
    assert calls(stand_in) == []


def test_long_lists_have_parts(tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_SIZE", 2)
    folder = run(tmp_path, ["good0000000", "good0000001", "good0000002"], "--format", "flac")
    assert (folder / "eval_segments" / "eval_segments_part01" / "Ygood0000002.flac").is_file()


def test_without_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, ["good0000000"], "--program", "no-such-program", expected=1)
    assert "no-such-program is not on the PATH" in capsys.readouterr().err
    with pytest.raises(ValueError, match="0 workers"):
        download(tmp_path, [], Fetcher("yt-dlp"), n_workers=0)

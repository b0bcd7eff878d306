"""A file of three hours: how much memory does it take, and is a second of it as quick as of short clips?

    python -m benchmarks.memory

The bundled model tags a file at 44.1 kHz, frames included; before and after it tags clips of 10 s of
the same recording.  Memory is the system's count of resident memory, sampled for its peak.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import harness
from benchmarks.conditions import ROOT
from benchmarks.resident import Peak, resident_bytes
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import Times
from pannsx import AudioTagger

QUESTION = harness.Question(
    "memory",
    "A file of three hours: how much memory does it take, and is a second of it as quick as of short clips?",
    rounds=2,
    quick_rounds=1,
)
N_CLIPS = 90
MEGABYTE = 1e6


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=int, default=180, help="of the file (default: %(default)s)")
    parser.add_argument(
        "--format", choices=("flac", "ogg"), default="flac", help="of the file (default: %(default)s)"
    )


def measure(given: argparse.Namespace) -> Findings:
    duration_s = 60 * (5 if given.quick else given.minutes)
    with tempfile.TemporaryDirectory() as folder:
        long_file = Path(folder) / f"long.{given.format}"
        clip_file = Path(folder) / f"clip.{given.format}"
        for path, seconds in ((long_file, duration_s), (clip_file, 10)):
            command = [sys.executable, "-m", "benchmarks.recordings", str(path), str(seconds)]
            subprocess.run(command, cwd=ROOT, check=True)
        return _measure(long_file, clip_file, duration_s, given.rounds)


def _measure(long_file: Path, clip_file: Path, duration_s: int, rounds: int) -> Findings:
    found = Findings()
    tagger = AudioTagger(device="cpu")
    loaded = resident_bytes()
    tagger.inference(clip_file)
    one_clip = resident_bytes()
    clips = [clip_file] * N_CLIPS
    _tag(tagger, clips[:8])
    n_seconds = 10 * N_CLIPS
    long_times, clip_times, peaks, frames_bytes = [], [], [], 0
    for _ in range(rounds):
        before = _tag(tagger, clips)
        with Peak() as peak:
            begin = time.perf_counter()
            result = tagger.inference(long_file)
            took = time.perf_counter() - begin
        if result.framewise is not None:
            frames_bytes = result.framewise.nbytes
        del result
        peaks.append(peak.bytes)
        long_times.append(took / duration_s)
        clip_times.append((before + _tag(tagger, clips)) / (2 * n_seconds))
    title = f"{duration_s / 60:g} minutes of {long_file.suffix[1:].upper()} at 44.1 kHz"
    comparison = Comparison(
        title,
        (Entry("one long file", Times(tuple(long_times))), Entry("clips of 10 s", Times(tuple(clip_times)))),
        audio_s=1.0,
        note="Time for a second of audio.",
    )
    found.comparisons.append(comparison)
    above = (max(peaks) - loaded - frames_bytes) / MEGABYTE
    found.facts += [
        Fact("resident with the model loaded, libraries included", loaded / MEGABYTE, "MB"),
        Fact("resident after one clip of 10 s", one_clip / MEGABYTE, "MB"),
        Fact("peak while the long file is tagged", max(peaks) / MEGABYTE, "MB"),
        Fact("of it, the returned framewise array", frames_bytes / MEGABYTE, "MB"),
        Fact("peak above one clip, without that array", above - (one_clip - loaded) / MEGABYTE, "MB"),
        Fact("seconds of audio tagged in a second", 1 / comparison.entries[0].times.median, ""),
    ]
    found.goals += [
        Goal("peak above the loaded model, framewise array apart, MB", above, at_most=300),
        Goal(
            "throughput on the long file, of that on clips of 10 s",
            comparison.ratio("clips of 10 s", to="one long file"),
            at_least=0.95,
        ),
    ]
    return found


def _tag(tagger: AudioTagger, clips: list[Path]) -> float:
    """Seconds to tag all clips, including frames, like the long file."""
    begin = time.perf_counter()
    for _ in tagger.iter_inference(clips, framewise=True):
        pass
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()

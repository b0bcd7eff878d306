"""A corpus on this machine: how fast is it, and how much memory does it take?

    python -m benchmarks.corpus

Generated clips of 1 to 30 s, a quarter each WAV, FLAC, MP3 and Ogg at 44.1 kHz, and hour-long files. The
bundled model tags and embeds them: as ``pannsx corpus`` does, in a plain loop over ``AudioTagger.inference``,
and from decoded arrays, without files. Clips are decoded alone, too: a corpus decodes on the processors that
run the network, so its time is that of both. Then a stage that does nothing runs a million rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks import harness
from benchmarks.recordings import write as write_recording
from benchmarks.resident import Peak, family_bytes
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import Times, paired_ratio
from pannsx import AudioTagger, audio
from pannsx.corpus import output_schema, process

QUESTION = harness.Question(
    "corpus", "A corpus on this machine: how fast is it, and how much memory does it take?", rounds=5,
    quick_rounds=1,
)  # fmt: skip
RATE = 44_100
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
MEGABYTE = 1e6
N_DECODED = 256
"""Clips that are held as arrays; their time is taken as that of as much audio of the others."""

CORPUS, LOOP, ARRAYS, DECODING = "pannsx corpus", "a loop over inference", "from arrays", "decoding alone"


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=int, default=20_000, help="number of clips (default: %(default)s)")
    parser.add_argument(
        "--hours", type=int, default=100, help="number of hour-long files (default: %(default)s)"
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows without work (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, help="processes with a network (default: as pannsx corpus)")
    parser.add_argument("--material", type=Path, help="folder that keeps the files for another run")


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    n_clips, n_hours, n_rows = (given.clips, given.hours, given.rows)
    if given.quick:
        n_clips, n_hours, n_rows = min(n_clips, 120), min(n_hours, 1), min(n_rows, 20_000)
    with tempfile.TemporaryDirectory() as name:
        folder = given.material or Path(name)
        if n_clips:
            _clips(folder, Path(name), n_clips, given, found)
        if n_hours:
            _hours(folder, Path(name), n_hours, given, found)
        if n_rows:
            _rows(Path(name), n_rows, found)
    return found


def _clips(folder: Path, scratch: Path, n: int, given: argparse.Namespace, found: Findings) -> None:
    paths = list(_made_clips(folder / "clips", n))
    total_s = sum(seconds for _, seconds in paths)
    files = [path for path, _ in paths]
    tagger = AudioTagger(device="cpu")
    held = [audio.load(path, tagger.sample_rate).waveform for path in files[:N_DECODED]]
    held_s = sum(map(len, held)) / tagger.sample_rate
    manifest = _manifest(scratch / "clips.jsonl", files)
    times: dict[str, list[float]] = {name: [] for name in (CORPUS, LOOP, ARRAYS, DECODING)}
    peaks = []
    for round_ in range(given.rounds):
        with Peak(family_bytes, 0.5) as peak:
            summary = process(
                manifest, scratch / f"clips-{round_}", workers=given.workers, threads=given.threads
            )
        peaks.append(peak.bytes)
        if summary.n_failed:
            raise RuntimeError(f"{summary.n_failed} generated clips failed")
        times[CORPUS].append((summary.took_s - _start_s(scratch, round_, given)) / total_s)
        times[ARRAYS].append(_seconds(tagger.iter_inference(held)) / held_s)
        times[LOOP].append(
            _seconds(tagger.inference(path, framewise=False) for path in files[:N_DECODED]) / held_s
        )
        with ThreadPoolExecutor(given.threads) as pool:
            decoded = pool.map(lambda path: audio.load(path, tagger.sample_rate), files[:N_DECODED])
            times[DECODING].append(_seconds(decoded) / held_s)
    entries = tuple(Entry(name, Times(tuple(seconds))) for name, seconds in times.items())
    title = f"{n:,} clips of 1 to 30 s, {total_s / 3600:.1f} hours"
    note = "Time for a second of audio; the start of processes is left out."
    found.comparisons.append(Comparison(title, entries, audio_s=1.0, note=note))
    alone = paired_ratio(times[ARRAYS], times[CORPUS])
    both = [a + d for a, d in zip(times[ARRAYS], times[DECODING], strict=True)]
    found.facts += [
        Fact("seconds of audio a second, clips", 1 / float(np.median(times[CORPUS])), ""),
        Fact("clips a second", n / total_s / float(np.median(times[CORPUS])), ""),
        Fact("peak of all processes, clips", max(peaks) / MEGABYTE, "MB"),
        Fact("times as fast as a loop over inference", paired_ratio(times[LOOP], times[CORPUS]), ""),
    ]
    found.goals += [
        Goal("throughput on clips, of that of the network alone on decoded arrays", alone, at_least=0.95),
        Goal(
            "throughput on clips, of that of decoding and network, each alone",
            paired_ratio(both, times[CORPUS]),
            at_least=0.95,
        ),
    ]


def _start_s(scratch: Path, round_: int, given: argparse.Namespace) -> float:
    """Seconds of a run of one clip: processes, imports, weights."""
    path, _ = next(_made_clips(scratch / "one", 1))
    return process(path, scratch / f"one-{round_}", workers=given.workers, threads=given.threads).took_s


def _hours(folder: Path, scratch: Path, n: int, given: argparse.Namespace, found: Findings) -> None:
    duration_s = 300 if given.quick else 3600
    original = folder / f"hour-{duration_s}.flac"
    if not original.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_recording(original, duration_s)
    lines = [{"id": str(i), "path": str(original)} for i in range(n)]
    manifest = scratch / "hours.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with Peak(family_bytes, 0.5) as peak:
        summary = process(manifest, scratch / "hours", workers=given.workers, threads=given.threads)
    found.facts += [
        Fact(f"seconds of audio a second, {n} files of {duration_s} s", summary.audio_s / summary.took_s, ""),
        Fact(f"peak of all processes, {n} files of {duration_s} s", peak.bytes / MEGABYTE, "MB"),
    ]


def _rows(scratch: Path, n: int, found: Findings) -> None:
    peaks = {}
    stage = import_module("benchmarks.corpus").Nothing()  # of a module that other processes can import
    for rows in (n // 100, n):
        manifest = scratch / f"{rows}.jsonl"
        with manifest.open("w", encoding="utf-8") as file:
            for i in range(rows):
                file.write(json.dumps({"id": f"clip-{i:09}", "audio_filepath": f"/sounds/{i:09}.wav"}) + "\n")
        with Peak(family_bytes, 0.5) as peak:
            summary = process(manifest, scratch / f"rows-{rows}", stage=stage)
        peaks[rows] = peak.bytes
        took_s = summary.took_s
    a_row = 1000 * took_s / n
    grown = (peaks[n] - peaks[n // 100]) / MEGABYTE
    found.facts += [
        Fact(f"peak of all processes, {rows:,} rows without work", n_bytes / MEGABYTE, "MB")
        for rows, n_bytes in peaks.items()
    ]
    found.goals += [
        Goal(f"a row of {n:,} without work, ms", a_row, at_most=0.2),
        Goal(f"memory that {n:,} rows take more than a hundredth of them, MB", grown, at_most=50),
    ]


class Nothing:
    """A stage that does nothing."""

    group_rows = 32
    schema = output_schema(("embedding",), embedding_size=1, n_classes=1)

    def describe(self) -> dict[str, Any]:
        return {"model": None}

    def begin(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch

    def finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        n = len(batch["id"])
        return {
            "id": batch["id"], "path": batch["path"], "offset_s": np.zeros(n), "duration_s": np.zeros(n),
            "status": np.full(n, "ok", object), "error": np.full(n, None),
            "embedding": np.zeros((n, 1), np.float32),
        }  # fmt: skip


def _made_clips(folder: Path, n: int) -> Iterator[tuple[Path, float]]:
    """The paths of ``n`` clips and their lengths; those that are not there are made."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lengths_s = rng.uniform(1, 30, n)
    noise = rng.standard_normal(40 * RATE).astype(np.float32)
    time_s = np.arange(30 * RATE) / RATE
    for i, seconds in enumerate(lengths_s.tolist()):
        path = folder / f"{i:06}{SUFFIXES[i % len(SUFFIXES)]}"
        if not path.exists():
            n_samples = round(seconds * RATE)
            start = i * 997 % (10 * RATE)
            tone = np.sin(2 * np.pi * (100 + 7 * (i % 500)) * time_s[:n_samples])
            sound = 0.2 * tone + 0.1 * noise[start : start + n_samples]
            with soundfile.SoundFile(path, "w", RATE, channels=1) as file:
                for begin in range(0, n_samples, RATE):  # libsndfile overflows its stack on a long Ogg
                    file.write(sound[begin : begin + RATE].astype(np.float32))
        yield path, seconds


def _manifest(path: Path, files: list[Path]) -> Path:
    path.write_text("".join(json.dumps({"path": str(file)}) + "\n" for file in files), encoding="utf-8")
    return path


def _seconds(work: Any) -> float:
    begin = time.perf_counter()
    for _ in work:
        pass
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()

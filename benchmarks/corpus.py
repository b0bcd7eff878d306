"""A corpus on this machine: how fast is it, and how much memory does it take?

    python -m benchmarks.corpus
    python -m benchmarks.corpus --pieces FOLDER --material FOLDER --minutes 20     until all is measured

Generated clips of 1 to 30 s, a quarter each WAV, FLAC, MP3 and Ogg at 44.1 kHz, and hour-long files. The
bundled model tags and embeds them: as ``pannsx corpus`` does, with one worker and with one a thread,
on Ray if it is installed, in a plain loop over ``AudioTagger.inference``, and from decoded arrays, without
files. Clips are decoded alone, too: a corpus decodes on the processors that run the network, so its time is
that of both. Then a stage that does nothing runs a million rows.

On two cores 20,000 clips take 5 minutes in each round for each of the two numbers of workers, 25 hours take
1.5, a million rows 1 to 2. Each of these is a piece of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks import harness
from benchmarks.recordings import write as write_recording
from benchmarks.resident import Peak, family_bytes
from benchmarks.results import Absent, Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import Times, paired_ratio
from pannsx import AudioTagger, audio
from pannsx.atomic import replacing
from pannsx.corpus import output_schema, process

QUESTION = harness.Question(
    "corpus", "A corpus on this machine: how fast is it, and how much memory does it take?", rounds=3,
    quick_rounds=1,
)  # fmt: skip
RATE = 44_100
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
MEGABYTE = 1e6
N_DECODED = 256
"""Clips that are held as arrays; their time is taken as that of as much audio of the others."""
RAY_CLIPS = 2_000
"""Clips that Ray runs in a round, at most; their time is taken as that of the others."""
HOURS_OF_PIECE = 25

CORPUS, SPREAD, RAY = "pannsx corpus, one worker", "pannsx corpus, a worker for each thread", "on Ray"
LOOP, ARRAYS, DECODING = "a loop over inference", "from arrays", "decoding alone"

Numbers = dict[str, Any]


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=int, default=20_000, help="number of clips (default: %(default)s)")
    parser.add_argument(
        "--distinct", type=int, help="number of files that the clips are, in turn (default: all are distinct)"
    )
    parser.add_argument(
        "--hours", type=int, default=100, help="number of hour-long files (default: %(default)s)"
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows without work (default: %(default)s)"
    )
    parser.add_argument("--material", type=Path, help="folder that keeps the files for another run")
    parser.add_argument("--no-ray", action="store_true", help="leave Ray out")
    parser.add_argument(
        "--pieces", type=Path, help="folder that keeps the numbers of finished pieces: another run goes on"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no piece after this many minutes"
    )


class Pieces:
    """The pieces of the measurement; those that an earlier run has finished are read.

    Args:
        folder: where their numbers are kept.
        minutes: begin no piece after this many minutes.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._until = time.monotonic() + 60 * minutes

    def measure(self, name: str, work: Callable[[], Numbers]) -> Numbers:
        """The numbers of a piece.

        Raises:
            SystemExit: the time is up.
        """
        path = self._folder / f"{name}.json"
        if path.exists():
            found: Numbers = json.loads(path.read_text("utf-8"))
            return found
        if time.monotonic() > self._until:
            sys.exit(f"the time is up before the piece {name}; the same command goes on with it")
        begin = time.monotonic()
        found = work()
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(found), "utf-8")
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
        return found


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    n_clips, n_hours, n_rows = (given.clips, given.hours, given.rows)
    if given.quick:
        n_clips, n_hours, n_rows = min(n_clips, 120), min(n_hours, 1), min(n_rows, 20_000)
    with tempfile.TemporaryDirectory() as name:
        pieces = Pieces(given.pieces or Path(name) / "pieces", given.minutes)
        folder = given.material or Path(name)
        if n_clips:
            _clips(folder, Path(name), n_clips, given, pieces, found)
        if n_hours:
            _hours(folder, Path(name), n_hours, given, pieces, found)
        if n_rows:
            _rows(Path(name), n_rows, pieces, found)
    return found


def _clips(
    folder: Path, scratch: Path, n: int, given: argparse.Namespace, pieces: Pieces, found: Findings
) -> None:
    distinct = list(_made_clips(folder / "clips", min(n, given.distinct or n)))
    paths = [distinct[i % len(distinct)] for i in range(n)]
    total_s = sum(seconds for _, seconds in paths)
    files = [path for path, _ in distinct[:N_DECODED]]
    (one, _), *_ = distinct
    work: dict[str, Callable[[int], Numbers]] = {
        CORPUS: lambda number: _run(scratch / f"one-{number}", paths, one, 1, given.threads),
        SPREAD: lambda number: _run(scratch / f"each-{number}", paths, one, given.threads, 1),
        RAY: lambda number: _run_on_ray(scratch / f"ray-{number}", paths[:RAY_CLIPS], one, given.threads),
        ARRAYS: lambda number: _arrays(files),
        LOOP: lambda number: _loop(files),
        DECODING: lambda number: _decoding(files, given.threads),
    }
    if (reason := "--no-ray" if given.no_ray else _why_no_ray()) is not None:
        found.absent.append(Absent(RAY, reason))
        del work[RAY]
    measured: dict[str, list[Numbers]] = {name: [] for name in work}
    for number in range(given.rounds):
        for i, (name, run) in enumerate(work.items()):
            piece = f"clips-{n}-{given.threads}threads-round{number}-{i}"
            measured[name].append(pieces.measure(piece, lambda run=run, number=number: run(number)))  # type: ignore[misc]
    times = {name: [each["s"] for each in numbers] for name, numbers in measured.items()}
    entries = tuple(Entry(name, Times(tuple(seconds))) for name, seconds in times.items())
    title = f"{n:,} clips of 1 to 30 s, {total_s / 3600:.1f} hours"
    if len(distinct) < n:
        title += f"; {len(distinct):,} distinct files"
    note = "Time for a second of audio; the start of processes is left out."
    found.comparisons.append(Comparison(title, entries, audio_s=1.0, note=note))
    both = [a + d for a, d in zip(times[ARRAYS], times[DECODING], strict=True)]
    for name in (CORPUS, SPREAD, RAY):
        if name not in times:
            continue
        speed = 1 / float(np.median(times[name]))
        peak = max(each["peak"] for each in measured[name])
        found.facts += [
            Fact(f"seconds of audio a second, clips, {name}", speed, ""),
            Fact(f"clips a second, {name}", n / total_s * speed, ""),
            Fact(f"peak of all processes, clips, {name}", peak / MEGABYTE, "MB"),
            Fact(
                f"times as fast as a loop over inference, {name}", paired_ratio(times[LOOP], times[name]), ""
            ),
        ]
        found.goals += [
            Goal(
                f"throughput on clips, of that of the network alone on decoded arrays, {name}",
                paired_ratio(times[ARRAYS], times[name]),
                at_least=0.85 if name == RAY else 0.95,
            ),
            Goal(
                f"throughput on clips, of that of decoding and network, each alone, {name}",
                paired_ratio(both, times[name]),
                at_least=0.85 if name == RAY else 0.95,
            ),
        ]


def _run(scratch: Path, paths: list[tuple[Path, float]], one: Path, workers: int, threads: int) -> Numbers:
    """Seconds for a second of audio, without those that a run of one clip takes, and the peak of memory."""
    manifest = _manifest(scratch.with_suffix(".jsonl"), [path for path, _ in paths])
    with Peak(family_bytes, 0.5) as peak:
        summary = process(manifest, scratch, workers=workers, threads=threads)
    if summary.n_failed:
        raise RuntimeError(f"{summary.n_failed} generated clips failed")
    start_s = process(one, scratch.with_suffix(".start"), workers=1, threads=threads).took_s
    return {"s": (summary.took_s - start_s) / summary.audio_s, "peak": peak.bytes}


def _run_on_ray(scratch: Path, paths: list[tuple[Path, float]], one: Path, threads: int) -> Numbers:
    """The same on Ray, on this machine: an actor for each thread."""
    import ray.data

    from pannsx.corpus import ray as on_ray

    manifest = _manifest(scratch.with_suffix(".jsonl"), [path for path, _ in paths])
    how: dict[str, Any] = {
        "actors": threads,
        "num_cpus": 1.0,
        "rows_of_task": max(1, len(paths) // (4 * threads)),
    }
    ray.data.DataContext.get_current().enable_progress_bars = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.init(
        "local", num_cpus=threads, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True
    )
    try:
        start_s = on_ray.run(one, scratch.with_suffix(".start"), **how).took_s
        with Peak(family_bytes, 0.5) as peak:
            summary = on_ray.run(manifest, scratch, **how)
    finally:
        ray.shutdown()
    if summary.n_failed:
        raise RuntimeError(f"{summary.n_failed} generated clips failed")
    return {"s": (summary.took_s - start_s) / summary.audio_s, "peak": peak.bytes}


def _why_no_ray() -> str | None:
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


def _arrays(files: list[Path]) -> Numbers:
    tagger = AudioTagger(device="cpu")
    held = [audio.load(path, tagger.sample_rate).waveform for path in files]
    held_s = sum(map(len, held)) / tagger.sample_rate
    _seconds(tagger.iter_inference(held[:8]))
    return {"s": _seconds(tagger.iter_inference(held)) / held_s}


def _loop(files: list[Path]) -> Numbers:
    tagger = AudioTagger(device="cpu")
    tagger.inference(files[0], framewise=False)
    total_s = sum(audio.info(path).duration_s or 0.0 for path in files)
    return {"s": _seconds(tagger.inference(path, framewise=False) for path in files) / total_s}


def _decoding(files: list[Path], threads: int) -> Numbers:
    rate = AudioTagger(device="cpu").sample_rate
    audio.load(files[0], rate)
    total_s = sum(audio.info(path).duration_s or 0.0 for path in files)
    with ThreadPoolExecutor(threads) as pool:
        return {"s": _seconds(pool.map(lambda path: audio.load(path, rate), files)) / total_s}


def _hours(
    folder: Path, scratch: Path, n: int, given: argparse.Namespace, pieces: Pieces, found: Findings
) -> None:
    duration_s = 300 if given.quick else 3600
    original = folder / f"hour-{duration_s}.flac"
    if not original.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = original.with_name(f"_{original.name}")  # a run may be killed here
        write_recording(unfinished, duration_s)
        unfinished.replace(original)

    def piece(first: int, stop: int) -> Numbers:
        lines = [{"id": str(i), "path": str(original)} for i in range(first, stop)]
        manifest = scratch / f"hours-{first}.jsonl"
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        with Peak(family_bytes, 0.5) as peak:
            summary = process(manifest, scratch / f"hours-{first}")
        if summary.n_failed:
            raise RuntimeError(f"{summary.n_failed} of the long files failed")
        return {"audio_s": summary.audio_s, "took_s": summary.took_s, "peak": peak.bytes}

    measured = []
    for first in range(0, n, HOURS_OF_PIECE):
        stop = min(first + HOURS_OF_PIECE, n)
        name = f"hours-{duration_s}-{given.threads}threads-{first}-{stop}"
        measured.append(pieces.measure(name, lambda first=first, stop=stop: piece(first, stop)))  # type: ignore[misc]
    speed = sum(each["audio_s"] for each in measured) / sum(each["took_s"] for each in measured)
    peak = max(each["peak"] for each in measured)
    found.facts += [
        Fact(f"seconds of audio a second, {n} files of {duration_s} s", speed, ""),
        Fact(f"peak of all processes, {n} files of {duration_s} s", peak / MEGABYTE, "MB"),
    ]


def _rows(scratch: Path, n: int, pieces: Pieces, found: Findings) -> None:
    stage = import_module("benchmarks.corpus").Nothing()  # of a module that other processes can import

    def piece(rows: int) -> Numbers:
        manifest = scratch / f"{rows}.jsonl"
        with manifest.open("w", encoding="utf-8") as file:
            for i in range(rows):
                file.write(json.dumps({"id": f"clip-{i:09}", "audio_filepath": f"/sounds/{i:09}.wav"}) + "\n")
        with Peak(family_bytes, 0.5) as peak:
            summary = process(manifest, scratch / f"rows-{rows}", stage=stage, workers=1)
        return {"took_s": summary.took_s, "peak": peak.bytes}

    few, many = (pieces.measure(f"rows-{rows}", lambda rows=rows: piece(rows)) for rows in (n // 100, n))  # type: ignore[misc]
    grown = (many["peak"] - few["peak"]) / MEGABYTE
    found.facts += [
        Fact(f"peak of all processes, {rows:,} rows without work", each["peak"] / MEGABYTE, "MB")
        for rows, each in ((n // 100, few), (n, many))
    ]
    found.goals += [
        Goal(f"a row of {n:,} without work, ms", 1000 * many["took_s"] / n, at_most=0.2),
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
            unfinished = path.with_name(f"_{path.name}")  # a run may be killed here
            with soundfile.SoundFile(unfinished, "w", RATE, channels=1) as file:
                for begin in range(0, n_samples, RATE):  # libsndfile overflows its stack on a long Ogg
                    file.write(sound[begin : begin + RATE].astype(np.float32))
            unfinished.replace(path)
        yield path, seconds


def _manifest(path: Path, files: list[Path]) -> Path:
    lines = (json.dumps({"id": str(i), "path": str(file)}) + "\n" for i, file in enumerate(files))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _seconds(work: Any) -> float:
    begin = time.perf_counter()
    for _ in work:
        pass
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()

"""How long do the end of packing and the selection of clips take at the size of the full AudioSet?

    python -m benchmarks.train_index

Two million made clips with two of 527 labels each, in parts of 1,024 and with no audio behind them: the end
of train.pack, which joins the tables of all parts and finds repeated and identical clips, and train.index
with a black list and clips held out. Each is a process of its own; processor time and private memory are
counted from after the imports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.conditions import ROOT
from benchmarks.resident import Peak, private_bytes
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import Times
from pannsx import labels
from train import index
from train.data.indexed import open_index
from train.data.store import Store, part_path
from train.data.store_writer import PackedClip, finish, read_part
from train.pack import CLIPS_PER_PART

QUESTION = harness.Question(
    "train_index",
    "How long do the end of packing and the selection of clips take at the size of the full AudioSet?",
    rounds=1,
    quick_rounds=1,
)
N_CLIPS, QUICK_CLIPS, BLACK_LISTED, HELD_OUT = 2_000_000, 20_000, 1000, 0.05
STARTED = "--started-here"
WORK = {"pack": "the end of train.pack", "index": "train.index"}


def main() -> None:
    if sys.argv[1:2] == [STARTED]:
        print(json.dumps(_work(sys.argv[2], Path(sys.argv[3]))))
    else:
        harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    n_clips = QUICK_CLIPS if given.quick else N_CLIPS
    found = Findings()
    used: dict[str, list[dict[str, float]]] = {name: [] for name in WORK}
    with tempfile.TemporaryDirectory() as folder:
        _make_parts(Path(folder), n_clips)
        for _ in range(given.rounds):
            for name in WORK:
                command = [sys.executable, "-m", "benchmarks.train_index", STARTED, name, folder]
                done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
                used[name].append(json.loads(done.stdout.splitlines()[-1]))
    entries = tuple(Entry(WORK[name], Times(tuple(one["cpu_s"] for one in used[name]))) for name in WORK)
    found.comparisons.append(Comparison(f"{n_clips:,} clips", entries, note="Processor time."))
    for name, what in WORK.items():
        memory = max(one["bytes"] for one in used[name]) / 1e9
        found.facts.append(Fact(f"private memory of {what}", memory, "GB"))
        found.goals.append(Goal(f"private memory of {what}, GB", memory, at_most=1.0))
        seconds = Times(tuple(one["cpu_s"] for one in used[name])).median
        found.goals.append(Goal(f"processor time of {what}, s", seconds, at_most=60.0))
    return found


def _work(name: str, folder: Path) -> dict[str, float]:
    before, began = private_bytes(), time.process_time()
    with Peak(private_bytes) as peak:
        work: dict[str, Callable[[Path], None]] = {"pack": _finish, "index": _index}
        work[name](folder)
    return {"cpu_s": time.process_time() - began, "bytes": peak.bytes - before}


def _finish(folder: Path) -> None:
    n_parts = len(list((folder / "parts").glob("*.json")))

    def parts() -> Iterator[list[PackedClip]]:
        for number in range(n_parts):
            part = read_part(folder, number)
            if part is None:
                raise RuntimeError(f"part {number} cannot be read")
            yield part[0]

    finish(folder, parts(), labels=labels.audioset(), sample_rate=32_000, n_samples=320_000, variant="rice")


def _index(folder: Path) -> None:
    store = Store(folder)
    arguments = [str(folder / "train.npz"), str(folder), "--black-list", str(folder / "black.txt")]
    arguments += ["--hold-out", str(HELD_OUT), "--held-out", str(folder / "held.npz")]
    if index.main(arguments):
        raise RuntimeError("train.index failed")
    n_left = len(open_index(folder / "train.npz")) + len(open_index(folder / "held.npz"))
    if n_left != len(store) - BLACK_LISTED:
        raise RuntimeError(f"{n_left} clips of {len(store)} are left")


def _make_parts(folder: Path, n_clips: int) -> None:
    """The tables of packed parts, and empty files as their clips."""
    rng = np.random.default_rng(0)
    (folder / "parts").mkdir()
    for part, begin in enumerate(range(0, n_clips, CLIPS_PER_PART)):
        numbers = range(begin, min(begin + CLIPS_PER_PART, n_clips))
        chosen = np.sort(rng.integers(0, 527, (len(numbers), 2)), axis=1).tolist()
        clips = [
            PackedClip(
                f"{number:011d}", tuple(of_clip), 340_000 * place, 340_000, 320_000, number,
                hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest(),
            )
            for place, (number, of_clip) in enumerate(zip(numbers, chosen, strict=True))
        ]  # fmt: skip
        path = part_path(folder, part)
        path.touch()
        path.with_suffix(".json").write_text(
            json.dumps({"clips": clips, "faults": [], "n_bytes": 0}) + "\n", encoding="utf-8"
        )
    black = rng.choice(n_clips, BLACK_LISTED, replace=False)
    (folder / "black.txt").write_text(
        "\n".join(f"{number:011d}" for number in black) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()

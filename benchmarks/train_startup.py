"""How long does a rank of training need to start on the full AudioSet, and how much memory?

    python -m benchmarks.train_startup

A made index of 1.9 million clips with 527 labels, of the full set's size, with no audio behind it. A process
opens it as train.run does: index, labels, balanced sampler, digest of the clips. Processor time and memory
are counted from after the imports. Memory is private to the process; the store's rows are mapped, and shared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.conditions import ROOT
from benchmarks.resident import Peak, private_bytes
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import Times
from pannsx import labels
from train.data.indexed import Indexed, open_index, write_index
from train.data.samplers import Alternate
from train.data.store import FORMAT, Store, row_dtype
from train.loop.provenance import clips_digest

QUESTION = harness.Question(
    "train_startup",
    "How long does a rank of training need to start on the full AudioSet, and how much memory?",
    rounds=3,
    quick_rounds=1,
)
N_CLIPS, QUICK_CLIPS, LABELS_PER_CLIP = 1_900_000, 20_000, 2
STARTED = "--started-here"


def main() -> None:
    if sys.argv[1:2] == [STARTED]:
        print(json.dumps(_start(Path(sys.argv[2]))))
    else:
        harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    n_clips = QUICK_CLIPS if given.quick else N_CLIPS
    with tempfile.TemporaryDirectory() as folder:
        index = _make_index(Path(folder), n_clips)
        command = [sys.executable, "-m", "benchmarks.train_startup", STARTED, str(index)]
        started = [
            json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
            for _ in range(given.rounds)
        ]
    found = Findings()
    times = Times(tuple(one["cpu_s"] for one in started))
    found.comparisons.append(
        Comparison(f"Start on {n_clips:,} clips", (Entry("a rank's start", times),), note="Processor time.")
    )
    memory = max(one["bytes"] for one in started) / 1e9
    found.facts.append(Fact("private memory of a rank's start", memory, "GB"))
    found.goals += [
        Goal("processor time of a rank's start, s", times.median, at_most=4.0),
        Goal("private memory of a rank's start, GB", memory, at_most=0.3),
    ]
    return found


def _start(index: Path) -> dict[str, float]:
    """Open an index as a training run does -> processor time, and peak of private memory."""
    before, began = private_bytes(), time.process_time()
    with Peak(private_bytes) as peak:
        clips = open_index(index)
        targets = clips.targets
        sampler = Alternate(targets, seed=0)
        digest = clips_digest(clips)
        counts = [len(rows) for rows in targets.rows_of_classes]
        rows = sampler.draw(64)
    used = time.process_time() - began
    if len(digest) != 64 or sum(counts) < len(clips) or targets[rows].sum() < len(rows):
        raise RuntimeError("the index was not read whole")
    return {"cpu_s": used, "bytes": peak.bytes - before}


def _make_index(folder: Path, n_clips: int) -> Path:
    """A store's rows and an index of all of them, without any audio."""
    audioset = labels.audioset()
    rng = np.random.default_rng(0)
    rows = np.zeros(n_clips, row_dtype(len(audioset.names), 11))
    rows["id"] = [f"{number:011d}".encode() for number in range(n_clips)]
    frequent = 1.0 / np.arange(1, len(audioset.names) + 1)  # a few classes have most of the clips
    for _ in range(LABELS_PER_CLIP):
        label = rng.choice(len(audioset.names), n_clips, p=frequent / frequent.sum())
        np.bitwise_or.at(
            rows["targets"], (np.arange(n_clips), label >> 3), (1 << (label & 7)).astype(np.uint8)
        )
    store = folder / "store"
    store.mkdir()
    np.save(store / "rows.npy", rows)
    settings = {
        "format": FORMAT, "sample_rate": 32000, "n_samples": 320000, "variant": "raw",
        "labels": list(audioset.names), "label_ids": list(audioset.ids or ()), "n_clips": n_clips,
        "made_with": {"time": time.time()},
    }  # fmt: skip
    (store / "store.json").write_text(json.dumps(settings), "utf-8")
    path = folder / "full.npz"
    write_index(path, Indexed([Store(store)], [np.arange(n_clips)]))
    return path


if __name__ == "__main__":
    main()

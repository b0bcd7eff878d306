"""How fast are packed clips read, one at a time in any order, and how large are they?

    python -m benchmarks.packing

One thread, clips of 10 s at 32 kHz, read in a shuffled order from the disk's cache: what the format
costs, not the disk.  Training of Cnn14 at batch 32 with mixup draws 64 clips a step.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.material import sound
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Fact, Findings
from benchmarks.timing import alternate
from pannsx.labels import LabelSet
from train.data.encoding import as_float, as_pcm
from train.data.store import Store
from train.data.store_writer import write_store

QUESTION = harness.Question(
    "packing", "How fast are packed clips read, one at a time in any order?", rounds=10, one_thread=True
)
RATE, SECONDS, N_CLIPS = 32_000, 10, 64
NAMES = {"raw": "raw int16", "flac": "FLAC per clip"}

Clips = list[NDArray[np.int16]]


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    clips = [as_pcm(0.3 * sound(SECONDS * RATE, RATE, seed)) for seed in range(N_CLIPS)]
    order = np.random.default_rng(0).permutation(N_CLIPS).tolist()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        makers = [(NAMES[variant], partial(_store, folder, clips, order, variant)) for variant in NAMES]
        makers.append(("HDF5, as published", partial(_hdf5, folder, clips, order)))
        calls = gather(makers, found.absent)
        times = alternate(calls, rounds=given.rounds)
        for variant, title in NAMES.items():
            n_bytes = sum(path.stat().st_size for path in (folder / variant / "parts").glob("*.bin"))
            found.facts.append(Fact(f"A clip of 10 s, {title}", n_bytes / N_CLIPS / 1000, "kB"))
            per_second = N_CLIPS / times[title].median
            found.facts.append(Fact(f"Clips a second and core, {title}", per_second, "clips"))
    entries = tuple(Entry(name, times[name]) for name in calls)
    title = f"{N_CLIPS} clips of {SECONDS} s in a shuffled order, as float32"
    found.comparisons.append(Comparison(title, entries, audio_s=float(N_CLIPS * SECONDS)))
    return found


def _store(folder: Path, clips: Clips, order: list[int], variant: str) -> Call:
    write_store(
        folder / variant,
        ((f"{number:011d}", [0], clip) for number, clip in enumerate(clips)),
        labels=LabelSet(("sound",)),
        sample_rate=RATE,
        n_samples=SECONDS * RATE,
        variant=variant,
    )
    store = Store(folder / variant)
    return _reading(store.read, order)


def _hdf5(folder: Path, clips: Clips, order: list[int]) -> Call:
    """A row of one dataset, the file opened for every clip."""
    import h5py

    path = folder / "pack.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("waveform", data=np.stack(clips))

    def read(row: int) -> NDArray[np.int16]:
        with h5py.File(path, "r") as file:
            return np.asarray(file["waveform"][row])

    return _reading(read, order)


def _reading(read: Callable[[int], NDArray[np.int16]], order: list[int]) -> Call:
    def call() -> None:
        for row in order:
            as_float(read(row))

    return call


if __name__ == "__main__":
    main()

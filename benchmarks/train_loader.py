"""What does the loader of training cost: clips a second and core from packed stores, by kind of reader.

    python -m benchmarks.train_loader

Whole batches of 64 clips of 10 s at 32 kHz, one step of Cnn14's training, in balanced order, from the disk's
cache. Times are processor time of the training process and of its readers together: how many cores a card
needs is the card's clips a second, divided by these. Without readers the training process reads itself.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks import harness
from benchmarks.material import sound
from benchmarks.results import Comparison, Entry, Fact, Findings
from benchmarks.timing import Times
from pannsx.labels import LabelSet
from train.data.encoding import as_pcm
from train.data.loader import Readers, training_batches
from train.data.samplers import Balanced
from train.data.store import Store
from train.data.store_writer import write_store

QUESTION = harness.Question(
    "train_loader",
    "How many clips a second and core does the training loader bring?",
    rounds=5,
    quick_rounds=2,
)
RATE, SECONDS, N_CLIPS, BATCH = 32_000, 10, 128, 64
VARIANTS = {"raw": "raw int16", "rice": "Rice codes", "flac": "FLAC per clip"}
READERS: dict[str, tuple[Readers, int]] = {
    "no readers": ("processes", 0),
    "2 threads": ("threads", 2),
    "2 processes": ("processes", 2),
}


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    n_batches = 4 if given.quick else 16
    candidates = {
        f"{VARIANTS[variant]}, {kind}": (variant, *READERS[kind]) for variant in VARIANTS for kind in READERS
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    with tempfile.TemporaryDirectory() as folder:
        stores = {variant: _store(Path(folder) / variant, variant) for variant in VARIANTS}
        for number in range(given.rounds + 1):  # the first one compiles, and fills the disk's cache
            for name, (variant, readers, workers) in candidates.items():
                few = _seconds(stores[variant], readers, workers, n_batches // 4)
                many = _seconds(stores[variant], readers, workers, n_batches)
                if number:  # the difference leaves out the start and the end of the readers
                    seconds[name].append(max(many - few, 1e-6))
    n_read = (n_batches - n_batches // 4) * BATCH
    entries = tuple(Entry(name, Times(tuple(values))) for name, values in seconds.items())
    title = f"{n_read} clips of {SECONDS} s in balanced order, in batches of {BATCH}"
    found.comparisons.append(
        Comparison(title, entries, audio_s=float(n_read * SECONDS), note="Processor time of all readers.")
    )
    for name in candidates:
        found.facts.append(
            Fact(f"Clips a second and core, {name}", n_read / Times(tuple(seconds[name])).median, "clips")
        )
    return found


def _seconds(store: Store, readers: Readers, workers: int, n_batches: int) -> float:
    """Processor time of some batches, from the start of the readers to their end."""
    began = _cpu_s()
    sampler = Balanced(store.targets, seed=0)
    batches = training_batches(store, sampler, BATCH, (0, BATCH), n_batches, workers=workers, readers=readers)
    n_read = sum(len(batch.rows) for batch in batches)
    if n_read != n_batches * BATCH:
        raise RuntimeError(f"{n_read} clips came, {n_batches * BATCH} were due")
    return _cpu_s() - began


def _cpu_s() -> float:
    """Processor time of this process and of its readers that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _store(folder: Path, variant: str) -> Store:
    write_store(
        folder,
        (
            (f"{number:011d}", [number % 8], as_pcm(0.3 * sound(SECONDS * RATE, RATE, number)))
            for number in range(N_CLIPS)
        ),
        labels=LabelSet(tuple(f"sound {number}" for number in range(8))),
        sample_rate=RATE,
        n_samples=SECONDS * RATE,
        variant=variant,
    )
    return Store(folder)


if __name__ == "__main__":
    main()

"""Is the loader fast enough for training: clips a second from packed stores, by number of worker processes.

    python -m benchmarks.train_loader

Whole batches of 64 clips of 10 s at 32 kHz, one step of Cnn14's training, in balanced order, from the disk's
cache; without workers the training process reads them itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks import harness
from benchmarks.material import sound
from benchmarks.results import Comparison, Entry, Fact, Findings
from benchmarks.timing import Times
from pannsx.labels import LabelSet
from train.data.encoding import as_pcm
from train.data.loader import PREFETCH, training_batches
from train.data.samplers import Balanced
from train.data.store import Store
from train.data.store_writer import write_store

QUESTION = harness.Question(
    "train_loader", "How many clips a second does the training loader bring?", rounds=5, quick_rounds=2
)
RATE, SECONDS, N_CLIPS, BATCH = 32_000, 10, 128, 64
VARIANTS = {"raw": "raw int16", "flac": "FLAC per clip"}


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    n_batches = 3 if given.quick else 10
    candidates = [(variant, workers) for variant in VARIANTS for workers in sorted({0, 1, given.threads})]
    names = {(variant, workers): f"{VARIANTS[variant]}, {workers} workers" for variant, workers in candidates}
    seconds: dict[str, list[float]] = {name: [] for name in names.values()}
    with tempfile.TemporaryDirectory() as folder:
        stores = {variant: _store(Path(folder) / variant, variant) for variant in VARIANTS}
        for _ in range(given.rounds):
            for (variant, workers), name in names.items():
                seconds[name].append(_seconds(stores[variant], workers, n_batches))
    entries = tuple(Entry(name, Times(tuple(values))) for name, values in seconds.items())
    title = f"{n_batches} batches of {BATCH} clips of {SECONDS} s, in balanced order"
    found.comparisons.append(Comparison(title, entries, audio_s=float(n_batches * BATCH * SECONDS)))
    for (_, workers), name in names.items():
        per_second = n_batches * BATCH / Times(tuple(seconds[name])).median
        found.facts.append(Fact(f"Clips a second and process, {name}", per_second / max(1, workers), "clips"))
    return found


def _seconds(store: Store, workers: int, n_batches: int) -> float:
    """Seconds of some batches, after the start of the workers and the use of all prefetched batches."""
    n_ahead = 1 + PREFETCH * workers
    sampler = Balanced(store.targets, seed=0)
    batches = training_batches(store, sampler, BATCH, (0, BATCH), n_ahead + n_batches, workers=workers)
    for _ in range(n_ahead):
        next(batches)
    begin = time.perf_counter()
    n_read = sum(len(batch.rows) for batch in batches)
    took = time.perf_counter() - begin
    if n_read != n_batches * BATCH:
        raise RuntimeError(f"{n_read} clips came, {n_batches * BATCH} were due")
    return took


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

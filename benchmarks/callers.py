"""Several callers of one tagger at once: is their throughput that of one caller?

    python -m benchmarks.callers

The same clips of 10 s are tagged one by one, by one caller and by several, each on a thread of its own. A
network computes on all threads for one caller at a time, so that callers neither compete for the cores nor
leave them idle. The error is the change of a clip's probabilities when others call at the same time.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.material import Samples, sound
from benchmarks.published import published_home
from benchmarks.results import Comparison, Entry, Findings, Goal
from benchmarks.timing import alternate
from pannsx import AudioTagger

QUESTION = harness.Question(
    "callers",
    "Several callers of one tagger at once: is their throughput that of one caller?",
    rounds=15,
    quick_rounds=3,
)
CLIP_S = 10.0
AT_LEAST = 0.95


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--callers", type=int, default=4, help="at once (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=3, help="of each caller (default: %(default)s)")


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    with published_home() as weights:
        for name, checkpoint in (("MobileNetV1_distilled", None), ("Cnn14", weights)):
            if given.quick and checkpoint is not None:
                continue
            comparison = _compare(name, checkpoint, given.callers, given.clips, given.rounds)
            found.comparisons.append(comparison)
            one, several = (entry.name for entry in comparison.entries)
            what = f"throughput of {given.callers} callers, of that of one, {name}"
            found.goals.append(Goal(what, comparison.ratio(one, to=several), at_least=AT_LEAST))
    return found


def _compare(name: str, checkpoint: Path | None, n_callers: int, n_clips: int, rounds: int) -> Comparison:
    tagger = AudioTagger(None if checkpoint is None else name, checkpoint=checkpoint, device="cpu")
    n_samples = int(CLIP_S * tagger.sample_rate)
    source = sound(2 * n_samples, tagger.sample_rate)
    starts = np.linspace(0, n_samples, n_callers * n_clips).astype(int)
    clips = [source[start : start + n_samples] for start in starts]

    def tag(clip: Samples) -> np.ndarray:
        return tagger.inference(clip, framewise=False).clipwise

    with ThreadPoolExecutor(n_callers) as pool:
        calls = {
            "one caller": lambda: [tag(clip) for clip in clips],
            f"{n_callers} callers": lambda: list(pool.map(tag, clips)),
        }
        times = alternate(calls, rounds=rounds, warm_ups=1, shortest_s=0)
        one, several = (np.stack(call()) for call in calls.values())
    first, second = calls
    entries = (
        Entry(first, times[first]),
        Entry(second, times[second], {"max change from one caller": float(np.abs(several - one).max())}),
    )
    return Comparison(f"{name}, {len(clips)} clips of {CLIP_S:g} s", entries, audio_s=len(clips) * CLIP_S)


if __name__ == "__main__":
    main()

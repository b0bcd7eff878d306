"""Many short clips of unequal lengths: are they as quick as equal ones?

    python -m benchmarks.ragged

The lengths of the ragged clips are distributed evenly between 1 and 5 s, almost all different; the equal
clips have their mean length, so both sets have the same total duration.  The error is the change of a ragged
clip's probabilities when it is tagged alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.material import Samples, sound
from benchmarks.published import published_home
from benchmarks.results import Comparison, Entry, Findings, Goal
from benchmarks.timing import alternate
from pannsx import AudioTagger

QUESTION = harness.Question(
    "ragged",
    "Many short clips of unequal lengths: are they as quick as equal ones?",
    rounds=3,
    quick_rounds=2,
)
SHORTEST_S, LONGEST_S = 1.0, 5.0
N_ALONE = 20  # ragged clips tagged again, alone


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--clips", type=int, default=1000, help="for the bundled model (default: %(default)s)"
    )
    parser.add_argument(
        "--cnn14-clips", type=int, default=120, help="for Cnn14, which is slow (default: %(default)s)"
    )


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    part = 10 if given.quick else 1
    with published_home() as weights:
        for name, checkpoint, n_clips in (
            ("MobileNetV1_distilled", None, given.clips // part),
            ("Cnn14", weights, given.cnn14_clips // part),
        ):
            comparison = _compare(name, checkpoint, n_clips, given.rounds)
            found.comparisons.append(comparison)
            ragged, equal = (entry.name for entry in comparison.entries)
            what = f"throughput of {n_clips:,} ragged clips, of that of equal ones, {name}"
            found.goals.append(Goal(what, comparison.ratio(equal, to=ragged), at_least=0.85))
    return found


def _compare(name: str, checkpoint: Path | None, n_clips: int, rounds: int) -> Comparison:
    tagger = AudioTagger(None if checkpoint is None else name, checkpoint=checkpoint, device="cpu")
    rate = tagger.sample_rate
    ragged, equal = clips_of(n_clips, rate)
    calls = {
        f"ragged, {SHORTEST_S:g} to {LONGEST_S:g} s": lambda: _tag(tagger, ragged),
        f"equal, {len(equal[0]) / rate:.3g} s": lambda: _tag(tagger, equal),
    }
    times = alternate(calls, rounds=rounds, warm_ups=1, shortest_s=0)
    together = _tag(tagger, ragged)
    alone = np.concatenate([_tag(tagger, [clip]) for clip in ragged[:N_ALONE]])
    change = float(np.abs(together[:N_ALONE] - alone).max())
    entries = [Entry(who, times[who]) for who in calls]
    entries[0] = Entry(entries[0].name, entries[0].times, {"max change from alone": change})
    total_s = sum(map(len, ragged)) / rate
    return Comparison(f"{name}, {n_clips:,} clips", tuple(entries), audio_s=total_s)


def clips_of(n_clips: int, rate: int) -> tuple[list[Samples], list[Samples]]:
    """Ragged clips, and equal ones of the same total duration, up to a sample for each clip."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(int(SHORTEST_S * rate), int(LONGEST_S * rate), n_clips, endpoint=True)
    source = sound(2 * int(LONGEST_S * rate), rate)
    starts = rng.integers(0, len(source) // 2, n_clips)
    ragged = [source[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    mean = round(float(lengths.mean()))
    return ragged, [source[start : start + mean] for start in starts]


def _tag(tagger: AudioTagger, clips: list[Samples]) -> np.ndarray:
    return tagger.inference(clips, framewise=False).clipwise


if __name__ == "__main__":
    main()

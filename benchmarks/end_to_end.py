"""An array in, probabilities out: how fast is Cnn14 against panns_inference?

    python -m benchmarks.end_to_end

Both get the same weights, and each runs its documented call: that of pannsx also returns frames unless
told not to, that of panns_inference does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.material import Samples, seeded_model, sound
from benchmarks.networks import exact_probabilities
from benchmarks.peers import Call, gather
from benchmarks.published import panns_inference, published_home
from benchmarks.results import Comparison, Entry, Findings, Goal
from benchmarks.timing import LEAD_S, POOLS_REST_S, alternate
from pannsx import AudioTagger
from pannsx.inference.engine import Precision

QUESTION = harness.Question(
    "end_to_end",
    "An array in, probabilities out: how fast is Cnn14 against panns_inference?",
    rounds=45,
    quick_rounds=3,
)
RATE = 32_000
OURS, OURS_FRAMES, OURS_16 = "pannsx float32", "pannsx float32, with frames", "pannsx bfloat16"
PEER = "panns_inference"
ERROR = "max error of a probability"


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    with published_home() as weights:
        for n_clips in (1, 8):
            rounds = given.rounds if n_clips == 1 else max(2, given.rounds // 4)
            found.comparisons.append(_compare(weights, n_clips, rounds, found))
    one = found.comparisons[0]
    if PEER in {entry.name for entry in one.entries}:
        for name, least, aim in ((OURS, 2.2, 3.0), (OURS_16, 3.0, 4.0)):
            what = f"{name}: times faster than panns_inference, one clip of 10 s"
            found.goals.append(Goal(what, one.ratio(PEER, to=name), at_least=least, aim=aim))
    return found


def _compare(weights: Path, n_clips: int, rounds: int, found: Findings) -> Comparison:
    clips = np.stack([sound(10 * RATE, RATE, seed) for seed in range(n_clips)])
    makers: list[tuple[str, Callable[[], Call]]] = [
        (OURS, lambda: _ours(weights, clips, "float32", framewise=False)),
        (OURS_FRAMES, lambda: _ours(weights, clips, "float32", framewise=True)),
        (OURS_16, lambda: _ours(weights, clips, "bfloat16", framewise=False)),
        (PEER, lambda: _peer(weights, clips)),
    ]
    calls = gather(makers, found.absent)
    times = alternate(calls, rounds=rounds, warm_ups=1, pause_s=POOLS_REST_S, lead_s=LEAD_S)
    exact = exact_probabilities(seeded_model("Cnn14"), clips[0])
    entries = tuple(
        Entry(name, times[name], {ERROR: float(np.abs(np.asarray(call())[0] - exact).max())})
        for name, call in calls.items()
    )
    title = "One clip of 10 s" if n_clips == 1 else f"{n_clips} clips of 10 s in one call"
    return Comparison(title, entries, audio_s=10.0 * n_clips)


def _ours(weights: Path, clips: Samples, precision: Precision, *, framewise: bool) -> Call:
    tagger = AudioTagger("Cnn14", checkpoint=weights, device="cpu", precision=precision)
    return lambda: tagger.inference(clips, framewise=framewise).clipwise


def _peer(weights: Path, clips: Samples) -> Call:
    tagging = panns_inference(weights)
    return lambda: tagging.inference(clips)[0]


if __name__ == "__main__":
    main()

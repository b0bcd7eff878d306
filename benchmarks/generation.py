"""How fast is the Frechet distance, and how exact?

    python -m benchmarks.generation

Sets of 1,000 clips with embeddings of 2,048 numbers, as in papers on generated audio, with a known distance:
both covariances have the same eigenvectors, so it is the squared difference of the means plus that of the
spreads along each eigenvector.  The peer takes the square root of the covariances' product, like the field's
tools.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Findings, Goal
from benchmarks.timing import alternate
from pannsx.metrics.generation import EmbeddingStatistics, frechet_distance

QUESTION = harness.Question(
    "generation",
    "How fast is the Frechet distance, and how exact?",
    rounds=2,
    quick_rounds=1,
    one_thread=True,
)
OURS, STORED, PEER = "pannsx", "pannsx, from stored statistics", "scipy.linalg.sqrtm"
N_CLIPS, SIZE = 1_000, 2_048
ERROR = "relative error"

Rows = NDArray[np.float64]


class Sets(NamedTuple):
    """Two sets ``(N, D)`` and their distance."""

    reference: Rows
    generated: Rows
    distance: float


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    n_clips, size = (100, 205) if given.quick else (N_CLIPS, SIZE)
    sets = known_sets(n_clips, size)
    makers = {OURS: _ours, STORED: _stored, PEER: _sqrtm}
    calls = gather([(name, lambda make=make: make(sets)) for name, make in makers.items()], found.absent)
    answers: dict[str, float] = {}
    times = alternate(
        {name: partial(_kept, answers, name, call) for name, call in calls.items()},
        rounds=given.rounds,
        warm_ups=0,
    )
    errors = {name: {ERROR: abs(answers[name] / sets.distance - 1)} for name in calls}
    title = f"{n_clips:,} clips and as many, {size:,} numbers each"
    comparison = Comparison(title, tuple(Entry(name, times[name], errors[name]) for name in calls))
    found.comparisons.append(comparison)
    found.goals.append(Goal(f"{ERROR}, {title}", errors[OURS][ERROR], at_most=1e-9))
    if PEER in calls and not given.quick:
        found.goals.append(Goal(f"times faster than {PEER}", comparison.ratio(PEER), at_least=10.0))
    return found


def _kept(answers: dict[str, float], name: str, call: Call) -> None:
    """Keep the results of calls, as calls of a minute are not repeated for their error."""
    answers[name] = call()


def known_sets(n_clips: int, size: int) -> Sets:
    """Sets with a known distance, of maximum rank, with spreads over three orders of magnitude."""
    rng = np.random.default_rng(0)
    rank = n_clips - 1
    axes = np.linalg.qr(rng.standard_normal((size, rank)))[0]
    spreads = np.geomspace(1.0, 1e-3, rank), rng.permutation(np.geomspace(1.5, 1e-3, rank))
    shift = rng.standard_normal(size) / np.sqrt(size)
    sets = []
    for spread in spreads:
        # Centred orthogonal columns of variance 1: directions are uncorrelated.
        centred = np.concatenate([np.ones((n_clips, 1)), rng.standard_normal((n_clips, rank))], axis=1)
        scores = np.linalg.qr(centred)[0][:, 1:] * np.sqrt(n_clips - 1)
        sets.append((scores * spread) @ axes.T)
    distance = float(shift @ shift + np.sum((spreads[0] - spreads[1]) ** 2))
    return Sets(sets[0], sets[1] + shift, distance)


def _ours(sets: Sets) -> Call:
    return lambda: frechet_distance(sets.reference, sets.generated)


def _stored(sets: Sets) -> Call:
    one, other = EmbeddingStatistics.of(sets.reference), EmbeddingStatistics.of(sets.generated)
    return lambda: frechet_distance(one, other)


def _sqrtm(sets: Sets) -> Call:
    from scipy.linalg import sqrtm

    def call() -> float:
        s1, s2 = np.cov(sets.reference, rowvar=False), np.cov(sets.generated, rowvar=False)
        shift = sets.reference.mean(axis=0) - sets.generated.mean(axis=0)
        root = np.real(sqrtm(s1 @ s2))
        return float(shift @ shift + np.trace(s1) + np.trace(s2) - 2 * np.trace(root))

    return call


if __name__ == "__main__":
    main()

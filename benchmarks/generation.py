"""How fast is the Frechet distance, and how exact? How much memory does the kernel audio distance take?

    python -m benchmarks.generation
    python -m benchmarks.generation --kernel-rows 100000 --kernel-size 128

Frechet distance: sets of 1,000 clips with embeddings of 2,048 numbers, as in papers on generated audio, with
a known distance: both covariances have the same eigenvectors, so it is the squared difference of the means
plus that of the spreads along each eigenvector.  The peer takes the square root of the covariances' product,
like the field's tools.

Kernel audio distance: sets with a known expectation, compared block by block.  Its time is that of the
processor, so other work on the machine does not count; its memory is the peak above the sets themselves, and
does not grow with their rows.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.peers import Call, gather
from benchmarks.resident import Peak, resident_bytes
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import alternate
from pannsx.metrics.generation import EmbeddingStatistics, frechet_distance, kernel_audio_distance
from pannsx.metrics.generation.kernels import KAD_SCALE
from pannsx.metrics.pairwise import median_distance

QUESTION = harness.Question(
    "generation",
    "How fast is the Frechet distance, and how exact?",
    rounds=2,
    quick_rounds=1,
    one_thread=True,
)
OURS, STORED, PEER = "pannsx", "pannsx, from stored statistics", "scipy.linalg.sqrtm"
N_CLIPS, SIZE = 1_000, 2_048
KERNEL_ROWS = 10_000
MEGABYTE = 1e6
MOST_MEGABYTES = 150  # a block's distances, their kernel and copies for the median, at most 32 MB each
ERROR = "relative error"

Rows = NDArray[np.float64]


class Sets(NamedTuple):
    """Two sets ``(N, D)`` and their distance."""

    reference: Rows
    generated: Rows
    distance: float


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kernel-rows",
        type=int,
        default=KERNEL_ROWS,
        help="clips of each set for the kernel audio distance (default: %(default)s)",
    )
    parser.add_argument(
        "--kernel-size", type=int, default=SIZE, help="numbers of their embeddings (default: %(default)s)"
    )


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    # First, as memory that other work has freed is not returned to the system and would hide what this takes.
    _kernel(found, 500 if given.quick else given.kernel_rows, 205 if given.quick else given.kernel_size)
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


def _kernel(found: Findings, n_rows: int, size: int) -> None:
    """Processor time and memory of the kernel audio distance, and its difference from the expectation."""
    rng = np.random.default_rng(0)
    shift, scale = 0.05, 1.02
    reference = rng.standard_normal((n_rows, size), np.float32)
    generated = scale * rng.standard_normal((n_rows, size), np.float32) + np.float32(shift)
    before, begin = resident_bytes(), time.process_time()
    with Peak() as peak:
        distance = kernel_audio_distance(reference, generated)
    took_s = time.process_time() - begin
    above = (peak.bytes - before) / MEGABYTE
    bandwidth = median_distance(reference[:KERNEL_ROWS])  # near that of all
    expected = expected_kernel_distance(size, bandwidth, shift, scale)
    what = f"kernel audio distance, {n_rows:,} clips and as many, {size:,} numbers each"
    found.facts += [
        Fact(f"{what}: processor time", took_s, "s"),
        Fact(f"{what}: memory of the sets", (reference.nbytes + generated.nbytes) / MEGABYTE, "MB"),
        Fact(f"{what}: memory of all pairs of one set, not needed", 8 * n_rows**2 / MEGABYTE, "MB"),
        Fact(f"{what}: the distance, of its expectation", distance / expected, ""),
    ]
    found.goals.append(Goal(f"{what}: peak memory above the sets, MB", above, at_most=MOST_MEGABYTES))


def expected_kernel_distance(size: int, bandwidth: float, shift: float, scale: float) -> float:
    """KAD of normal rows ``(D,)`` of variance 1 and those times ``scale``, each number moved by ``shift``.

    The difference of two rows is normal; a Gaussian of it has the mean ``(w^2 / (w^2 + v))^(D / 2)
    exp(-d^2 / (2 (w^2 + v)))``, with the variance ``v`` of each number and the squared shift ``d^2``.
    """

    def mean(variance: float, squared_shift: float) -> float:
        spread = bandwidth**2 + variance
        return float((bandwidth**2 / spread) ** (size / 2) * np.exp(-squared_shift / (2 * spread)))

    own = mean(2.0, 0.0) + mean(2 * scale**2, 0.0)
    return KAD_SCALE * (own - 2 * mean(1 + scale**2, size * shift**2))


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

"""How fast are the tagging metrics, and how exact?

    python -m benchmarks.metrics

Data of the size of the AudioSet evaluation set: 20,000 clips of 527 classes, with similar frequencies;
average precision and AUC of each class.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Findings, Goal
from benchmarks.timing import alternate
from pannsx.metrics import tagging_scores

QUESTION = harness.Question(
    "metrics", "How fast are the tagging metrics, and how exact?", rounds=3, quick_rounds=1, one_thread=True
)
OURS, PEER = "pannsx", "scikit-learn"
N_CLIPS, N_CLASSES = 20_000, 527

Truth = NDArray[np.bool_]
Scores = NDArray[Any]


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    for title, digits in (("float32 scores", None), ("scores of three digits, many equal", 3)):
        truth, scores = evaluation_set(digits)
        calls = gather([(name, partial(make, truth, scores)) for name, make in MAKERS.items()], found.absent)
        times = alternate(calls, rounds=given.rounds, warm_ups=0)
        answers = {name: call() for name, call in calls.items()}
        errors = {
            name: {"largest difference from ours": float(np.nanmax(np.abs(answer - answers[OURS])))}
            for name, answer in answers.items()
        }
        comparison = Comparison(title, tuple(Entry(name, times[name], errors[name]) for name in calls))
        found.comparisons.append(comparison)
        if PEER in calls:
            difference = errors[PEER]["largest difference from ours"]
            found.goals += [
                Goal(f"times faster than {PEER}, {title}", comparison.ratio(PEER), at_least=10.0),
                Goal(f"difference from {PEER}, {title}", difference, at_most=1e-6),
            ]
    return found


def evaluation_set(digits: int | None) -> tuple[Truth, Scores]:
    """``(N, K)`` targets and float32 scores; classes hold from 0.3 % to 25 % of the clips."""
    rng = np.random.default_rng(0)
    truth = rng.random((N_CLIPS, N_CLASSES)) < np.geomspace(0.003, 0.25, N_CLASSES)
    logits = rng.standard_normal((N_CLIPS, N_CLASSES)) + 2.0 * truth - 3.0
    scores = (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
    return truth, scores if digits is None else scores.round(digits)


def _ours(truth: Truth, scores: Scores) -> Call:
    def call() -> NDArray[np.float64]:
        found = tagging_scores(truth, scores)
        return np.stack([found.average_precision, found.auc])

    return call


def _scikit_learn(truth: Truth, scores: Scores) -> Call:
    from sklearn.metrics import average_precision_score, roc_auc_score

    return lambda: np.stack(
        [average_precision_score(truth, scores, average=None), roc_auc_score(truth, scores, average=None)]
    )


MAKERS: dict[str, Callable[[Truth, Scores], Call]] = {OURS: _ours, PEER: _scikit_learn}


if __name__ == "__main__":
    main()

"""Scores of a training method on a data set: every split, and with few clips per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pannsx.metrics import accuracy, tagging_scores
from pannsx.transfer.clips import Waveforms, chosen
from pannsx.transfer.data_set import DataSet, Split
from pannsx.transfer.head import Head, HeadSettings, apply, new_head, train_head
from pannsx.transfer.tuning import TuneSettings, embed, fresh, tune
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint


class Fitted(NamedTuple):
    """Result of training: the network, possibly unchanged, and a head.

    Attributes:
        base: the network; None for the MFCC baseline.
        head: from embeddings, or features, to the classes.
        predict: positions of clips -> ``(n, K)`` logits.
    """

    base: LoadedCheckpoint | None
    head: Head
    predict: Callable[[Sequence[int]], FloatArray]


Learn = Callable[[Sequence[int], int], Fitted]
"""A training method: a function of the positions of the training clips, and a seed."""


@dataclass(frozen=True)
class Result:
    """Scores of one training method.

    Attributes:
        measure: ``accuracy``, or ``mAP`` for several labels per clip.
        scores: by split.
        shots: training clips per class; None: all.
    """

    measure: str
    scores: dict[str, float]
    shots: int | None = None

    @property
    def mean(self) -> float:
        """Mean over the splits."""
        return float(np.mean(list(self.scores.values())))

    @property
    def spread(self) -> float:
        """Standard deviation over the splits."""
        return float(np.std(list(self.scores.values())))


def targets_of(data: DataSet) -> NDArray[np.bool_]:
    """``(N, K)``: whether a clip has a label."""
    targets = np.zeros((len(data.recordings), len(data.labels)), np.bool_)
    for row, recording in enumerate(data.recordings):
        targets[row, list(recording.labels)] = True
    return targets


def head_on(
    features: FloatArray,
    targets: NDArray[np.bool_],
    settings: HeadSettings,
    base: LoadedCheckpoint | None = None,
) -> Learn:
    """Train only a head, on ``(N, D)`` features or the embeddings of a frozen network ``base``."""

    def learn(rows: Sequence[int], seed: int) -> Fitted:
        head = train_head(features[rows], targets[rows], settings, seed=seed)
        return Fitted(base, head, lambda rows: apply(head, features[rows]))

    return learn


def network_and_head(
    base: LoadedCheckpoint,
    waveforms: Waveforms,
    targets: NDArray[np.bool_],
    settings: TuneSettings,
    head_settings: HeadSettings,
    *,
    from_scratch: bool = False,
) -> Learn:
    """Train network and head together: from the given network and a head trained on its embeddings, or both
    from random weights.
    """
    embeddings = None if from_scratch else embed(base, waveforms, device=settings.device)

    def learn(rows: Sequence[int], seed: int) -> Fitted:
        if embeddings is None:
            begin = fresh(base, seed=seed)
            first = new_head(begin.model.embedding_size, targets.shape[1], head_settings, seed=seed)
        else:
            begin, first = base, train_head(embeddings[rows], targets[rows], head_settings, seed=seed)
        tuned, head = tune(begin, waveforms, targets, rows, settings, first, seed=seed)

        def predict(rows: Sequence[int]) -> FloatArray:
            return apply(head, embed(tuned, chosen(waveforms, rows), device=settings.device))

        return Fitted(tuned, head, predict)

    return learn


def run(
    data: DataSet,
    targets: NDArray[np.bool_],
    learn: Learn,
    *,
    seed: int = 0,
    splits: Sequence[Split] | None = None,
    shots: int | None = None,
    on_score: Callable[[str, float], None] = lambda split, score: None,
    on_logits: Callable[[Sequence[int], FloatArray], None] = lambda rows, logits: None,
) -> Result:
    """Train and test on every split.

    Args:
        data: the data set.
        targets: ``(N, K)`` of all its clips.
        learn: training method.
        seed: seed of training and of the choice of shots.
        splits: some of its splits; None: all.
        shots: training clips per class; None: all.
        on_score: called with the name and score of each finished split.
        on_logits: called with the positions of its test clips and their ``(n, K)`` logits.
    """
    scores = {}
    for split in data.splits if splits is None else splits:
        rows, tests = data.rows(split.train), data.rows(split.test)
        if shots is not None:
            rows = few(targets, rows, shots, seed)
        logits = learn(rows, seed).predict(tests)
        on_logits(tests, logits)
        if data.multi_label:
            scores[split.name] = tagging_scores(targets[tests], logits).mAP
        else:
            scores[split.name] = accuracy(targets[tests].argmax(axis=1), logits)
        on_score(split.name, scores[split.name])
    return Result("mAP" if data.multi_label else "accuracy", scores, shots)


def few(targets: NDArray[np.bool_], rows: Sequence[int], shots: int, seed: int) -> list[int]:
    """``shots`` of the given clips of every class, drawn by the seed, or all of a class with fewer.

    With the same seed, more shots include those of fewer.

    Raises:
        ValueError: ``shots`` is less than 1.
    """
    if shots < 1:
        raise ValueError(f"shots is {shots}; at least one clip per class is needed")
    order = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    chosen: set[int] = set()
    for k in range(targets.shape[1]):
        chosen.update([row for row in order if targets[row, k]][:shots])
    return sorted(chosen)

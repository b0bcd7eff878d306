"""Scores of a way of learning on a data set: every split, and with few clips a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pannsx.metrics import accuracy, tagging_scores
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint
from train.transfer.data_set import DataSet, Split
from train.transfer.head import Head, HeadSettings, apply, new_head, train_head
from train.transfer.tuning import TuneSettings, embed, fresh, tune
from train.transfer.waveforms import Waveforms


class Fitted(NamedTuple):
    """What was learnt: the network, which may be the one it began with, and a head.

    Attributes:
        base: the network; None where there is none (the MFCC baseline).
        head: from embeddings, or features, to the classes.
        predict: positions of clips -> ``(n, K)`` logits.
    """

    base: LoadedCheckpoint | None
    head: Head
    predict: Callable[[Sequence[int]], FloatArray]


Learn = Callable[[Sequence[int], int], Fitted]
"""A way of learning: from the positions of the clips to train on, and a seed."""


@dataclass(frozen=True)
class Result:
    """Scores of one way of learning.

    Attributes:
        measure: ``accuracy``, or ``mAP`` for several labels a clip.
        scores: by split.
        shots: clips a class that were trained on; None is all.
    """

    measure: str
    scores: dict[str, float]
    shots: int | None = None

    @property
    def mean(self) -> float:
        """Over the splits."""
        return float(np.mean(list(self.scores.values())))

    @property
    def spread(self) -> float:
        """Standard deviation over the splits."""
        return float(np.std(list(self.scores.values())))


def targets_of(data: DataSet) -> NDArray[np.bool_]:
    """``(N, K)``, whether a clip has a label."""
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
    """Train a head alone, on ``(N, D)`` features or the embeddings of a frozen network ``base``."""

    def learn(rows: Sequence[int], seed: int) -> Fitted:
        head = train_head(features[rows], targets[rows], settings, seed=seed)
        return Fitted(base, head, lambda chosen: apply(head, features[chosen]))

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
    """Train network and head together: from the network as it is and a head trained on its embeddings,
    or both from first weights.
    """
    embeddings = None if from_scratch else embed(base, waveforms, device=settings.device)

    def learn(rows: Sequence[int], seed: int) -> Fitted:
        if embeddings is None:
            begin = fresh(base, seed=seed)
            first = new_head(begin.model.embedding_size, targets.shape[1], head_settings, seed=seed)
        else:
            begin, first = base, train_head(embeddings[rows], targets[rows], head_settings, seed=seed)
        tuned, head = tune(begin, waveforms, targets, rows, settings, first, seed=seed)

        def predict(chosen: Sequence[int]) -> FloatArray:
            return apply(head, embed(tuned, [waveforms[row] for row in chosen], device=settings.device))

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
) -> Result:
    """Train and test on every split.

    Args:
        data: the data set.
        targets: ``(N, K)`` of all its clips.
        learn: how.
        seed: of learning, and of the choice of shots.
        splits: some of its splits; None takes all.
        shots: clips a class to train on; None takes all.
        on_score: called with each split's name and score when it is there.
    """
    scores = {}
    for split in data.splits if splits is None else splits:
        rows, tests = data.rows(split.train), data.rows(split.test)
        if shots is not None:
            rows = few(targets, rows, shots, seed)
        logits = learn(rows, seed).predict(tests)
        if data.multi_label:
            scores[split.name] = tagging_scores(targets[tests], logits).mAP
        else:
            scores[split.name] = accuracy(targets[tests].argmax(axis=1), logits)
        on_score(split.name, scores[split.name])
    return Result("mAP" if data.multi_label else "accuracy", scores, shots)


def few(targets: NDArray[np.bool_], rows: Sequence[int], shots: int, seed: int) -> list[int]:
    """For every class so many of the given clips that have it, drawn by the seed, or all if there are fewer.

    More shots of the same seed contain the fewer ones.

    Raises:
        ValueError: no shot at all.
    """
    if shots < 1:
        raise ValueError(f"shots is {shots}; at least one clip a class is needed")
    order = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    chosen: set[int] = set()
    for k in range(targets.shape[1]):
        chosen.update([row for row in order if targets[row, k]][:shots])
    return sorted(chosen)

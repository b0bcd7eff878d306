"""Scores of a training method on a data set: every split, and with few clips per class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pannsx.transfer.best_epoch import Measure, measure_of
from pannsx.transfer.clips import Waveforms, chosen
from pannsx.transfer.data_set import DataSet, Recording, Split
from pannsx.transfer.embedding import embed, embed_all
from pannsx.transfer.folds import held_apart
from pannsx.transfer.head import HeadSettings, HeldApart, apply, new_head, train_head
from pannsx.transfer.kept import AnyHead, ExtendedHead, clip_head_of
from pannsx.transfer.resume import NOWHERE, Progress
from pannsx.transfer.tuning import TuneSettings, Watched, fresh, tune
from pannsx.transfer.wanted import Opinion, wanted_of
from pannsx.transfer.watching import Watcher
from pannsx.types import FloatArray, Source
from pannsx.weights import LoadedCheckpoint
from pannsx.weights.delta import Factors


class Fitted(NamedTuple):
    """Result of training: the network, possibly unchanged, and a head.

    Attributes:
        base: the network; None for the MFCC baseline.
        head: from embeddings, or features, to the classes; perhaps with those of the network before them.
        predict: positions of clips -> ``(n, K)`` logits.
        factors: the changes of weights at low rank, which the network's weights contain, by published key.
    """

    base: LoadedCheckpoint | None
    head: AnyHead
    predict: Callable[[Sequence[int]], FloatArray]
    factors: Mapping[str, Factors]


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
        """Mean over the splits; a split whose clips have no label at all has no mAP."""
        return float(np.mean(self._known()))

    @property
    def spread(self) -> float:
        """Standard deviation over the splits."""
        return float(np.std(self._known()))

    def _known(self) -> list[float]:
        return [score for score in self.scores.values() if not math.isnan(score)] or [math.nan]


def targets_of(data: DataSet) -> NDArray[np.bool_]:
    """``(N, K)``: whether a clip has a label."""
    targets = np.zeros((len(data.recordings), len(data.labels)), np.bool_)
    for row, recording in enumerate(data.recordings):
        targets[row, list(recording.labels)] = True
    return targets


def known_of(data: DataSet) -> NDArray[np.bool_] | None:
    """``(N, K)``: whether the presence of a label is known; None if all are."""
    if not any(recording.unknown for recording in data.recordings):
        return None
    known = np.ones((len(data.recordings), len(data.labels)), np.bool_)
    for row, recording in enumerate(data.recordings):
        known[row, list(recording.unknown)] = False
    return known


Divide = Callable[[Sequence[int]], tuple[Sequence[int], Sequence[int]]]
"""Positions of clips -> those to train on, and those of a validation part (none: no early stopping)."""


def all_to_train(rows: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """No validation part."""
    return rows, ()


def divided(
    sources: Sequence[Source], targets: NDArray[np.bool_], groups: Sequence[Any] | None, share: float
) -> Divide:
    """The division of clips into training clips and a validation part of whole groups.

    Args:
        sources: ``N`` clips; repetitions of a file stay together.
        targets: ``(N, K)``.
        groups: ``N`` groups, or None.
        share: share of the validation part; 0: none.
    """
    if not share:
        return all_to_train
    names = [str(each) if isinstance(each, (str, Path)) else f"array {i}" for i, each in enumerate(sources)]
    listed = [None] * len(names) if groups is None else groups
    recordings = [
        Recording(Path(name), tuple(np.flatnonzero(row).tolist()), "", group="" if of is None else str(of))
        for name, row, of in zip(names, targets, listed, strict=True)
    ]
    return lambda rows: held_apart(recordings, rows, share)


def validation_part(data: DataSet, share: float) -> Divide:
    """The data set's own validation part; without one, a share of the given clips, by whole groups."""
    own = data.validation_rows()
    if own:
        return lambda rows: (rows, own)
    return all_to_train if share == 0 else lambda rows: held_apart(data.recordings, rows, share)


def head_on(
    features: FloatArray,
    targets: NDArray[np.bool_],
    settings: HeadSettings,
    base: LoadedCheckpoint | None = None,
    *,
    divide: Divide = all_to_train,
    measure: Measure | None = None,
    known: NDArray[np.bool_] | None = None,
    opinion: Opinion | None = None,
) -> Learn:
    """Train only a head, on ``(N, D)`` features or the embeddings of a frozen network ``base``.

    ``divide`` gives a validation part, whose score is ``measure``. ``known`` and ``opinion`` as in
    :func:`pannsx.transfer.wanted.wanted_of`.
    """
    wanted = wanted_of(targets, known=known, opinion=opinion)

    def learn(rows: Sequence[int], seed: int) -> Fitted:
        training, held = divide(rows)
        head = train_head(
            features[training], targets[training], settings, seed=seed,
            wanted=wanted.of(training),
            validation=HeldApart(
                features[held], targets[held], measure, None if known is None else known[held]
            )
            if held and measure
            else None,
        )  # fmt: skip
        return Fitted(base, head, lambda rows: apply(head, features[rows]), {})

    return learn


def network_and_head(
    base: LoadedCheckpoint,
    waveforms: Waveforms,
    targets: NDArray[np.bool_],
    settings: TuneSettings,
    head_settings: HeadSettings,
    *,
    from_scratch: bool = False,
    divide: Divide = all_to_train,
    measure: Measure | None = None,
    known: NDArray[np.bool_] | None = None,
    opinion: Opinion | None = None,
    keep: bool = False,
    progress: Progress = NOWHERE,
    watch: Watcher | None = None,
) -> Learn:
    """Train network and head together: from the given network and a head trained on its embeddings, or both
    from random weights. ``settings.adapt`` may name a part of the network, to train only that. ``divide``,
    ``measure``, ``known`` and ``opinion`` as in :func:`head_on`.

    ``keep``: the head also has the network's own classes, which are trained to keep their probabilities.
    """
    device, precision = settings.device, settings.precision
    embeddings = (
        None
        if from_scratch
        else embed_all(base, waveforms, device=device, precision=precision, progress=progress, watch=watch)
    )

    def learn(rows: Sequence[int], seed: int) -> Fitted:
        training, held = divide(rows)
        first: AnyHead
        kept: FloatArray | None = None
        if embeddings is None:
            begin = fresh(base, seed=seed)
            first = new_head(begin.model.embedding_size, targets.shape[1], head_settings, seed=seed)
        else:
            begin = base
            first = new = train_head(
                embeddings[training], targets[training], head_settings, seed=seed,
                wanted=wanted_of(targets, known=known, opinion=opinion).of(training),
            )  # fmt: skip
            if keep:
                first = ExtendedHead(clip_head_of(base.model), new)
                kept = first.probabilities(embeddings)
        trained = tune(
            begin, waveforms, targets, training, settings, first, seed=seed,
            wanted=wanted_of(targets, known=known, opinion=opinion, kept=kept),
            validation=Watched(held, measure, known) if held and measure else None,
            progress=progress, watch=watch,
        )  # fmt: skip

        def predict(rows: Sequence[int]) -> FloatArray:
            found = embed(trained.base, chosen(waveforms, rows), device=device, precision=precision)
            return apply(trained.head, found)[:, -targets.shape[1] :]

        return Fitted(trained.base, trained.head, predict, trained.factors)

    return learn


def run(
    data: DataSet,
    targets: NDArray[np.bool_],
    learn: Learn,
    *,
    seed: int = 0,
    known: NDArray[np.bool_] | None = None,
    splits: Sequence[Split] | None = None,
    shots: int | None = None,
    on_score: Callable[[str, float], None] = lambda split, score: None,
    on_logits: Callable[[Sequence[int], FloatArray], None] = lambda rows, logits: None,
    progress: Progress = NOWHERE,
) -> Result:
    """Train and test on every split.

    Args:
        data: the data set.
        targets: ``(N, K)`` of all its clips.
        learn: training method.
        seed: seed of training and of the choice of shots.
        known: ``(N, K)``, which targets are known, and scored; None: all.
        splits: some of its splits; None: all.
        shots: training clips per class; None: all.
        on_score: called with the name and score of each finished split.
        on_logits: called with the positions of its test clips and their ``(n, K)`` logits.
        progress: where the logits of each split are kept.
    """
    scores = {}
    name, measure = measure_of(multi_label=data.multi_label)
    for number, split in enumerate(data.splits if splits is None else splits):
        rows, tests = data.rows(split.train), data.rows(split.test)
        if shots is not None:
            rows = few(targets, rows, shots, seed)
        if (kept := progress.load(f"split-{number:03d}")) is not None:
            logits: FloatArray = kept["logits"].numpy()
        else:
            logits = learn(rows, seed).predict(tests)
            progress.save(f"split-{number:03d}", {"logits": torch.from_numpy(logits)})
        on_logits(tests, logits)
        scores[split.name] = measure(targets[tests], logits, None if known is None else known[tests])
        on_score(split.name, scores[split.name])
    return Result(name, scores, shots)


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

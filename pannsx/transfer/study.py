"""One study from clips to a checkpoint: scored on held-out folds, then trained on all clips and saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pannsx.errors import WeightsError
from pannsx.events import calibrate, write_operating_points
from pannsx.metrics import tagging_scores
from pannsx.metrics.classification import ClassScores, class_scores
from pannsx.transfer.clips import Clips
from pannsx.transfer.data_set import DataSet
from pannsx.transfer.experiment import Learn, Result, head_on, network_and_head, run, targets_of
from pannsx.transfer.head import HeadSettings
from pannsx.transfer.tuning import TuneSettings, clip_head_of, embed, gain_and_roll, save, unchanged
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint
from pannsx.weights.operating_points import operating_points_path
from pannsx.weights.record import Checkpoint


@dataclass(frozen=True)
class Method:
    """A way of training.

    Attributes:
        tune: train the whole network with its new head, not only the head.
        layers: of the head.
        epochs: passes over the clips; None: 100 for a head, 10 for a network.
        learning_rate: highest rate; None: 3e-3 for a head, 1e-4 for a network.
        batch_size: clips a step.
        augment: random gain and roll in time; with ``tune`` only.
        seed: of all random choices.
        device: such as ``cpu`` or ``cuda``.
    """

    tune: bool = False
    layers: int = 1
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int = 32
    augment: bool = True
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Study:
    """Result of a study.

    Attributes:
        result: score of each fold.
        classes: scores by class, over the clips of all folds while they were held out.
        average_precision: ``(K,)`` of the same clips.
        record: of the saved checkpoint.
    """

    result: Result
    classes: ClassScores
    average_precision: FloatArray
    record: Checkpoint


def carry_out(
    data: DataSet,
    base: LoadedCheckpoint,
    method: Method,
    path: Path,
    *,
    on_score: Callable[[str, float], None] = lambda split, score: None,
    on_clip: Callable[[], object] = lambda: None,
) -> Study:
    """Score a method on the folds of a data set, then train on all its clips and save the checkpoint.

    The operating points beside the checkpoint are chosen on held-out clips. With official training and test
    sets (the folds ``train`` and ``test``), the checkpoint is trained on the training set alone.

    Args:
        data: the clips.
        base: the network to begin with.
        method: the way of training.
        path: of the checkpoint, ends in ``.safetensors``.
        on_score: called with the name and score of each finished fold.
        on_clip: called for each clip that is read for the first time.

    Raises:
        ValueError: the network decides frame by frame, so that it cannot take a new head.
        AudioError: a clip cannot be read.
        WeightsError: the checkpoint cannot be written.
    """
    clip_head_of(base.model)
    targets = targets_of(data)
    learn = _learner(data, targets, base, method, on_clip)
    held_out = np.full(targets.shape, np.nan, np.float32)
    result = run(
        data, targets, learn, seed=method.seed, on_score=on_score,
        on_logits=lambda rows, logits: held_out.__setitem__(rows, logits),
    )  # fmt: skip
    tested = ~np.isnan(held_out).any(axis=1)
    truth, logits = targets[tested], held_out[tested].astype(np.float64)
    probabilities = expit(logits)
    points = calibrate(truth, probabilities, data.labels.names, model=path.stem)
    if data.multi_label:
        thresholds = [points.thresholds().get(label, points.default) for label in data.labels.names]
        given = probabilities >= np.array(thresholds)
    else:
        given = np.eye(len(data.labels), dtype=np.bool_)[logits.argmax(axis=1)]
    classes = class_scores(truth, given)
    record = _saved(data, learn, method, result, classes, path)
    write_operating_points(points, operating_points_path(record, path))
    return Study(result, classes, tagging_scores(truth, logits).average_precision.astype(np.float32), record)


def _learner(
    data: DataSet,
    targets: NDArray[np.bool_],
    base: LoadedCheckpoint,
    method: Method,
    on_clip: Callable[[], object],
) -> Learn:
    clips = Clips(data.recordings, base.record.sample_rate)

    def read() -> Iterator[FloatArray]:
        for clip in clips:
            on_clip()
            yield clip

    head = HeadSettings(layers=method.layers, batch_size=method.batch_size)
    if not method.tune:
        head = HeadSettings(
            layers=method.layers,
            batch_size=method.batch_size,
            epochs=method.epochs or head.epochs,
            learning_rate=method.learning_rate or head.learning_rate,
        )
        return head_on(embed(base, read(), device=method.device), targets, head, base)
    settings = TuneSettings(
        epochs=method.epochs or TuneSettings.epochs,
        learning_rate=method.learning_rate or TuneSettings.learning_rate,
        batch_size=method.batch_size,
        clip_s=data.clip_s,
        device=method.device,
        augment=gain_and_roll if method.augment else unchanged,
    )
    return network_and_head(base, clips, targets, settings, head)


def _saved(
    data: DataSet, learn: Learn, method: Method, result: Result, classes: ClassScores, path: Path
) -> Checkpoint:
    fitted = learn(data.final_rows(), method.seed)
    if fitted.base is None:
        raise WeightsError("there is no network to save")
    how = "tuned" if method.tune else "frozen"
    on = "the training set" if data.has_test_set else "all folds; scores are of folds held out"
    return save(
        path,
        fitted.base,
        fitted.head,
        data.labels,
        description=f"{len(data.labels)} classes of {data.name}.",
        trained_on=f"{data.name}, {on} ({how}, seed {method.seed}).",
        scores={
            f"{data.name} {result.measure}": round(result.mean, 4),
            f"{data.name} balanced accuracy": round(classes.balanced_accuracy, 4),
            f"{data.name} macro F1": round(classes.macro_f1, 4),
        },
    )

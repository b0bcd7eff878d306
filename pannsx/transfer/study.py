"""One study from clips to a checkpoint: scored on held-out folds, then trained on all clips and saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from pannsx.errors import WeightsError
from pannsx.events import OperatingPoints, calibrate, write_operating_points
from pannsx.labels import LabelSet
from pannsx.metrics import tagging_scores
from pannsx.metrics.classification import ClassScores, class_scores
from pannsx.transfer.clips import Clips
from pannsx.transfer.data_set import DataSet
from pannsx.transfer.experiment import Fitted, Learn, Result, known_of, run, targets_of, validation_part
from pannsx.transfer.kept import clip_head_of, extended_labels, extended_points
from pannsx.transfer.method import Method
from pannsx.transfer.report_files import report_paths, write_report
from pannsx.transfer.resume import Progress, plan_of, progress_folder
from pannsx.transfer.saving import save
from pannsx.transfer.teacher import heard_by
from pannsx.transfer.watching import Watcher
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint
from pannsx.weights.base import check_base
from pannsx.weights.operating_points import operating_points_path
from pannsx.weights.record import Checkpoint


@dataclass(frozen=True)
class Study:
    """Result of a study.

    Attributes:
        result: score of each fold.
        classes: scores by class, over the clips of all folds while they were held out.
        average_precision: ``(K,)`` of the same clips.
        record: of the saved checkpoint.
        files: the reports beside it.
    """

    result: Result
    classes: ClassScores
    average_precision: FloatArray
    record: Checkpoint
    files: tuple[Path, ...]


def carry_out(
    data: DataSet,
    base: LoadedCheckpoint,
    method: Method,
    path: Path,
    *,
    teacher: LoadedCheckpoint | None = None,
    kept_points: OperatingPoints | None = None,
    restart: bool = False,
    watch: Watcher | None = None,
) -> Study:
    """Score a method on the folds of a data set, then train on all its clips and save the checkpoint.

    The operating points beside the checkpoint are chosen on held-out clips. With official training and test
    sets (the folds ``train`` and ``test``), the checkpoint is trained on the training set alone. If the
    process is killed, the same call goes on after the last finished epoch or fold
    (:mod:`pannsx.transfer.resume`), with the result of an uninterrupted one.

    Args:
        data: the clips.
        base: the network to begin with.
        method: the way of training.
        path: of the checkpoint, ends in ``.safetensors``.
        teacher: another checkpoint with these classes; its probabilities are mixed into the targets.
        kept_points: operating points of the network, for the classes that ``method.keep_audioset`` keeps.
        restart: delete the progress of an interrupted run.
        watch: notified of clips, steps, epochs and scores.

    Raises:
        ValueError: the network decides frame by frame, so that it cannot take a new head, the teacher lacks
            a class, or the progress there is of a run with other settings or clips.
        AudioError: a clip cannot be read.
        OSError, WeightsError: the checkpoint or its reports cannot be written.
    """
    clip_head_of(base.model)
    if method.adapt is not None:
        check_base(base.record, base.origin, path)
    labels = _labels(data, base, method)
    watch = watch or Watcher()
    targets, known = targets_of(data), known_of(data)
    progress = Progress(progress_folder(path), plan_of(data, base, method, teacher), restart=restart)
    clips = Clips(data.recordings, base.record.sample_rate)
    heard = None
    if teacher is not None:
        heard = heard_by(
            teacher, data.labels.names, data.recordings, device=method.device, precision=method.precision
        )
    learn = method.learner(
        base, clips, targets, clip_s=data.clip_s, multi_label=data.multi_label,
        divide=validation_part(data, method.validation), known=known, teacher=heard,
        progress=progress, watch=watch,
    )  # fmt: skip
    if data.has_test_set:
        learn = _remembering(learn)  # the scored network is the one to save
    held_out = np.full(targets.shape, np.nan, np.float32)
    result = run(
        data, targets, learn, seed=method.seed, known=known, on_score=watch.score, progress=progress,
        on_logits=lambda rows, logits: held_out.__setitem__(rows, logits),
    )  # fmt: skip
    tested = ~np.isnan(held_out).any(axis=1)
    truth, logits = targets[tested], held_out[tested].astype(np.float64)
    known_tested = None if known is None else known[tested]
    probabilities = expit(logits)
    points = calibrate(truth, probabilities, data.labels.names, model=path.stem, known=known_tested)
    if data.multi_label:
        thresholds = [points.thresholds().get(label, points.default) for label in data.labels.names]
        given = probabilities >= np.array(thresholds)
    else:
        given = np.eye(len(data.labels), dtype=np.bool_)[logits.argmax(axis=1)]
    classes = class_scores(truth, given, known_tested)
    average_precision = tagging_scores(truth, logits, known_tested).average_precision.astype(np.float32)
    record = _saved(
        data, learn(data.final_rows(), method.seed), method, path, labels,
        "the training set" if data.has_test_set else "all folds; scores are of folds held out",
        {
            f"{data.name} {result.measure}": round(result.mean, 4),
            f"{data.name} balanced accuracy": round(classes.balanced_accuracy, 4),
            f"{data.name} macro F1": round(classes.macro_f1, 4),
            f"{data.name} micro F1": round(classes.micro_f1, 4),
        },
    )  # fmt: skip
    points = extended_points(points, _if_same(kept_points, method), data.labels.names)
    write_operating_points(points, operating_points_path(record, path))
    files = write_report(path, data, result, classes, average_precision)
    progress.remove()
    return Study(result, classes, average_precision, record, tuple(files))


def make_unscored(
    data: DataSet,
    base: LoadedCheckpoint,
    method: Method,
    path: Path,
    *,
    kept_points: OperatingPoints | None = None,
    watch: Watcher | None = None,
) -> Checkpoint:
    """Learn from all clips and save the checkpoint, without scores: for classes with a single clip.

    Reports and operating points of an earlier checkpoint at this path are removed.
    Arguments and errors are those of :func:`carry_out`.
    """
    clip_head_of(base.model)
    labels = _labels(data, base, method)
    learn = method.learner(
        base, Clips(data.recordings, base.record.sample_rate), targets_of(data), clip_s=data.clip_s,
        multi_label=data.multi_label, divide=validation_part(data, method.validation), watch=watch,
    )  # fmt: skip
    fitted = learn(data.final_rows(), method.seed)
    record = _saved(data, fitted, method, path, labels, "all clips; not scored")
    points_path = operating_points_path(record, path)
    for stale in (points_path, *report_paths(path)):
        stale.unlink(missing_ok=True)
    if (kept := _if_same(kept_points, method)) is not None:
        none = OperatingPoints({}, model=path.stem)
        write_operating_points(extended_points(none, kept, data.labels.names), points_path)
    return record


def _labels(data: DataSet, base: LoadedCheckpoint, method: Method) -> LabelSet:
    """Of the checkpoint to save."""
    return extended_labels(base.labels, data.labels) if method.keep_audioset else data.labels


def _if_same(kept: OperatingPoints | None, method: Method) -> OperatingPoints | None:
    """The points of kept classes, if their probabilities are exactly those of before."""
    return kept if method.keep_audioset and not method.trains_network else None


def _remembering(learn: Learn) -> Learn:
    """The same, which learns only once from the same clips."""
    known: dict[tuple[tuple[int, ...], int], Fitted] = {}

    def again(rows: Sequence[int], seed: int) -> Fitted:
        key = tuple(rows), seed
        if key not in known:
            known[key] = learn(rows, seed)
        return known[key]

    return again


def _description(data: DataSet, labels: LabelSet) -> str:
    own = f"{len(data.labels)} classes of {data.name}"
    n_kept = len(labels) - len(data.labels)
    return f"{own}, beside {n_kept} classes of the network." if n_kept else f"{own}."


def _saved(
    data: DataSet,
    fitted: Fitted,
    method: Method,
    path: Path,
    labels: LabelSet,
    trained_on: str,
    scores: dict[str, float] | None = None,
) -> Checkpoint:
    if fitted.base is None:
        raise WeightsError("there is no network to save")
    return save(
        path,
        fitted.base,
        fitted.head,
        labels,
        description=_description(data, labels),
        trained_on=f"{data.name}, {trained_on} ({method.how}, seed {method.seed}).",
        scores=scores,
        as_delta=method.adapt is not None,
        factors=fitted.factors,
    )

"""The reports beside a fine-tuned checkpoint: scores by class, and a picture of right and wrong decisions."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from pannsx.atomic import replacing
from pannsx.metrics.classification import ClassScores
from pannsx.report.confusion import confusion_svg, decisions_svg
from pannsx.transfer.data_set import DataSet
from pannsx.transfer.experiment import Result
from pannsx.transfer.faults import Fault
from pannsx.types import FloatArray

COLUMNS = ("label", "clips", "precision", "recall", "F1", "average precision")


def class_rows(
    labels: Sequence[str], classes: ClassScores, average_precision: FloatArray
) -> Iterator[tuple[str, ...]]:
    """A row of texts for each class, by :data:`COLUMNS`; empty where a class has no score."""
    numbers = (classes.precision, classes.recall, classes.f1, average_precision)
    for label, n, *scores in zip(
        labels, classes.n_positive.tolist(), *(each.tolist() for each in numbers), strict=True
    ):
        yield label, str(n), *("" if math.isnan(score) else f"{score:.3f}" for score in scores)


def report_paths(checkpoint: Path) -> tuple[Path, Path]:
    """The files that :func:`write_report` writes beside a checkpoint."""
    return checkpoint.with_suffix(".classes.csv"), checkpoint.with_suffix(".confusion.svg")


def write_report(
    checkpoint: Path, data: DataSet, result: Result, classes: ClassScores, average_precision: FloatArray
) -> list[Path]:
    """Write ``NAME.classes.csv`` and ``NAME.confusion.svg`` beside ``NAME.safetensors``.

    Clips with several labels have no matrix of true and given class: the picture counts the decisions of each
    class.

    Raises:
        OSError: they cannot be written.
    """
    table, picture = report_paths(checkpoint)
    names = data.labels.names
    _write_table(table, [name.replace(" ", "_").lower() for name in COLUMNS],
                 class_rows(names, classes, average_precision))  # fmt: skip
    title = f"{data.name}: {result.measure} {result.mean:.3f}"
    drawn = (
        decisions_svg(classes.by_class, names, title=title)
        if classes.confusion is None
        else confusion_svg(classes.confusion, names, title=title)
    )
    with replacing(picture) as temporary:
        temporary.write_text(drawn, encoding="utf-8")
    return [table, picture]


def write_left_out(checkpoint: Path, faults: Sequence[Fault]) -> Path:
    """Write ``NAME.left_out.csv`` beside ``NAME.safetensors``: the clips that were not used, and why.

    Raises:
        OSError: it cannot be written.
    """
    path = checkpoint.with_suffix(".left_out.csv")
    rows = (
        (str(fault.recording.path), f"{fault.recording.start_s:g}", fault.kind, fault.detail)
        for fault in faults
    )
    _write_table(path, ["file", "start_s", "fault", "detail"], rows)
    return path


def _write_table(path: Path, columns: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)

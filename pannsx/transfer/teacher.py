"""A teacher of fine-tuning: a checkpoint with the same classes, for labels that are wrong or missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pannsx.errors import did_you_mean
from pannsx.inference.engine import Precision
from pannsx.inference.pipeline import Pipeline
from pannsx.transfer.clips import Clips, Readable
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint


def positions_in(teacher: LoadedCheckpoint, labels: Sequence[str]) -> list[int]:
    """The teacher's outputs for these classes, by name or id.

    Raises:
        ValueError: it lacks a class.
    """
    try:
        return [teacher.labels.index(label) for label in labels]
    except ValueError:
        lacking = [label for label in labels if label not in teacher.labels.names]
    raise ValueError(
        f"the teacher {teacher.record.name} has no class {lacking[0]!r}"
        f"{did_you_mean(lacking[0], teacher.labels.names)}; it needs all {len(labels)} classes of the clips"
    )


def heard_by(
    teacher: LoadedCheckpoint,
    labels: Sequence[str],
    recordings: Sequence[Readable],
    *,
    device: str = "cpu",
    precision: Precision = "float32",
) -> FloatArray:
    """``(N, K)`` probabilities of ``K`` classes in ``N`` clips, read at the teacher's rate.

    Raises:
        AudioError: a clip cannot be read.
        ValueError: the teacher lacks a class.
    """
    columns = positions_in(teacher, labels)
    pipeline = Pipeline(teacher, device=device, precision=precision)
    clips = Clips(recordings, teacher.record.sample_rate, kept_bytes=0)
    return np.stack([found.answer.clipwise[columns] for found in pipeline.analyse(clips)])

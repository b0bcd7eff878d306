"""Operating points: thresholds and smoothing, calibrated on labelled data and kept in a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pannsx.atomic import replacing
from pannsx.errors import did_you_mean
from pannsx.strict import parse
from pannsx.types import PathLike

FORMAT = "pannsx operating points 1"
DEFAULT_THRESHOLD = 0.5
SMOOTHING = ("median_s", "max_gap_s", "min_duration_s")
"""Names of the times of smoothing, in :class:`OperatingPoints` and in the settings of events."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The thresholds of one class, and their scores on the calibration data.

    Attributes:
        threshold: probability at which an event begins.
        off_threshold: probability below which it ends; None: ``threshold``.
        precision: share of the detections that are correct.
        recall: share of the targets that are detected.
        f1: harmonic mean of the two.
        n_positive: frames or clips of the class in the data.
        median_s, max_gap_s, min_duration_s: smoothing of this class, as in
            :class:`pannsx.events.EventSettings`; None: that of all classes.
    """

    threshold: float
    off_threshold: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    n_positive: int | None = None
    median_s: float | None = None
    max_gap_s: float | None = None
    min_duration_s: float | None = None

    def __post_init__(self) -> None:
        for name in SMOOTHING:
            if getattr(self, name) is not None:
                check_seconds(getattr(self, name), name)
        check_threshold(self.threshold, "threshold")
        if self.off_threshold is not None:
            check_threshold(self.off_threshold, "off_threshold")
            if self.off_threshold > self.threshold:
                raise ValueError(
                    f"off_threshold is {self.off_threshold}, above the threshold {self.threshold}; an event "
                    "would end where it begins"
                )


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """Operating points of a checkpoint.

    Attributes:
        points: by label, for each class the data gave a threshold for.
        model: name of the checkpoint.
        rule: how they were chosen, in words.
        default: threshold of the other classes.
        hop_s: time between the frames of the calibration data, in seconds; None if unknown.
        median_s, max_gap_s, min_duration_s: smoothing of classes without their own, as in
            :class:`pannsx.events.EventSettings`.
        both_ends: whether off-thresholds also move begins, as in :class:`pannsx.events.EventSettings`.
        data: the calibration data, in words.
        weights_sha256: digest of the checkpoint's file; None if unknown.
    """

    points: Mapping[str, OperatingPoint]
    model: str | None = None
    rule: str | None = None
    default: float = DEFAULT_THRESHOLD
    hop_s: float | None = None
    median_s: float = 0.0
    max_gap_s: float = 0.0
    min_duration_s: float = 0.0
    both_ends: bool = False
    data: str | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        check_threshold(self.default, "default")
        for name in SMOOTHING:
            check_seconds(getattr(self, name), name)

    def thresholds(self) -> dict[str, float]:
        """By label, the probability at which an event begins, for each class with a point."""
        return {label: point.threshold for label, point in self.points.items()}

    def off_thresholds(self) -> dict[str, float]:
        """By label, the probability below which an event ends, for each class with a point."""
        return {
            label: point.threshold if point.off_threshold is None else point.off_threshold
            for label, point in self.points.items()
        }

    def check(self, labels: Sequence[str], model: str | None = None, sha256: str | None = None) -> None:
        """ValueError if they are of another checkpoint, or of a class missing from ``labels``."""
        if sha256 is not None and self.weights_sha256 not in (None, sha256):
            raise ValueError(
                f"the operating points are of other weights of {self.model!r}, sha256 "
                f"{self.weights_sha256}, not {sha256}; calibrate these weights, or remove the file"
            )
        if model is not None and self.model is not None and self.model != model:
            raise ValueError(
                f"the operating points are of {self.model!r}, not of {model!r}; calibrate this model"
            )
        known = set(labels)
        for label in self.points:
            if label not in known:
                raise ValueError(
                    f"the operating points contain {label!r}, which is not one of the "
                    f"{len(labels)} classes"
                    f"{did_you_mean(label, labels)}"
                )


def check_seconds(value: Any, name: str) -> float:
    """The time, unchanged; ValueError for anything but a finite number from 0 up."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}; a finite number of seconds from 0 up is needed")
    return float(value)


def check_threshold(value: Any, name: str) -> float:
    """The probability, unchanged; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; a number from 0 to 1 is needed")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; a probability from 0 to 1 is needed")
    return float(value)


def read_operating_points(path: PathLike) -> OperatingPoints:
    """Operating points from a file in the format of :func:`write_operating_points`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no operating points, or invalid ones.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f'{path} holds no operating points: it needs "format": "{FORMAT}"')
    facts = {key: value for key, value in content.items() if key != "format"}
    points: OperatingPoints = parse(OperatingPoints, facts, f"{path} holds no operating points")
    return points


def write_operating_points(points: OperatingPoints, path: PathLike) -> None:
    """Write operating points to a file, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        **{field.name: getattr(points, field.name) for field in fields(points) if field.name != "points"},
        "points": {
            label: {name: value for name, value in asdict(point).items() if value is not None}
            for label, point in points.points.items()
        },
    }
    with replacing(Path(path)) as temporary:
        temporary.write_text(
            json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
        )

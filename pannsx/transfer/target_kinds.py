"""Labels as users give them to a classifier, as classes and targets, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Form = Literal["one", "indicator", "lists"]


@dataclass(frozen=True)
class Classes:
    """The classes of a classifier, and the form in which labels are given and predicted.

    Attributes:
        values: ``(K,)`` classes as given: names, numbers; columns of an indicator without names by number.
        form: one label a clip; an indicator ``(N, K)`` of 0 and 1; or a list of labels for each clip.
    """

    values: NDArray[Any]
    form: Form

    @property
    def multi_label(self) -> bool:
        """Whether a clip may have several labels, or none."""
        return self.form != "one"

    @property
    def names(self) -> tuple[str, ...]:
        """``K`` names for a checkpoint."""
        return tuple(map(str, self.values.tolist()))

    def targets(self, labels: Any) -> NDArray[np.bool_]:
        """Labels of ``N`` clips, in the same form or another -> ``(N, K)``.

        Raises:
            ValueError: a label that is not one of the classes, or an indicator of other columns.
        """
        given, targets = read_labels(labels)
        if given.form == "indicator":
            if targets.shape[1] != len(self.values):
                raise ValueError(
                    f"the indicator has {targets.shape[1]} columns, and there are {len(self.values)} classes"
                )
            return targets
        position = {value: place for place, value in enumerate(self.values.tolist())}
        unknown = [value for value in given.values.tolist() if value not in position]
        if unknown:
            raise ValueError(f"the label {unknown[0]!r} is not one of the classes {self.values.tolist()}")
        found = np.zeros((len(targets), len(self.values)), np.bool_)
        found[:, [position[value] for value in given.values.tolist()]] = targets
        return found

    def labels(self, targets: NDArray[np.bool_]) -> Any:
        """``(N, K)`` targets -> labels in the form of this: ``(N,)``, ``(N, K)`` of 0 and 1, or lists."""
        if self.form == "one":
            return self.values[targets.argmax(axis=1)]
        if self.form == "indicator":
            return targets.astype(np.int64)
        return [self.values[row].tolist() for row in targets]


def read_labels(labels: Any) -> tuple[Classes, NDArray[np.bool_]]:
    """Labels of ``N`` clips -> the classes, in order, and ``(N, K)`` targets.

    Args:
        labels: ``(N,)`` names or numbers; an indicator ``(N, K)`` of 0 and 1, also sparse or a data frame,
            whose columns are the names; or a list, tuple or set of labels for each clip. In an indicator, NaN
            and None are not known (:func:`known_labels`), and no targets.

    Raises:
        ValueError: none of these.
    """
    if hasattr(labels, "toarray"):
        labels = labels.toarray()
    columns = getattr(labels, "columns", None)
    if _are_lists(labels):
        return _of_lists(labels)
    values = np.asarray(labels)
    if values.ndim == 2:
        return _of_indicator(values, columns)
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"the labels have the shape {values.shape}; (N,) labels, an indicator (N, K), or N lists are "
            "needed"
        )
    if values.dtype.kind == "O" and len({type(value) for value in values.tolist()}) > 1:
        raise ValueError("the labels are of several types; give all as text, or all as numbers")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.round(values)).any():
            raise ValueError("the labels are fractions or not finite; a classifier needs classes")
        values = values.astype(np.int64)
    if values.dtype.kind not in "OUSiub":
        raise ValueError(f"the labels are of the type {values.dtype}; text or whole numbers are needed")
    classes, place = np.unique(values, return_inverse=True)
    return Classes(classes, "one"), np.eye(len(classes), dtype=np.bool_)[place]


def known_labels(labels: Any) -> NDArray[np.bool_] | None:
    """``(N, K)``: which places of an indicator are known, not NaN or None; None if all are."""
    if hasattr(labels, "toarray") or (not hasattr(labels, "columns") and _are_lists(labels)):
        return None
    values = np.asarray(labels)
    if values.ndim != 2 or values.dtype.kind not in "fO":
        return None
    known = ~np.isnan(_as_floats(values))
    return None if known.all() else known


def _as_floats(values: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers, with NaN for the missing values of a data frame.

    Raises:
        ValueError: something else.
    """
    if values.dtype.kind != "O":
        return values.astype(np.float64)
    missing = [[each is None or type(each).__name__ == "NAType" for each in row] for row in values]
    try:
        return np.where(missing, np.nan, values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the labels are an array {values.shape} of other things than numbers: {error}"
        ) from None


def _are_lists(labels: Any) -> bool:
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise ValueError(f"the labels are {labels!r}; one label or list of labels for each clip is needed")
    if hasattr(labels, "columns"):
        return False
    several = [isinstance(value, (list, tuple, set, frozenset)) for value in labels]
    if not any(several):
        return False
    if not all(several):
        raise ValueError("some clips have a list of labels and some have not; give each clip a list")
    # [[0, 1], [1, 0]] is an indicator.
    same = len({len(value) for value in labels}) == 1
    numbers = all(
        each is None or (isinstance(each, (bool, int, float, np.number)) and (each in (0, 1) or each != each))
        for value in labels
        for each in value
    )
    return not (same and numbers and all(isinstance(value, (list, tuple)) and value for value in labels))


def _of_lists(labels: Sequence[Iterable[Any]]) -> tuple[Classes, NDArray[np.bool_]]:
    rows = [list(dict.fromkeys(row)) for row in labels]
    try:
        found = sorted({value for row in rows for value in row})
    except TypeError as error:
        raise ValueError(
            f"the labels cannot be ordered ({error}); give all as text, or all as numbers"
        ) from None
    if not found:
        raise ValueError("no clip has a label")
    place = {value: k for k, value in enumerate(found)}
    targets = np.zeros((len(rows), len(found)), np.bool_)
    for target, row in zip(targets, rows, strict=True):
        target[[place[value] for value in row]] = True
    return Classes(np.array(found), "lists"), targets


def _of_indicator(values: NDArray[Any], columns: Any) -> tuple[Classes, NDArray[np.bool_]]:
    if values.dtype.kind == "O":
        values = _as_floats(values)
    if values.dtype.kind == "f":
        unknown = np.isnan(values)
        if unknown.all() and values.size:
            raise ValueError(
                "the indicator has no number; a label is 1 if a clip has it, 0 if not, NaN if unknown"
            )
        values = np.where(unknown, 0, values)
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all() or not values.size:
        raise ValueError(
            f"the labels are an array {values.shape} of other values than 0 and 1; an indicator, or one "
            "label a clip is needed"
        )
    names = np.arange(values.shape[1]) if columns is None else np.array(list(map(str, columns)))
    return Classes(names, "indicator"), values.astype(np.bool_)

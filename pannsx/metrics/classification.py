"""Scores of a classifier by class: precision, recall, F1, and the confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pannsx.types import DoubleArray


@dataclass(frozen=True)
class ClassScores:
    """Scores of ``K`` classes over ``N`` clips; NaN where a class has none.

    Attributes:
        n_positive: ``(K,)`` clips of each class.
        n_predicted: ``(K,)`` clips given to each class.
        n_right: ``(K,)`` clips of each class that were given to it.
        precision: ``(K,)`` share of the clips given to a class that are of it; NaN if none was.
        recall: ``(K,)`` share of the clips of a class that were given to it; NaN without clips.
        f1: ``(K,)`` their harmonic mean, 0 if no clip is right; NaN without clips.
        n_clips: number ``N`` of clips.
        confusion: ``(K, K)`` number of clips by true class (row) and given class (column); None if clips may
            have several classes.
        n_known: ``(K,)`` clips of which it is known whether they are of the class; None: all.
    """

    n_positive: NDArray[np.int64]
    n_predicted: NDArray[np.int64]
    n_right: NDArray[np.int64]
    precision: DoubleArray
    recall: DoubleArray
    f1: DoubleArray
    n_clips: int
    confusion: NDArray[np.int64] | None = None
    n_known: NDArray[np.int64] | None = None

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes with clips."""
        return float(np.nanmean(self.recall))

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes with clips."""
        return float(np.nanmean(self.f1))

    @property
    def micro_f1(self) -> float:
        """F1 of all decisions together; with one class a clip, the accuracy."""
        return float(2 * self.n_right.sum() / (self.n_positive.sum() + self.n_predicted.sum()))

    @property
    def by_class(self) -> NDArray[np.int64]:
        """``(K, 4)`` clips of each class: right, missed, wrongly given to it, and rightly not given to it."""
        missed, wrong = self.n_positive - self.n_right, self.n_predicted - self.n_right
        n_clips = self.n_clips if self.n_known is None else self.n_known
        return np.stack([self.n_right, missed, wrong, n_clips - self.n_positive - wrong], axis=1)


def class_scores(
    targets: NDArray[np.bool_], given: NDArray[np.bool_], known: NDArray[np.bool_] | None = None
) -> ClassScores:
    """``(N, K)`` true and given classes -> scores by class.

    The confusion matrix is counted if every clip has exactly one true and one given class. ``known``,
    ``(N, K)``, is whether the truth is known: a class is scored over the clips of which it is; None: all.

    Raises:
        ValueError: other shapes, or no clip has a class.
    """
    if targets.ndim != 2 or targets.shape != given.shape:
        raise ValueError(f"targets are {targets.shape} and given classes {given.shape}; both must be (N, K)")
    n_known = None
    if known is not None:
        targets, given, n_known = targets & known, given & known, known.sum(axis=0)
    if not targets.any():
        raise ValueError("no clip has a class: there is nothing to score")
    right = (targets & given).sum(axis=0)
    n_positive, n_predicted = targets.sum(axis=0), given.sum(axis=0)
    with np.errstate(invalid="ignore"):
        precision = right / n_predicted
        recall = right / n_positive
        f1 = 2 * right / (n_positive + n_predicted)
    f1[n_positive == 0] = np.nan
    one_each = bool((targets.sum(axis=1) == 1).all() and (given.sum(axis=1) == 1).all())
    confusion = targets.astype(np.int64).T @ given.astype(np.int64) if one_each and known is None else None
    return ClassScores(
        n_positive, n_predicted, right, precision, recall, f1, len(targets), confusion, n_known
    )

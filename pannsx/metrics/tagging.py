"""Audio tagging metrics: average precision, area under the ROC curve and d-prime of every class.

The three published measures (paper, section V-C). All of them depend only on the number of clips
with a score at least as high as each positive clip's. So scores are sorted without their indices, in NumPy
with vector instructions, and positives are looked up by bisection. Equal scores count as one threshold:
average precision includes all of them, and a tie between a positive and a negative clip is half a
correctly ordered pair.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from pannsx.types import DoubleArray


@dataclass(frozen=True, slots=True)
class TaggingScores:
    """Scores of ``K`` classes; NaN where a class has no score.

    Attributes:
        average_precision: ``(K,)``; NaN for classes without a positive clip.
        auc: ``(K,)`` area under the ROC curve; NaN also for classes without a negative clip.
        d_prime: ``(K,)`` ``sqrt(2) * Phi^-1(auc)``; infinite for a perfectly ranked class.
        n_positive: ``(K,)`` positive clips.
        n_clips: number ``N`` of clips.
    """

    average_precision: DoubleArray
    auc: DoubleArray
    d_prime: DoubleArray
    n_positive: npt.NDArray[np.int64]
    n_clips: int

    @property
    def mAP(self) -> float:
        """Mean average precision over the classes with a positive clip."""
        return _mean_of_known(self.average_precision)

    @property
    def mean_auc(self) -> float:
        """Mean area under the curve over the classes with a defined one."""
        return _mean_of_known(self.auc)

    @property
    def mean_d_prime(self) -> float:
        """d-prime of the mean area under the curve, as published; not the mean of the d-primes."""
        return d_prime_of(self.mean_auc)

    @property
    def left_out(self) -> tuple[int, ...]:
        """Positions of the classes without a positive clip, which are excluded from all means."""
        return tuple(int(position) for position in np.flatnonzero(self.n_positive == 0))

    def __str__(self) -> str:
        means = f"mAP {self.mAP:.4f}, AUC {self.mean_auc:.4f}, d-prime {self.mean_d_prime:.3f}"
        n_classes = len(self.n_positive)
        said = f"{means} over {n_classes - len(self.left_out)} of {n_classes} classes, {self.n_clips} clips"
        if self.left_out:
            said += f"; {len(self.left_out)} left out, having no positive clip"
        return said


def tagging_scores(
    targets: npt.ArrayLike, scores: npt.ArrayLike, known: npt.ArrayLike | None = None
) -> TaggingScores:
    """``(N, K)`` targets, 0 or 1, and ``(N, K)`` scores, probabilities or logits -> `TaggingScores`.

    Args:
        targets: whether class ``k`` is present in clip ``n``.
        scores: of the classes.
        known: ``(N, K)``, whether a target is known; a class is scored over the clips of which it is. None:
            all are.

    Raises:
        ValueError: shapes that differ or are not ``(N, K)``, targets other than 0 and 1, a NaN score.
    """
    truth, ranked = _checked(targets, scores)
    counted = None if known is None else _known(known, truth).T
    truth = truth if counted is None else truth & counted.T
    n_clips, n_classes = truth.shape
    average_precision = np.full(n_classes, np.nan)
    auc = np.full(n_classes, np.nan)
    # Classes become rows, so that a class is contiguous: one copy instead of strided access in every sort.
    truth, ranked = np.ascontiguousarray(truth.T), np.ascontiguousarray(ranked.T)
    n_positive = np.count_nonzero(truth, axis=1)
    for k in np.flatnonzero(n_positive):
        clips = slice(None) if counted is None else counted[k]
        average_precision[k], auc[k] = _one_class(truth[k][clips], ranked[k][clips])
    d_prime = np.array([d_prime_of(area) for area in auc.tolist()])
    return TaggingScores(average_precision, auc, d_prime, n_positive.astype(np.int64), n_clips)


def d_prime_of(auc: float) -> float:
    """Area under the ROC curve -> d-prime, ``sqrt(2) * Phi^-1(auc)``: the distance between two unit normals.

    NaN gives NaN, 0 minus infinity, 1 plus infinity.
    """
    if not 0.0 < auc < 1.0:
        return {0.0: -np.inf, 1.0: np.inf}.get(auc, np.nan)
    return float(np.sqrt(2.0) * NormalDist().inv_cdf(auc))


def accuracy(targets: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """``(N,)`` class numbers and ``(N, K)`` scores -> share of clips with the highest score at their class.

    Raises:
        ValueError: shapes that do not match.
    """
    truth, ranked = np.asarray(targets), np.asarray(scores)
    if ranked.ndim != 2 or truth.shape != ranked.shape[:1] or not len(truth):
        raise ValueError(
            f"targets are {truth.shape} and scores {ranked.shape}; (N,) class numbers and (N, K) scores, "
            "N >= 1, are needed"
        )
    return float(np.mean(ranked.argmax(axis=1) == truth))


def _one_class(truth: npt.NDArray[np.bool_], ranked: npt.NDArray[Any]) -> tuple[float, float]:
    """``(N,)`` targets, at least one of them true, and ``(N,)`` scores -> average precision and AUC."""
    everything = np.sort(ranked)
    positives = np.sort(ranked[truth])
    n_clips, n_positive = len(everything), len(positives)
    below = np.searchsorted(everything, positives, side="left")
    positives_below = np.searchsorted(positives, positives, side="left")
    average_precision = float(np.mean((n_positive - positives_below) / (n_clips - below)))
    n_negative = n_clips - n_positive
    if n_negative == 0:
        return average_precision, np.nan
    not_above = np.searchsorted(everything, positives, side="right")
    positives_not_above = np.searchsorted(positives, positives, side="right")
    # Twice the number of negatives outscored: those below count two, ties count one.
    beaten = (below - positives_below) + (not_above - positives_not_above)
    return average_precision, int(beaten.sum()) / (2 * n_positive * n_negative)


def _checked(targets: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
    truth, ranked = np.asarray(targets), np.asarray(scores)
    if truth.ndim != 2 or truth.shape != ranked.shape or 0 in truth.shape:
        raise ValueError(
            f"targets are {truth.shape} and scores {ranked.shape}; both must be (N, K), with at least one "
            "clip and one class"
        )
    if truth.dtype != np.bool_:
        as_bool = truth.astype(np.bool_)
        if not np.array_equal(as_bool, truth):
            raise ValueError("targets hold values other than 0 and 1; one column per class is needed")
        truth = as_bool
    if ranked.dtype.kind not in "fiu":
        raise ValueError(f"scores are of type {ranked.dtype}; numbers are needed")
    if ranked.dtype == np.float16:
        ranked = ranked.astype(np.float32)  # the same numbers, in a type that sorts fast
    if ranked.dtype.kind == "f" and np.isnan(ranked).any():
        clip, k = (int(i) for i in np.argwhere(np.isnan(ranked))[0])
        n_bad = int(np.isnan(ranked).sum())
        raise ValueError(f"{n_bad} scores are NaN, the first of them clip {clip}, class {k}; NaN has no rank")
    return truth, ranked


def _known(known: npt.ArrayLike, truth: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    counted = np.asarray(known)
    if counted.shape != truth.shape or counted.dtype != np.bool_:
        raise ValueError(
            f"known is {counted.shape} of {counted.dtype}; true or false for each of the targets "
            f"{truth.shape} is needed"
        )
    return counted


def _mean_of_known(values: DoubleArray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean over no class is NaN
        return float(np.nanmean(values))

"""Bootstrap intervals of scores of generated audio: their spread if the clips were drawn again.

Clips are drawn with replacement, each set by itself, and the score is recomputed.  Repeated clips leave fewer
different ones in a set, so distances between resampled sets are larger on average. This bias is not part of
the spread and is removed: the interval of the resampled scores around their mean is moved to the score of the
original clips.

A draw is stored as the count of each clip.  The Frechet distances of all draws are then computed from one
product of the two sets, the kernel distances in one pass over the pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.metrics.generation.frechet import frechet_distance
from pannsx.metrics.generation.kernels import (
    KernelName,
    kernel_audio_distance,
    kernel_inception_distance,
    weighted_kernel_distances,
    weighted_polynomial_mmd,
)
from pannsx.metrics.generation.rows import checked_rows
from pannsx.types import DoubleArray

_PRODUCT_ROWS = 2
"""Above this ratio of rows to ``D``, the product of two sets costs more than it saves."""


class Interval(NamedTuple):
    """Range of a score in a share ``level`` of all cases, if clips were drawn again.

    Attributes:
        low, high: its ends.
        level: share of cases.
        n_resamples: number of draws.
        seed: seed of the draws.
    """

    low: float
    high: float
    level: float
    n_resamples: int
    seed: int


def bootstrap_interval(
    score: Callable[..., float],
    *sets: npt.ArrayLike,
    paired: bool = False,
    level: float = 0.95,
    n_resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Interval of ``score(*sets)``, each set an array ``(N_i, ...)`` of clips.

    Args:
        score: function of all sets. The interval of :func:`frechet_distance` or
            :func:`kernel_audio_distance` costs one product of the sets, that of any other score
            ``n_resamples`` times the score.
        sets: arrays ``(N_i, ...)``.
        paired: draw the same rows of every set: row ``i`` of one belongs to row ``i`` of the others.
        level: level of the interval, between 0 and 1.
        n_resamples: number of draws.
        seed: seed of the draws.

    Raises:
        ValueError: an invalid level or number, or paired sets of unequal length; also errors of ``score``.
    """
    if not 0 < level < 1 or n_resamples < 2 or not sets:
        raise ValueError(
            f"level is {level}, n_resamples {n_resamples}, of {len(sets)} sets; a level between 0 and 1, at "
            "least 2 resamples and one set are needed"
        )
    arrays = [np.asarray(each) for each in sets]
    if paired and len({len(each) for each in arrays}) > 1:
        raise ValueError(
            f"paired sets have {[len(each) for each in arrays]} rows; they must have the same number"
        )
    if score is frechet_distance and not paired and len(arrays) == 2:
        x, y = checked_rows(arrays[0], "reference"), checked_rows(arrays[1], "generated")
        found, value = _frechet_distances(x, y, n_resamples, seed), frechet_distance(x, y)
    elif score is kernel_audio_distance and not paired and len(arrays) == 2:
        return kernel_interval(arrays[0], arrays[1], level=level, n_resamples=n_resamples, seed=seed)
    else:
        value = float(score(*arrays))
        found = np.array([score(*drawn) for drawn in _draws(arrays, n_resamples, seed, paired=paired)])
    return _around(value, found, level, seed)


def kernel_interval(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    bandwidth: float | Literal["median"] = "median",
    kernel: KernelName = "gaussian",
    level: float = 0.95,
    n_resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Interval of :func:`kernel_audio_distance`; the bandwidth is that of the original reference.

    Raises:
        ValueError: as :func:`kernel_audio_distance` and :func:`bootstrap_interval`.
    """
    x, y = checked_rows(reference, "reference"), checked_rows(generated, "generated")
    rng = np.random.default_rng(seed)
    # The first column is the original sets.
    counts = [
        np.concatenate([np.ones((len(rows), 1)), _counts(rng, len(rows), n_resamples).T], axis=1)
        for rows in (x, y)
    ]
    found = weighted_kernel_distances(x, y, bandwidth, kernel, *counts)
    return _around(float(found[0]), found[1:], level, seed)


def kernel_inception_interval(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    n_subsets: int = 100,
    subset_size: int = 1000,
    degree: int = 3,
    subset_seed: int = 2020,
    level: float = 0.95,
    n_resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Interval of the mean of :func:`kernel_inception_distance`.

    The spread is that of the whole sets' squared MMD, which the mean over subsets estimates.

    Raises:
        ValueError: as :func:`kernel_inception_distance` and :func:`bootstrap_interval`.
    """
    x, y = checked_rows(reference, "reference"), checked_rows(generated, "generated")
    value = kernel_inception_distance(
        x, y, n_subsets=n_subsets, subset_size=subset_size, degree=degree, seed=subset_seed
    ).mean
    rng = np.random.default_rng(seed)
    counts = [_counts(rng, len(rows), n_resamples).T for rows in (x, y)]
    return _around(value, weighted_polynomial_mmd(x, y, degree, *counts), level, seed)


def _around(value: float, found: DoubleArray, level: float, seed: int) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail]) - found.mean()
    return Interval(value + float(low), value + float(high), level, len(found), seed)


def _counts(rng: np.random.Generator, n: int, n_resamples: int) -> DoubleArray:
    """``(R, n)``: counts of ``n`` rows in ``n`` draws; never all draws of one row."""
    counts = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
    for i in np.flatnonzero(np.count_nonzero(counts, axis=1) < 2):  # only of very small sets
        while np.count_nonzero(counts[i]) < 2:
            counts[i] = rng.multinomial(n, np.full(n, 1 / n))
    return counts


def _draws(arrays: list[npt.NDArray[Any]], n_resamples: int, seed: int, *, paired: bool) -> Any:
    rng = np.random.default_rng(seed)
    for _ in range(n_resamples):
        if paired:
            drawn = rng.integers(len(arrays[0]), size=len(arrays[0]))
            yield [each[drawn] for each in arrays]
        else:
            yield [each[rng.integers(len(each), size=len(each))] for each in arrays]


def _frechet_distances(x: npt.NDArray[Any], y: npt.NDArray[Any], n_resamples: int, seed: int) -> DoubleArray:
    rng = np.random.default_rng(seed)
    x_counts, y_counts = _counts(rng, len(x), n_resamples), _counts(rng, len(y), n_resamples)
    if max(len(x), len(y)) > _PRODUCT_ROWS * x.shape[1]:
        return np.array(
            [
                frechet_distance(np.repeat(x, v.astype(int), axis=0), np.repeat(y, w.astype(int), axis=0))
                for v, w in zip(x_counts, y_counts, strict=True)
            ]
        )
    centre = x.mean(axis=0, dtype=np.float64)
    left, right = x - centre, y - centre
    product = left @ right.T
    return np.array([_of_counts(left, right, product, v, w) for v, w in zip(x_counts, y_counts, strict=True)])


def _of_counts(x: DoubleArray, y: DoubleArray, product: DoubleArray, v: DoubleArray, w: DoubleArray) -> float:
    """Frechet distance of rows drawn ``v`` and ``w`` times, from ``product = x y^T``.

    A row drawn ``v`` times adds ``v (x - m)(x - m)^T`` to the scatter, like one row times ``sqrt(v)``.
    """
    n, m = v.sum(), w.sum()
    x_mean, y_mean = v @ x / n, w @ y / m
    x_trace, y_trace = (
        (weights @ np.einsum("id,id->i", rows, rows) - total * (mean @ mean)) / (total - 1)
        for rows, weights, total, mean in ((x, v, n, x_mean), (y, w, m, y_mean))
    )
    centred = product - (x @ y_mean)[:, None] - y @ x_mean + x_mean @ y_mean
    kept = centred[np.ix_(v > 0, w > 0)]
    kept = np.sqrt(v[v > 0])[:, None] * kept * np.sqrt(w[w > 0])
    singular = np.linalg.svd(kept / np.sqrt((n - 1) * (m - 1)), compute_uv=False)
    shift = x_mean - y_mean
    return float(shift @ shift + x_trace + y_trace - 2 * singular.sum())

"""The Frechet distance of two sets of embeddings, and its limit for infinitely many clips.

It needs the trace of ``(S1 S2)^(1/2)``. With ``S1 = A^T A`` and ``S2 = B^T B`` that trace is the sum of the
singular values of ``A B^T``: the eigenvalues of ``S1 S2`` are those of ``(A B^T)(A B^T)^T``. ``A`` and ``B``
are the centred rows or, with more rows than columns, the triangle of their QR decomposition, so no covariance
and no matrix square root is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.metrics.generation.rows import check_sizes, checked_rows
from pannsx.types import DoubleArray

_ROUNDING = 1e-8  # of a covariance's largest eigenvalue: rounding of float64 and of float32 files


@dataclass(frozen=True, eq=False)
class EmbeddingStatistics:
    """Mean and spread of ``(N, D)`` embeddings, sufficient for the Frechet distance.

    Attributes:
        mean: ``(D,)`` float64.
        n_rows: number ``N`` of embeddings.
        centred: ``(N, D)`` embeddings minus their mean, if ``N < D``: smaller than the covariance, and
            exact.
        covariance: ``(D, D)``, divided by ``N - 1``, if there are no centred rows.

    Raises:
        ValueError: mismatched shapes, non-finite values, or no covariance.
    """

    mean: DoubleArray
    n_rows: int
    centred: DoubleArray | None = None
    covariance: DoubleArray | None = None

    def __post_init__(self) -> None:
        size = self.mean.shape[0] if self.mean.ndim == 1 else 0
        if self.n_rows < 2 or not size:
            raise ValueError(
                f"statistics of {self.n_rows} rows with a mean of shape {self.mean.shape}; at least 2 rows "
                "and a mean (D,) are needed"
            )
        if (self.centred is None) == (self.covariance is None):
            raise ValueError("statistics hold either the centred rows (N, D) or the covariance (D, D)")
        spread = self.covariance if self.centred is None else self.centred
        needed = (size, size) if self.centred is None else (self.n_rows, size)
        what = "covariance" if self.centred is None else "centred rows"
        if spread is None or spread.shape != needed:
            raise ValueError(f"the {what} must be {needed}; got {None if spread is None else spread.shape}")
        if not (np.isfinite(self.mean).all() and np.isfinite(spread).all()):
            raise ValueError(f"the mean or the {what} hold values that are not finite")

    @classmethod
    def of(cls, embeddings: npt.ArrayLike) -> EmbeddingStatistics:
        """``(N, D)`` embeddings -> their statistics.

        Raises:
            ValueError: fewer than 2 rows, non-finite values, or another shape.
        """
        rows = checked_rows(embeddings, "embeddings")
        n_rows, size = rows.shape
        mean = rows.mean(axis=0, dtype=np.float64)
        if n_rows < size:
            return cls(mean, n_rows, centred=rows - mean)
        covariance = np.zeros((size, size))
        for begin in range(0, n_rows, size):
            block = rows[begin : begin + size] - mean
            covariance += block.T @ block
        return cls(mean, n_rows, covariance=covariance / (n_rows - 1))

    @property
    def embedding_size(self) -> int:
        """``D``."""
        return len(self.mean)

    @property
    def embeddings(self) -> DoubleArray | None:
        """``(N, D)``: the embeddings themselves, restored from the centred rows; None without those."""
        return None if self.centred is None else self.centred + self.mean


@dataclass(frozen=True)
class FrechetInfinity:
    """The Frechet distance extrapolated to infinitely many generated clips.

    Attributes:
        score: intercept of the line through the distances over ``1 / n``.
        slope: slope of the line: the bias of ``n`` clips is about ``slope / n``.
        r_squared: share of the distances' variance explained by the line; with a low one the extrapolation
            is unreliable.
        n_rows: sizes of the random subsets.
        distances: Frechet distance of each subset.
        seed: seed of the random choice.
    """

    score: float
    slope: float
    r_squared: float
    n_rows: tuple[int, ...]
    distances: tuple[float, ...]
    seed: int


def frechet_distance(
    reference: npt.ArrayLike | EmbeddingStatistics, generated: npt.ArrayLike | EmbeddingStatistics
) -> float:
    """``(N, D)``, ``(M, D)`` or their statistics -> ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``.

    Also called FD, FID or FAD. With few rows the distance is biased upwards: compare systems with the same
    number of clips, or see :func:`frechet_infinity`.

    Memory: both sets in float64 and, with ``r = min(rows, D)`` of each set, a matrix ``(r1, r2)`` twice.

    Raises:
        ValueError: fewer than 2 rows, another ``D``, or values that are not finite.
    """
    one, other = _gaussian(reference, "reference"), _gaussian(generated, "generated")
    check_sizes(len(one.mean), len(other.mean))
    return _frechet(one, other)


def frechet_infinity(
    reference: npt.ArrayLike | EmbeddingStatistics,
    generated: npt.ArrayLike,
    *,
    n_steps: int = 15,
    min_rows: int | None = None,
    seed: int = 0,
) -> FrechetInfinity:
    """The Frechet distance of infinitely many generated clips, by extrapolation over ``1 / n``.

    ``n_steps`` random subsets without repetition, of ``min_rows`` to all ``N`` generated rows, are compared
    with the whole reference; a line fitted to the distances over ``1 / n`` is extrapolated to ``1 / n = 0``.
    The bias due to the reference's own size remains.

    Args:
        reference: as in :func:`frechet_distance`.
        generated: ``(N, D)`` embeddings.
        n_steps: number of subsets.
        min_rows: size of the smallest subset; None: a third of the rows.
        seed: seed of the random choice.

    Raises:
        ValueError: as :func:`frechet_distance`, or too few rows for 3 different sizes.
    """
    rows = checked_rows(generated, "generated")
    fixed = _gaussian(reference, "reference")
    check_sizes(len(fixed.mean), rows.shape[1])
    smallest = max(2, len(rows) // 3) if min_rows is None else min_rows
    if n_steps < 3 or smallest < 2 or len(rows) - smallest < 2:
        raise ValueError(
            f"{n_steps} subsets of {smallest} to {len(rows)} rows; at least 3 subsets, 2 rows in the "
            "smallest and 2 more in the largest are needed"
        )
    sizes = np.unique(np.linspace(smallest, len(rows), n_steps).round().astype(int))
    rng = np.random.default_rng(seed)
    distances = np.array(
        [
            _frechet(fixed, _gaussian_of_rows(rows[rng.choice(len(rows), n, replace=False)]))
            for n in sizes.tolist()
        ]
    )
    slope, intercept = np.polyfit(1 / sizes, distances, 1)
    residual = distances - (intercept + slope / sizes)
    spread = distances - distances.mean()
    total = float(spread @ spread)
    r_squared = 1 - float(residual @ residual) / total if total > 0 else 1.0
    return FrechetInfinity(
        float(intercept), float(slope), r_squared, tuple(sizes.tolist()), tuple(distances.tolist()), seed
    )


class Gaussian(NamedTuple):
    """Mean ``(D,)``, trace of the covariance, and its factor ``(r, D)``: it equals ``factor^T factor``."""

    mean: DoubleArray
    trace: float
    factor: DoubleArray


def _gaussian(values: npt.ArrayLike | EmbeddingStatistics, what: str) -> Gaussian:
    if not isinstance(values, EmbeddingStatistics):
        return _gaussian_of_rows(checked_rows(values, what))
    scale = 1 / np.sqrt(values.n_rows - 1)
    if values.centred is not None:
        factor = values.centred * scale
        return Gaussian(values.mean, float(np.vdot(factor, factor)), factor)
    covariance = values.covariance
    if covariance is None:  # impossible after the statistics' own check
        raise ValueError(f"{what}: statistics without spread")
    eigenvalues, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    if eigenvalues[0] < -_ROUNDING * max(eigenvalues[-1], 0.0):
        raise ValueError(
            f"{what}: the covariance has an eigenvalue of {eigenvalues[0]:.3g} where the largest is "
            f"{eigenvalues[-1]:.3g}; no set of embeddings has a negative one"
        )
    kept = np.maximum(eigenvalues, 0.0)
    return Gaussian(values.mean, float(np.trace(covariance)), np.sqrt(kept)[:, None] * vectors.T)


def _gaussian_of_rows(rows: npt.NDArray[Any]) -> Gaussian:
    n_rows, size = rows.shape
    mean = rows.mean(axis=0, dtype=np.float64)
    scale = 1 / np.sqrt(n_rows - 1)
    if n_rows <= size:
        factor = (rows - mean) * scale
        return Gaussian(mean, float(np.vdot(factor, factor)), factor)
    triangle = np.empty((0, size))
    for begin in range(0, n_rows, 2 * size):  # in blocks, so that memory does not grow with the rows
        block = (rows[begin : begin + 2 * size] - mean) * scale
        triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, block]), mode="r"))
    return Gaussian(mean, float(np.vdot(triangle, triangle)), triangle)


def _frechet(one: Gaussian, other: Gaussian) -> float:
    shift = one.mean - other.mean
    singular = np.linalg.svd(one.factor @ other.factor.T, compute_uv=False)
    # Rounding may give equal sets a value slightly below zero, impossible for a distance.
    return max(0.0, float(shift @ shift) + one.trace + other.trace - 2 * float(singular.sum()))

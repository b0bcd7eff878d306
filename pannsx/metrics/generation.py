"""Scores of generated audio from embeddings and logits: Frechet and kernel distances, KL, inception score.

Everything is computed in float64 from arrays; for files, use :mod:`pannsx.scoring`.  The field's tools use
other conventions and lower precision; a convention with an effect on a score is an argument here.

The Frechet distance needs the trace of ``(S1 S2)^(1/2)``.  With ``S1 = A^T A`` and ``S2 = B^T B`` that trace
is the sum of the singular values of ``A B^T``: the eigenvalues of ``S1 S2`` are those of ``(A B^T)(A
B^T)^T``. ``A`` and ``B`` are the centred rows or, with more rows than columns, the triangle of their QR
decomposition, so no covariance and no matrix square root is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit, log_softmax, logsumexp

from pannsx.metrics.pairwise import Kernel, median_distance, squared_distances, weighted_kernel_sums

DoubleArray = npt.NDArray[np.float64]
KernelName = Literal["gaussian", "inverse_quadratic", "inverse_multiquadric"]
KLKind = Literal["softmax", "sigmoid"]
KLConvention = Literal["exact", "audioldm_eval"]

KAD_SCALE = 100.0
"""Kernel audio distances are published times 100."""

AUDIOLDM_EVAL_EPSILON = 1e-6
"""audioldm_eval's addition to the generated probability inside the logarithm."""

_SHOWN_NAMES = 5
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


class KernelInceptionDistance(NamedTuple):
    """Mean and standard deviation of the squared MMD over random subsets."""

    mean: float
    std: float


class InceptionScore(NamedTuple):
    """Mean and standard deviation of the inception score over the splits."""

    mean: float
    std: float


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
    _check_sizes(len(one.mean), len(other.mean))
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
    _check_sizes(len(fixed.mean), rows.shape[1])
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


def kernel_audio_distance(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    bandwidth: float | Literal["median"] = "median",
    kernel: KernelName = "gaussian",
) -> float:
    """``(N, D)`` and ``(M, D)`` embeddings -> KAD: 100 times the unbiased squared MMD; may be below 0.

    Args:
        reference: embeddings of real audio; they determine the bandwidth.
        generated: embeddings of generated audio.
        bandwidth: bandwidth of the kernel; ``"median"`` is the median distance of two reference rows (with an
            even number of pairs the lower middle one, as in kadtk).
        kernel: ``exp(-g d^2)``, ``1 / (1 + g d^2)`` or ``1 / sqrt(1 + g d^2)`` with
            ``g = 1 / (2 bandwidth^2)``.

    Distances are computed in blocks: memory does not grow with ``N``, time grows with ``(N + M)^2 D``.

    Raises:
        ValueError: fewer than 2 rows, another ``D``, non-finite values, or a bandwidth of 0 or below (the
            median is 0 if most reference rows are equal).
    """
    x, y = checked_rows(reference, "reference"), checked_rows(generated, "generated")
    _check_sizes(x.shape[1], y.shape[1])
    ones = np.ones((len(x), 1)), np.ones((len(y), 1))
    return float(weighted_kernel_distances(x, y, bandwidth, kernel, *ones)[0])


def weighted_kernel_distances(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    bandwidth: float | Literal["median"],
    kernel: KernelName,
    x_counts: DoubleArray,
    y_counts: DoubleArray,
) -> DoubleArray:
    """KAD of ``R`` resamplings at once: counts of each row, ``(N, R)`` and ``(M, R)`` -> ``(R,)``."""
    if kernel not in get_args(KernelName):
        raise ValueError(f"kernel is {kernel!r}; use one of {', '.join(get_args(KernelName))}")
    width = median_distance(x) if bandwidth == "median" else float(bandwidth)
    if not (width > 0 and np.isfinite(width)):
        raise ValueError(
            f"the bandwidth is {width}; one above 0 is needed (the median distance of reference rows is 0 "
            "where most of them are equal)"
        )
    of_distances = _kernel(kernel, 1 / (2 * width**2))
    centre = x.mean(axis=0, dtype=np.float64)
    own = x_counts.sum(axis=0), y_counts.sum(axis=0)  # k(x, x) is 1
    return KAD_SCALE * _weighted_mmd(x, y, of_distances, centre, x_counts, y_counts, own)


def weighted_polynomial_mmd(
    x: npt.NDArray[Any], y: npt.NDArray[Any], degree: int, x_counts: DoubleArray, y_counts: DoubleArray
) -> DoubleArray:
    """``(N, R)``, ``(M, R)`` counts -> ``(R,)`` squared MMD, kernel of :func:`kernel_inception_distance`."""
    size = x.shape[1]

    def polynomial(left: DoubleArray, right: DoubleArray) -> DoubleArray:
        found: DoubleArray = (left @ right.T / size + 1.0) ** degree
        return found

    x_own, y_own = (
        counts.T @ (np.einsum("id,id->i", rows, rows, dtype=np.float64) / size + 1.0) ** degree
        for rows, counts in ((x, x_counts), (y, y_counts))
    )
    return _weighted_mmd(x, y, polynomial, 0.0, x_counts, y_counts, (x_own, y_own))


def _weighted_mmd(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    kernel: Kernel,
    centre: DoubleArray | float,
    x_counts: DoubleArray,
    y_counts: DoubleArray,
    own: tuple[DoubleArray, DoubleArray],
) -> DoubleArray:
    """Unbiased squared MMD ``(R,)``: ``own`` is the sum of each draw's kernel with itself, subtracted."""
    xx = weighted_kernel_sums(x, None, kernel, centre, x_counts, x_counts) - own[0]
    yy = weighted_kernel_sums(y, None, kernel, centre, y_counts, y_counts) - own[1]
    xy = weighted_kernel_sums(x, y, kernel, centre, x_counts, y_counts)
    n, m = x_counts.sum(axis=0), y_counts.sum(axis=0)
    found: DoubleArray = xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)
    return found


def kernel_inception_distance(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    n_subsets: int = 100,
    subset_size: int = 1000,
    degree: int = 3,
    seed: int = 2020,
) -> KernelInceptionDistance:
    """``(N, D)`` and ``(M, D)`` embeddings -> KID: unbiased squared MMD of random subsets, polynomial kernel.

    The kernel is ``(x y / D + 1)^degree``. Subsets are drawn as in audioldm_eval and torch-fidelity
    (generated first, NumPy's legacy generator), so the same seed gives the same subsets.

    Raises:
        ValueError: as :func:`kernel_audio_distance`, or a set with fewer rows than ``subset_size``.
    """
    x, y = checked_rows(reference, "reference"), checked_rows(generated, "generated")
    _check_sizes(x.shape[1], y.shape[1])
    for rows, what in ((x, "reference"), (y, "generated")):
        if not 2 <= subset_size <= len(rows):
            raise ValueError(
                f"subset_size is {subset_size} and the {what} set has {len(rows)} rows; 2 to that many are "
                f"needed"
            )
    if n_subsets < 1 or degree < 1:
        raise ValueError(f"n_subsets is {n_subsets} and degree {degree}; both must be at least 1")
    rng = np.random.RandomState(seed)  # legacy: published numbers use its subsets
    found, once = np.empty(n_subsets), np.ones((subset_size, 1))
    for i in range(n_subsets):
        of_generated = y[rng.choice(len(y), subset_size, replace=False)]
        of_reference = x[rng.choice(len(x), subset_size, replace=False)]
        found[i] = weighted_polynomial_mmd(of_reference, of_generated, degree, once, once)[0]
    return KernelInceptionDistance(float(found.mean()), float(found.std()))


def kl_divergence(
    reference_logits: npt.ArrayLike,
    generated_logits: npt.ArrayLike,
    *,
    kind: KLKind = "softmax",
    convention: KLConvention = "exact",
    reference_names: Sequence[str] | None = None,
    generated_names: Sequence[str] | None = None,
) -> float:
    """``(N, K)``, ``(M, K)`` logits -> mean over pairs of ``sum_k p_k log(p_k / q_k)``, ``p`` the reference.

    Args:
        reference_logits: logits of real clips, for ``p``.
        generated_logits: logits of generated clips, for ``q``.
        kind: ``"softmax"`` or ``"sigmoid"``. Sigmoid probabilities do not sum to one, so their sum over
            classes (as the tools compute it) may be below 0.
        convention: ``"exact"``, from log-probabilities, like av-benchmark; ``"audioldm_eval"`` adds 1e-6 to
            ``q`` inside the logarithm, which bounds the cost of a confident mistake.
        reference_names: a unique name for each reference row.
        generated_names: for each generated row, the name of its reference; several rows may share a
            reference. Without names, row ``i`` belongs to row ``i``.

    Raises:
        ValueError: names without a partner, names for one side only, rows that cannot be paired, another
            ``K``, or non-finite values.
    """
    return float(
        kl_divergences(
            reference_logits,
            generated_logits,
            kind=kind,
            convention=convention,
            reference_names=reference_names,
            generated_names=generated_names,
        ).mean()
    )


def kl_divergences(
    reference_logits: npt.ArrayLike,
    generated_logits: npt.ArrayLike,
    *,
    kind: KLKind = "softmax",
    convention: KLConvention = "exact",
    reference_names: Sequence[str] | None = None,
    generated_names: Sequence[str] | None = None,
) -> DoubleArray:
    """``(N, K)``, ``(M, K)`` logits -> ``(M,)``: :func:`kl_divergence` of each generated row."""
    if kind not in get_args(KLKind) or convention not in get_args(KLConvention):
        raise ValueError(
            f"kind is {kind!r} and convention {convention!r}; kinds are {', '.join(get_args(KLKind))}, "
            f"conventions {', '.join(get_args(KLConvention))}"
        )
    reference = checked_rows(reference_logits, "reference logits", least=1).astype(np.float64)
    generated = checked_rows(generated_logits, "generated logits", least=1).astype(np.float64)
    _check_sizes(reference.shape[1], generated.shape[1], "classes")
    reference = reference[paired_rows(len(reference), len(generated), reference_names, generated_names)]
    log_p, log_q = (
        log_softmax(rows, axis=1) if kind == "softmax" else log_expit(rows) for rows in (reference, generated)
    )
    if convention == "audioldm_eval":
        log_q = np.log(np.exp(log_q) + AUDIOLDM_EVAL_EPSILON)
    found: DoubleArray = np.sum(np.exp(log_p) * (log_p - log_q), axis=1)
    return found


def paired_rows(
    n_reference: int,
    n_generated: int,
    reference_names: Sequence[str] | None,
    generated_names: Sequence[str] | None,
) -> npt.NDArray[np.intp]:
    """The reference row of each generated row, ``(M,)``.

    Raises:
        ValueError: see :func:`kl_divergence`.
    """
    if (reference_names is None) != (generated_names is None):
        raise ValueError("give names for both sets, or for neither to pair row by row")
    if reference_names is None or generated_names is None:
        if n_reference != n_generated:
            raise ValueError(
                f"{n_reference} reference and {n_generated} generated rows cannot be paired one by one; give "
                "the names of both"
            )
        return np.arange(n_reference)
    if len(reference_names) != n_reference or len(generated_names) != n_generated:
        raise ValueError(
            f"{len(reference_names)} and {len(generated_names)} names of {n_reference} reference and "
            f"{n_generated} generated rows; every row needs one"
        )
    row_of = {name: row for row, name in enumerate(reference_names)}
    if len(row_of) < n_reference:
        repeated = {name for name in reference_names if list(reference_names).count(name) > 1}
        raise ValueError(f"reference names must differ; repeated: {_listed(repeated)}")
    strangers, alone = set(generated_names) - set(row_of), set(row_of) - set(generated_names)
    if strangers or alone:
        said = [
            f"{len(names)} {whose} without a partner: {_listed(names)}"
            for names, whose in ((strangers, "generated"), (alone, "reference"))
            if names
        ]
        raise ValueError("; ".join(said) + "; pair them, or leave them out of both sets")
    return np.array([row_of[name] for name in generated_names])


def inception_score(logits: npt.ArrayLike, *, splits: int = 10, seed: int = 2020) -> InceptionScore:
    """``(N, K)`` logits of generated clips -> ``exp`` of the mean KL from each clip to the split's mean.

    Rows are shuffled with NumPy's legacy generator and cut into ``splits`` parts, as in the field's tools.

    Raises:
        ValueError: fewer rows than splits, or non-finite values.
    """
    rows = checked_rows(logits, "logits", least=1).astype(np.float64)
    n = len(rows)
    if not 1 <= splits <= n:
        raise ValueError(f"splits is {splits} and there are {n} rows; 1 to that many are needed")
    rng = np.random.RandomState(seed)  # legacy: published numbers use its shuffle
    log_p = log_softmax(rows[rng.permutation(n)], axis=1)
    scores = []
    for i in range(splits):
        part = log_p[i * n // splits : (i + 1) * n // splits]
        log_mean = logsumexp(part, axis=0) - np.log(len(part))
        scores.append(float(np.exp(np.mean(np.sum(np.exp(part) * (part - log_mean), axis=1)))))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def checked_rows(values: npt.ArrayLike, what: str, *, least: int = 2) -> npt.NDArray[Any]:
    """A finite array ``(N, D)`` of numbers, with its dtype unchanged.

    Raises:
        ValueError: it is not one, or has fewer than ``least`` rows.
    """
    rows = np.asarray(values)
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind not in "fiu":
        raise ValueError(f"{what}: an array of {rows.dtype} of shape {rows.shape}; numbers (N, D) are needed")
    if len(rows) < least:
        raise ValueError(f"{what}: {len(rows)} rows; at least {least} are needed")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        n_bad = int(len(rows) - np.count_nonzero(finite))
        raise ValueError(
            f"{what}: {n_bad} rows hold NaN or infinity, the first of them row {int(np.argmin(finite))}; "
            "leave them out"
        )
    return rows


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


def _kernel(name: KernelName, g: float) -> Kernel:
    if name == "gaussian":
        return lambda x, y: np.exp(-g * squared_distances(x, y))
    if name == "inverse_quadratic":
        return lambda x, y: 1 / (1 + g * squared_distances(x, y))
    return lambda x, y: 1 / np.sqrt(1 + g * squared_distances(x, y))


def _check_sizes(reference: int, generated: int, what: str = "dimensions") -> None:
    if reference != generated:
        raise ValueError(
            f"the reference has {reference} {what} and the generated set {generated}; both must come from "
            "the same network"
        )


def _listed(names: set[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:_SHOWN_NAMES])
    return shown + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")

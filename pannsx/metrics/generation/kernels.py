"""Kernel distances of two sets of embeddings, KAD and KID: unbiased squared maximum mean discrepancies."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from pannsx.metrics.generation.rows import check_sizes, checked_rows
from pannsx.metrics.pairwise import Kernel, median_distance, squared_distances, weighted_kernel_sums
from pannsx.types import DoubleArray

KernelName = Literal["gaussian", "inverse_quadratic", "inverse_multiquadric"]

KAD_SCALE = 100.0
"""Kernel audio distances are published times 100."""


class KernelInceptionDistance(NamedTuple):
    """Mean and standard deviation of the squared MMD over random subsets."""

    mean: float
    std: float


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
    check_sizes(x.shape[1], y.shape[1])
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
    check_sizes(x.shape[1], y.shape[1])
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


def _kernel(name: KernelName, g: float) -> Kernel:
    if name == "gaussian":
        return lambda x, y: np.exp(-g * squared_distances(x, y))
    if name == "inverse_quadratic":
        return lambda x, y: 1 / (1 + g * squared_distances(x, y))
    return lambda x, y: 1 / np.sqrt(1 + g * squared_distances(x, y))

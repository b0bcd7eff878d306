"""Scores of two sets of logits: the KL divergence of paired clips, and the inception score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit, log_softmax, logsumexp

from pannsx.metrics.generation.rows import check_sizes, checked_rows
from pannsx.types import DoubleArray

KLKind = Literal["softmax", "sigmoid"]
KLConvention = Literal["exact", "audioldm_eval"]

AUDIOLDM_EVAL_EPSILON = 1e-6
"""audioldm_eval's addition to the generated probability inside the logarithm."""

_SHOWN_NAMES = 5


class InceptionScore(NamedTuple):
    """Mean and standard deviation of the inception score over the splits."""

    mean: float
    std: float


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
    check_sizes(reference.shape[1], generated.shape[1], "classes")
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


def _listed(names: set[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:_SHOWN_NAMES])
    return shown + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")

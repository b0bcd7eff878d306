"""Classes by example: the mean direction of one to five clips as a class, without training.

The prototypes of Snell et al. 2017 (arXiv:1703.05175), compared by the cosine after the centre of all classes
is subtracted, as in Wang et al. 2019 (SimpleShot, arXiv:1911.04623). A linear layer has no norm of its own
input, so the length of a clip's embedding is replaced by the typical one: the nearest class stays the same,
only its probability differs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from pannsx.transfer.experiment import Divide, Fitted, Learn
from pannsx.transfer.head import Head, HeadSettings, apply
from pannsx.types import DoubleArray, FloatArray
from pannsx.weights import LoadedCheckpoint

SCALE, OFFSET = 9.0, 2.0
"""Logits of ``K`` classes are ``SCALE * similarity - OFFSET - ln(K)`` where the clips say nothing else:
chosen for 2 to 50 classes of ESC-50 with one clip each, folds 1 to 4, with the bundled checkpoint."""

_LOG_SCALE_DEVIATION, _OFFSET_DEVIATION = 0.3, 1.0
"""How far scale (its logarithm) and offset usually are from these: many clips outweigh it, few do not."""

_TINY = 1e-12


def prototype_head(embeddings: FloatArray, targets: NDArray[np.bool_]) -> Head:
    """``(N, D)`` embeddings and ``(N, K)`` targets -> a linear head of the classes' mean directions.

    Scale and offset of the logits are calibrated: each clip is compared with the prototypes of the others,
    and the likelihood is weighed against :data:`SCALE` and :data:`OFFSET`. A class with one clip has no
    other, so its clip has no say. Clips without labels help to find the centre and the offset; a class
    without clips is never given.

    Raises:
        ValueError: all clips are of one class, so that there is no other to compare with.
    """
    counts = targets.sum(axis=0)
    groups = np.hstack([targets, ~targets.any(axis=1, keepdims=True)]).astype(np.float64)
    sizes = groups.sum(axis=0)
    if (sizes > 0).sum() < 2:
        raise ValueError(
            "all clips are of one class; prototypes are compared with each other, so give clips of another "
            "class, such as of all else"
        )
    values = embeddings.astype(np.float64)
    centre = ((groups.T @ values)[sizes > 0] / sizes[sizes > 0, None]).mean(axis=0)
    centred = values - centre
    length = max(float(np.sqrt((centred**2).sum(axis=1).mean())), _TINY)
    directions = _normalised(centred)
    sums = targets.T.astype(np.float64) @ directions
    prototypes = _normalised(sums) / length

    similarity = centred @ prototypes.T
    for k in np.flatnonzero(counts > 1):
        own = targets[:, k]
        others = _normalised(sums[k] - directions[own])
        similarity[own, k] = (centred[own] * others).sum(axis=1) / length
    can_tell = ~targets[:, counts == 1].any(axis=1)
    met = counts > 0
    scale, offset = _calibrated(similarity[can_tell][:, met], targets[can_tell][:, met], int(met.sum()))

    head = Head(embeddings.shape[1], targets.shape[1], HeadSettings()).eval()
    bias = -scale * (prototypes @ centre) - offset
    bias[~met] = -scale - offset
    with torch.no_grad():
        head.layers()[0].weight.copy_(torch.from_numpy(scale * prototypes))
        head.layers()[0].bias.copy_(torch.from_numpy(bias))
    return head


def prototypes_of(
    features: FloatArray, targets: NDArray[np.bool_], base: LoadedCheckpoint | None, divide: Divide
) -> Learn:
    """Learning by :func:`prototype_head` from ``(N, D)`` embeddings of ``base`` and ``(N, K)`` targets.

    ``divide`` gives a validation part, which has no part in it.
    """

    def learn(rows: Sequence[int], seed: int) -> Fitted:
        training, _ = divide(rows)
        head = prototype_head(features[training], targets[training])
        return Fitted(base, head, lambda rows: apply(head, features[rows]), {})

    return learn


def _normalised(vectors: DoubleArray) -> DoubleArray:
    """``(..., D)`` with the length 1; a vector without a length stays without."""
    lengths: DoubleArray = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, _TINY)


def _calibrated(similarity: DoubleArray, targets: NDArray[np.bool_], n_classes: int) -> tuple[float, float]:
    """``(n, K)`` similarities and targets -> scale and offset of the greatest posterior probability."""
    usual = np.array([np.log(SCALE), OFFSET + np.log(n_classes)])
    deviations = np.array([_LOG_SCALE_DEVIATION, _OFFSET_DEVIATION])

    def loss(numbers: DoubleArray) -> tuple[float, DoubleArray]:
        scale, offset = np.exp(numbers[0]), numbers[1]
        logits = scale * similarity - offset
        wrong = expit(logits) - targets
        away = (numbers - usual) / deviations
        value = float((np.logaddexp(0.0, logits) - targets * logits).sum() + (away**2).sum() / 2)
        slope = np.array([scale * (wrong * similarity).sum(), -wrong.sum()]) + away / deviations
        return value, slope

    best = minimize(loss, usual, jac=True, method="L-BFGS-B").x
    return float(np.exp(best[0])), float(best[1])

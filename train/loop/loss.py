"""Losses: binary cross-entropy of each class (paper, section IV-A), and the order of the classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def binary_cross_entropy(logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
    """``(B, K)`` logits and targets in [0, 1] -> mean binary cross-entropy, a scalar.

    ``known``, ``(B, K)`` in [0, 1], is the known share of each label, and its share of the loss. Targets are
    then labels times these shares. Unknown labels have neither loss nor gradient; the mean is over all
    labels, so the weight of a known label does not depend on the number of known ones.

    The published loss uses probabilities; computing it from logits is the same function without the
    rounding near 0 and 1. Never below float32.
    """
    if logits.dtype.itemsize < 4:
        logits = logits.float()
    targets = targets.to(logits.dtype)
    if known is None:
        return functional.binary_cross_entropy_with_logits(logits, targets)
    known = known.to(logits.dtype)
    labels = torch.where(known > 0, targets / known.clamp(min=torch.finfo(known.dtype).tiny), 0.0)
    return functional.binary_cross_entropy_with_logits(logits, labels, weight=known)


def ranking_error(logits: Tensor, ranking: Tensor) -> Tensor:
    """``(B, K)`` logits and a teacher's softmax -> their mean cross-entropy over ``K``, a scalar.

    The binary cross-entropy is nearly blind to which of two likely classes comes first; the cross-entropy of
    the softmax is not (Hinton et al. 2015, arXiv:1503.02531). It is divided by ``K`` as the mean over
    classes is: then equal errors of likely classes give gradients of equal size in both.
    """
    if logits.dtype.itemsize < 4:
        logits = logits.float()
    return functional.cross_entropy(logits, ranking.to(logits.dtype)) / logits.shape[1]

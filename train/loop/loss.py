"""Losses: binary cross-entropy of each class (paper, section IV-A), and the order of the classes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """``(B, K)`` logits and targets in [0, 1] -> mean binary cross-entropy, a scalar.

    The published loss uses probabilities; computing it from logits is the same function without the
    rounding near 0 and 1. Never below float32.
    """
    if logits.dtype.itemsize < 4:
        logits = logits.float()
    return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))


def ranking_error(logits: Tensor, ranking: Tensor) -> Tensor:
    """``(B, K)`` logits and a teacher's softmax -> their mean cross-entropy over ``K``, a scalar.

    The binary cross-entropy is nearly blind to which of two likely classes comes first; the cross-entropy of
    the softmax is not (Hinton et al. 2015, arXiv:1503.02531). It is divided by ``K`` as the mean over
    classes is: then equal errors of likely classes give gradients of equal size in both.
    """
    if logits.dtype.itemsize < 4:
        logits = logits.float()
    return functional.cross_entropy(logits, ranking.to(logits.dtype)) / logits.shape[1]

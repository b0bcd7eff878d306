"""The loss: binary cross-entropy, separately for every class (paper, section IV-A)."""

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

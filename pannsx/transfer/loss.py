"""The loss of fine-tuning and its learning rate."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def loss_of(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, shares: Tensor | None = None
) -> Tensor:
    """``(B, K)`` logits and targets in [0, 1] -> binary cross-entropy, summed over classes, mean over clips.

    For one label per clip as well: softmax ranks the classes no better and depends only on differences of
    logits, whereas :class:`pannsx.AudioTagger` returns the sigmoid of each.

    Args:
        logits: of the head.
        targets: of the clips, times ``shares``.
        weights: ``(B,)`` weights of the clips; None: all 1.
        shares: ``(B, K)`` in [0, 1], the part of each target in the loss; 0: of an unknown label, which then
            has no gradient. None: all 1.
    """
    if shares is not None:
        targets = torch.where(shares > 0, targets / shares.clamp(min=torch.finfo(shares.dtype).tiny), 0.0)
    of_clips = functional.binary_cross_entropy_with_logits(
        logits, targets, weight=shares, reduction="none"
    ).sum(dim=1)
    return of_clips.mean() if weights is None else (of_clips * weights).mean()


def learning_rate_at(step: int, n_steps: int, highest: float, *, warmup: float = 0.05) -> float:
    """Learning rate of a step: a linear warm-up, then a cosine decay to zero."""
    n_warmup = max(1, round(warmup * n_steps))
    if step < n_warmup:
        return highest * (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    return highest * 0.5 * (1.0 + float(np.cos(np.pi * done)))

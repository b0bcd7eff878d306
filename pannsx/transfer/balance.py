"""Rare classes: weights of clips, or batches in which every class is equally frequent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Balance = Literal["none", "weights", "batches"]
"""``"weights"``: the loss of a clip is weighted by the inverse frequency of its classes; ``"batches"``:
classes are drawn in turn, then a clip of the class."""


def class_weights(targets: NDArray[np.bool_]) -> Tensor:
    """``(N, K)`` targets of the training clips -> ``(K,)`` weights; 1 where all classes are equally frequent.

    The mean over labels of all clips is 1. Classes without clips have weight 0.
    """
    counts = targets.sum(axis=0).astype(np.float64)
    n_met = max(1, int((counts > 0).sum()))
    weights = np.divide(counts.sum() / n_met, counts, out=np.zeros_like(counts), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32))


def clip_weights(targets: Tensor, weights: Tensor) -> Tensor:
    """``(B, K)`` targets in [0, 1] and ``(K,)`` class weights -> ``(B,)``: the mean over a clip's labels.

    A clip without labels has weight 1.
    """
    n_labels = targets.sum(dim=1)
    mean = (targets @ weights) / n_labels.clamp(min=torch.finfo(targets.dtype).tiny)
    return torch.where(n_labels > 0, mean, torch.ones_like(mean))


def epoch_batches(
    rows: Sequence[int],
    targets: NDArray[np.bool_],
    batch_size: int,
    rng: np.random.Generator,
    *,
    balance: Balance = "none",
) -> list[list[int]]:
    """The batches of an epoch: as many clips as there are rows, in random order.

    A single last row joins the batch before, as batch norm needs two. With ``"batches"``, clips of rare
    classes are repeated, and not all of frequent ones are in every epoch.

    Args:
        rows: positions of the training clips.
        targets: ``(N, K)`` of all clips.
        batch_size: clips per batch.
        rng: source of the order.
        balance: see :data:`Balance`; weights do not change the order.
    """
    if balance == "batches":
        draws = _in_turn(rows, targets, rng)
        order = [next(draws) for _ in rows]
    else:
        order = [rows[i] for i in rng.permutation(len(rows))]
    parts = [order[begin : begin + batch_size] for begin in range(0, len(order), batch_size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        alone = parts.pop()
        parts[-1] += alone
    return parts


def _in_turn(rows: Sequence[int], targets: NDArray[np.bool_], rng: np.random.Generator) -> Iterator[int]:
    """Clips without end: of each class in turn, in a new random order of classes each time round.

    Clips without labels are a class of their own.
    """
    order = np.array([rows[i] for i in rng.permutation(len(rows))])
    labelled = targets[order]
    members = [order[labelled[:, k]] for k in range(targets.shape[1])] + [order[~labelled.any(axis=1)]]
    draws = [cycle(found.tolist()) for found in members if len(found)]
    while True:
        for k in rng.permutation(len(draws)):
            yield next(draws[k])

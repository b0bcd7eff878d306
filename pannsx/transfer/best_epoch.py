"""Early stopping: the best epoch by a validation part, and the end of patience."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pannsx.metrics import accuracy, tagging_scores
from pannsx.transfer.loss import loss_of
from pannsx.transfer.wanted import wanted_of
from pannsx.types import FloatArray


class Measure(Protocol):
    """``(n, K)`` targets, ``(n, K)`` logits, and which targets are known -> a score; greater is better."""

    def __call__(
        self, targets: NDArray[np.bool_], logits: FloatArray, known: NDArray[np.bool_] | None, /
    ) -> float:
        """The score; ``known`` is None if all targets are."""


def measure_of(*, multi_label: bool) -> tuple[str, Measure]:
    """Name and function of a data set's score: mAP if clips may have several labels, else accuracy."""
    return ("mAP", _mean_average_precision) if multi_label else ("accuracy", _accuracy)


def _accuracy(targets: NDArray[np.bool_], logits: FloatArray, known: NDArray[np.bool_] | None, /) -> float:
    return accuracy(targets.argmax(axis=1), logits)


def _mean_average_precision(
    targets: NDArray[np.bool_], logits: FloatArray, known: NDArray[np.bool_] | None, /
) -> float:
    return tagging_scores(targets, logits, known).mAP


class BestEpoch:
    """The best epoch so far: the one with the highest score, and of equal scores the one with the least loss.

    Args:
        patience: epochs without a better one after which training ends.
        measure: the score.

    Attributes:
        epoch: the best epoch, from 0; -1 before the first.
        score: its score.
        last_score: that of the last epoch.
    """

    def __init__(self, patience: int, measure: Measure) -> None:
        self.patience, self.measure = patience, measure
        self.epoch, self.score, self.loss, self.n_waited = -1, -math.inf, math.inf, 0
        self.last_score = math.nan

    @property
    def is_over(self) -> bool:
        """Whether patience has ended."""
        return self.n_waited >= self.patience

    def is_better(
        self,
        epoch: int,
        targets: NDArray[np.bool_],
        logits: FloatArray,
        known: NDArray[np.bool_] | None = None,
    ) -> bool:
        """Whether an epoch with these ``(n, K)`` logits of the validation part is the best so far.

        ``known`` is ``(n, K)``, which of the targets count; None: all.
        """
        self.last_score = self.measure(targets, logits, known)
        # NaN if no class of the part has a clip: the loss decides.
        score = -math.inf if math.isnan(self.last_score) else self.last_score
        wanted = wanted_of(targets, known=known)
        loss = float(loss_of(torch.from_numpy(logits), wanted.targets, shares=wanted.shares))
        if (score, -loss) > (self.score, -self.loss) or self.epoch < 0:
            self.epoch, self.score, self.loss, self.n_waited = epoch, score, loss, 0
            return True
        self.n_waited += 1
        return False

    def state(self) -> dict[str, float]:
        """All that changes, for a file."""
        return {"epoch": self.epoch, "score": self.score, "loss": self.loss, "n_waited": self.n_waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self.epoch, self.n_waited = int(state["epoch"]), int(state["n_waited"])
        self.score, self.loss = float(state["score"]), float(state["loss"])

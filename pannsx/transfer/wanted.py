"""Targets of a training: labels, some of them unknown, a teacher's probabilities, and old classes to keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pannsx.types import FloatArray

TeacherTargets = Literal["all", "absent"]
"""Targets in which a teacher has a share: all, or those of labels that are absent."""


class Opinion(NamedTuple):
    """A teacher's view of the clips, for labels that may be wrong or missing.

    Attributes:
        probabilities: ``(N, K)``.
        weight: share of the teacher in a target, from 0 to 1; the label has the rest.
        only_absent: labels that are present are kept as they are: more are missing than wrong.
    """

    probabilities: FloatArray
    weight: float
    only_absent: bool = False


class Wanted(NamedTuple):
    """Targets of ``N`` clips for :func:`pannsx.transfer.loss.loss_of`.

    Attributes:
        targets: ``(N, K)`` in [0, 1], times ``shares``.
        shares: ``(N, K)`` in [0, 1], the part of each target in the loss; None: all 1.
    """

    targets: Tensor
    shares: Tensor | None = None

    def of(self, rows: Sequence[int]) -> Wanted:
        """Those of some clips."""
        rows = list(rows)
        return Wanted(self.targets[rows], None if self.shares is None else self.shares[rows])

    def joined(self) -> Tensor:
        """``(N, K)``, or ``(N, 2K)`` with the shares behind the targets: mixtures of clips mix both."""
        return self.targets if self.shares is None else torch.cat([self.targets, self.shares], dim=1)

    def parted(self, joined: Tensor) -> tuple[Tensor, Tensor | None]:
        """The parts that :meth:`joined` put together."""
        if self.shares is None:
            return joined, None
        targets, shares = joined.chunk(2, dim=1)
        return targets, shares


def wanted_of(
    labels: NDArray[np.bool_],
    *,
    known: NDArray[np.bool_] | None = None,
    opinion: Opinion | None = None,
    kept: FloatArray | None = None,
) -> Wanted:
    """``(N, K)`` labels -> targets and weights of ``K`` outputs, behind those of the classes to keep.

    Args:
        labels: whether a clip has a label.
        known: ``(N, K)``, whether that is known; of unknown labels only a teacher's share is in the loss.
        opinion: of a teacher (mixed targets: Reed et al. 2015, arXiv:1412.6596).
        kept: ``(N, K')`` probabilities that old classes shall keep (Li and Hoiem 2016, arXiv:1606.09282).
    """
    targets = torch.from_numpy(labels.astype(np.float32))
    shares = None if known is None else torch.from_numpy(known.astype(np.float32))
    if shares is not None:
        targets = targets * shares
    if opinion is not None:
        weight = torch.full_like(targets, opinion.weight)
        if opinion.only_absent:
            weight = weight * (1.0 - targets)
        targets = (1.0 - weight) * targets + weight * torch.from_numpy(opinion.probabilities)
        shares = None if shares is None else (1.0 - weight) * shares + weight
    if kept is not None:
        targets = torch.cat([torch.from_numpy(kept), targets], dim=1)
        if shares is not None:
            shares = torch.cat([torch.ones(kept.shape), shares], dim=1)
    return Wanted(targets, shares)

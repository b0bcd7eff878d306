"""The interface of all packed clips: ids, labels, and samples by number, one at a time or in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from train.data.targets import Targets


class Clips(Protocol):
    """Packed clips: a :class:`train.data.store.Store`, an :class:`train.data.indexed.Indexed` or the like.

    Attributes:
        sample_rate: in Hz.
        n_samples: length of the longest clip.
        labels: ``K`` names.
    """

    sample_rate: int
    n_samples: int
    labels: tuple[str, ...]

    @property
    def ids(self) -> Sequence[str]:
        """``N`` ids."""

    @property
    def targets(self) -> Targets:
        """``(N, K)`` whether a clip has a label."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> NDArray[np.int16]:
        """``(n_samples,)`` of a clip."""

    def read_into(self, index: int, out: NDArray[np.int16]) -> None:
        """A clip into ``out`` ``(n_samples,)``, contiguous."""
        out[:] = self.read(index)

    @property
    def parts(self) -> NDArray[np.int64]:
        """``(N,)`` the number of the file that holds each clip; clips of one file follow each other."""
        return np.zeros(len(self), np.int64)

    def will_need(self, rows: NDArray[np.int64]) -> None:
        """Prepare for reading clips soon, in the background; most kinds of clips need nothing."""
        return

    def read_batch(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int16], NDArray[np.float16] | None]:
        """``(B,)`` numbers -> ``(B, S)`` samples, and ``(B, T', K)`` frame targets or None without onsets."""
        return np.stack([self.read(int(row)) for row in rows]), None

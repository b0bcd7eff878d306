"""Lists of clips as users give them to a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pannsx.inference.pipeline import as_sources
from pannsx.transfer.data_set import Recording
from pannsx.transfer.experiment import Divide, all_to_train
from pannsx.transfer.folds import held_apart
from pannsx.types import Source


def listed_sources(X: Any) -> list[Source]:
    """The clips of a list, an array of paths or of waveforms, or a column of a table.

    Raises:
        ValueError: one clip.
        AudioError: none, or numbers.
    """
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray) and X.dtype.kind in "OUS":
        if X.ndim == 2 and X.shape[1] == 1:
            X = X[:, 0]
        X = list(X.tolist())
    sources, several = as_sources(X)
    if not several:
        raise ValueError("X is one clip; give a list of clips, such as [clip]")
    return sources


def divided(
    sources: Sequence[Source], targets: NDArray[np.bool_], groups: Sequence[Any] | None, share: float
) -> Divide:
    """The division of clips into those to train on and a validation part of whole groups.

    Args:
        sources: ``N`` clips; a file that is there twice stays together.
        targets: ``(N, K)``.
        groups: ``N`` groups, or None.
        share: of the validation part; 0: none.
    """
    if not share:
        return all_to_train
    names = [
        str(source) if isinstance(source, (str, Path)) else f"array {i}" for i, source in enumerate(sources)
    ]
    recordings = [
        Recording(
            Path(name), tuple(np.flatnonzero(row).tolist()), "", group="" if group is None else str(group)
        )
        for name, row, group in zip(
            names, targets, [None] * len(names) if groups is None else groups, strict=True
        )
    ]
    return lambda rows: held_apart(recordings, rows, share)

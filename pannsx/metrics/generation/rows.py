"""Checks of arrays ``(N, D)``: a clip in each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def checked_rows(values: npt.ArrayLike, what: str, *, least: int = 2) -> npt.NDArray[Any]:
    """A finite array ``(N, D)`` of numbers, with its dtype unchanged.

    Raises:
        ValueError: it is not one, or has fewer than ``least`` rows.
    """
    rows = np.asarray(values)
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind not in "fiu":
        raise ValueError(f"{what}: an array of {rows.dtype} of shape {rows.shape}; numbers (N, D) are needed")
    if len(rows) < least:
        raise ValueError(f"{what}: {len(rows)} rows; at least {least} are needed")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        n_bad = int(len(rows) - np.count_nonzero(finite))
        raise ValueError(
            f"{what}: {n_bad} rows hold NaN or infinity, the first of them row {int(np.argmin(finite))}; "
            "leave them out"
        )
    return rows


def check_sizes(reference: int, generated: int, what: str = "dimensions") -> None:
    """ValueError if two sets have different numbers of dimensions or classes."""
    if reference != generated:
        raise ValueError(
            f"the reference has {reference} {what} and the generated set {generated}; both must come from "
            "the same network"
        )

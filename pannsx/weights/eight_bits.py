"""Weights that a file holds in 8 bits: whole numbers ``NAME.weight``, and scales ``NAME.weight_scale``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pannsx.errors import WeightsError

SCALE_SUFFIX = "_scale"
"""After the key of a weight in 8 bits: key of its scales, one for each channel of the output."""

_REMEDY = "such files are written by `pannsx quantise`; write or fetch it again"


def restored(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays with weights in 8 bits as float32, each whole number times the scale of its channel.

    Args:
        arrays: those of a file, by published key.
        path: the file, for messages.

    Raises:
        WeightsError: a weight has no scales or scales of another shape, or scales have no weight.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    for key, array in arrays.items():
        if _is_scale(key):
            _check_weight(key, arrays, path)
        elif array.dtype == np.int8:
            scale = _scale_of(key, array, arrays, path)
            found[key] = array.astype(np.float32) * scale.reshape(-1, *[1] * (array.ndim - 1))
        else:
            found[key] = array
    return found


def _is_scale(key: str) -> bool:
    return key.endswith(f".weight{SCALE_SUFFIX}")


def _scale_of(
    key: str, array: npt.NDArray[np.int8], arrays: Mapping[str, npt.NDArray[Any]], path: Path
) -> npt.NDArray[np.float32]:
    scale = arrays.get(key + SCALE_SUFFIX) if key.endswith(".weight") else None
    if scale is None:
        raise WeightsError(
            f"{path}: {key} is in 8 bits, and there is no {key}{SCALE_SUFFIX} with its scales; {_REMEDY}"
        )
    if scale.dtype.kind != "f" or array.ndim == 0 or scale.shape != array.shape[:1]:
        raise WeightsError(
            f"{path}: {key}{SCALE_SUFFIX} is {scale.dtype} {scale.shape}; floating {array.shape[:1]} is "
            f"needed, a scale for each channel of the output; {_REMEDY}"
        )
    return scale.astype(np.float32)


def _check_weight(key: str, arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    weight = key.removesuffix(SCALE_SUFFIX)
    if weight not in arrays or arrays[weight].dtype != np.int8:
        state = "missing" if weight not in arrays else str(arrays[weight].dtype)
        raise WeightsError(f"{path} has {key}, and {weight} in 8 bits is needed: it is {state}; {_REMEDY}")

"""Deltas: the tensors of a network that differ from those of its base, as arrays by published key.

A delta holds its classifier whole, changed tensors under their keys, and a weight that was changed at low
rank as two factors: ``conv_block6.conv2.lora_A`` and ``.lora_B`` (Hu et al. 2021, arXiv:2106.09685).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.errors import WeightsError
from pannsx.types import FloatArray, PathLike
from pannsx.weights.state_dict import FRONT_END_PREFIXES

CLASSIFIER_PREFIXES = ("fc_audioset.", "hidden.", "att_block.")
"""Of the published keys after the embedding. A delta never takes these from its base."""

_DOWN, _UP, _WEIGHT = ".lora_A", ".lora_B", ".weight"
_ROWS = 64  # merged at once, which bounds the memory

Arrays = Mapping[str, npt.NDArray[Any]]


class Factors(NamedTuple):
    """The change of a weight ``(n_out, ...)``: ``up @ down`` in its shape.

    Attributes:
        down: ``(rank, n_in)``; for a convolution, ``n_in`` are the input channels times the taps.
        up: ``(n_out, rank)``.
    """

    down: FloatArray
    up: FloatArray


def merged(weight: npt.NDArray[Any], factors: Factors) -> FloatArray:
    """A weight plus its change, float32; the order of the sums is fixed, so machines agree to the last bit.

    Raises:
        ValueError: the factors do not fit the weight.
    """
    found: FloatArray = np.array(weight, np.float32, order="C")
    rows = found.reshape(len(found), -1)
    up, down = (np.asarray(each, np.float32) for each in (factors.up, factors.down))
    if up.ndim != 2 or down.ndim != 2 or (len(up), down.shape[1]) != rows.shape or up.shape[1] != len(down):
        raise ValueError(f"factors {up.shape} and {down.shape} do not fit a weight {weight.shape}")
    for begin in range(0, len(rows), _ROWS):
        part = rows[begin : begin + _ROWS]
        for column, row in zip(up.T, down, strict=True):
            part += column[begin : begin + _ROWS, None] * row
    return found


def apply_delta(base: Arrays, delta: Arrays, path: PathLike) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a base with those of a delta in their place; ``path`` is the delta's, for messages.

    Raises:
        WeightsError: a factor is alone, or does not fit a weight of the base.
    """
    found = {key: array for key, array in base.items() if not key.startswith(CLASSIFIER_PREFIXES)}
    layers = [key.removesuffix(end) for key in delta for end in (_DOWN, _UP) if key.endswith(end)]
    for layer in dict.fromkeys(layers):
        key, down, up = layer + _WEIGHT, layer + _DOWN, layer + _UP
        for each, where, among in ((down, "it", delta), (up, "it", delta), (key, "its base", found)):
            if each not in among:
                raise WeightsError(f"{path} changes {key} at low rank, but {where} has no {each}")
        try:
            found[key] = merged(found[key], Factors(delta[down], delta[up]))
        except ValueError as error:
            raise WeightsError(f"{path}: {key}: {error}") from error
    found.update({key: array for key, array in delta.items() if not key.endswith((_DOWN, _UP))})
    return found


def difference(base: Arrays, state: Arrays, factors: Mapping[str, Factors]) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a delta, the inverse of :func:`apply_delta`.

    Args:
        base: tensors of the base.
        state: tensors of the network trained from it.
        factors: by key, the changes at low rank.

    Raises:
        ValueError: a weight in ``state`` is not that of the base with its factors.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    for key, array in state.items():
        if key.startswith(FRONT_END_PREFIXES):
            continue  # constants, which the record's settings say
        if key in factors:
            if not np.array_equal(merged(base[key], factors[key]), array):
                raise ValueError(f"{key} is not that of the base with its factors")
            layer = key.removesuffix(_WEIGHT)
            found[layer + _DOWN], found[layer + _UP] = factors[key]
        elif key.startswith(CLASSIFIER_PREFIXES) or not np.array_equal(
            np.asarray(base[key], array.dtype), array
        ):
            found[key] = array
    return found

"""The tensors of a network with its batch norms folded in: in evaluation both are affine maps.

All in NumPy: norms in float64, weights and biases of the prepared layers in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pannsx.types import FloatArray

NORM_EPSILON = 1e-5
"""Added to the variance by every batch norm of the published networks."""


LARGEST_WEIGHT = 127
"""Largest whole number of a weight in 8 bits."""


class Tensors:
    """The tensors of a network by published key, of any floating type, as its layers need them.

    What the layers get are copies: the originals may be mapped from a file, trained further, or moved to
    other memory, as torch does to send them to another process.
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._arrays = arrays

    def weight(self, layer: str) -> FloatArray:
        """The weight of a layer, in float32."""
        return np.array(self._arrays[f"{layer}.weight"], np.float32)

    def bias(self, layer: str) -> FloatArray | None:
        """Its bias, if it has one."""
        key = f"{layer}.bias"
        return np.array(self._arrays[key], np.float32) if key in self._arrays else None

    def scale_and_shift(self, norm: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """``(C,)`` scales and shifts of a norm in evaluation mode, computed in float64."""
        weight, bias, mean, variance = (
            np.asarray(self._arrays[f"{norm}.{name}"], np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        return scale_and_shift(weight, bias, mean, variance, NORM_EPSILON)

    def folded(self, convolution: str, norm: str) -> tuple[FloatArray, FloatArray]:
        """Weight and bias of one convolution equivalent to a convolution and its norm."""
        weight, scale, bias = self.to_fold(convolution, norm)
        return scaled(weight, scale), bias

    def shape(self, layer: str) -> tuple[int, ...]:
        """The shape of a layer's weight."""
        return tuple(self._arrays[f"{layer}.weight"].shape)

    def to_fold(self, convolution: str, norm: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        """As :meth:`folded`, for a weight too large to copy: as it is, its ``(C',)`` scales, the bias."""
        weight = np.asarray(self._arrays[f"{convolution}.weight"], np.float32)
        scale, shift = self.scale_and_shift(norm)
        return weight, scale.astype(np.float32), shifted(self.bias(convolution), scale, shift)


def scale_and_shift(
    weight: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    variance: npt.NDArray[np.float64],
    epsilon: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """``(C,)`` scales and shifts of a norm with these tensors."""
    scale = weight / np.sqrt(variance + epsilon)
    return scale, bias - mean * scale


def folded(
    weight: FloatArray,
    bias: FloatArray | None,
    scale: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64],
) -> tuple[FloatArray, FloatArray]:
    """Weight ``(C', ...)`` and bias of a convolution, scaled and shifted by channels of its output."""
    return scaled(weight, scale.astype(np.float32)), shifted(bias, scale, shift)


def scaled(weight: FloatArray, scale: FloatArray) -> FloatArray:
    """Weight ``(C', ...)`` times ``(C',)`` scales, a copy."""
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))


def shifted(
    bias: FloatArray | None, scale: npt.NDArray[np.float64], shift: npt.NDArray[np.float64]
) -> FloatArray:
    """``(C',)`` bias of a folded convolution, from that of the convolution, if it has one."""
    return (shift if bias is None else shift + bias * scale).astype(np.float32)


def rounded_filters(weight: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """A weight ``(C', ...)`` in 8 bits, symmetric: whole numbers from -127 to 127, and ``(C',)`` scales.

    Each channel's largest weight is 127 scales; a channel of zeros has the scale 1.
    """
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    scale = np.where(largest > 0, largest / LARGEST_WEIGHT, 1).astype(np.float32)
    scale = np.where(scale > 0, scale, 1)  # of weights so small that the quotient is 0
    whole = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return np.clip(whole, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int8), scale


def by_tap(weight: FloatArray) -> FloatArray:
    """``(C', C, h, w)`` filters -> ``(h w, C, C')``, contiguous."""
    out_channels, in_channels, height, width = weight.shape
    # Two copies of long contiguous runs are many times faster than one strided copy.
    transposed = np.ascontiguousarray(weight.reshape(out_channels, -1).T)
    taps = transposed.reshape(in_channels, height * width, out_channels)
    return np.ascontiguousarray(taps.transpose(1, 0, 2))

"""The convolution block of the CNNs and ResNets on planes, each layer in the form that suits its size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pannsx.lanes import N_LANES
from pannsx.models.blocks import ConvBlock
from pannsx.prepared.direct import FirstConvolution, ProductConvolution
from pannsx.prepared.folding import folded
from pannsx.prepared.planes import Plane, Planes
from pannsx.prepared.winograd import WinogradConvolution
from pannsx.prepared.workers import Workers

FloatArray = npt.NDArray[np.float32]
Convolution = FirstConvolution | WinogradConvolution | ProductConvolution

MOST_WINOGRAD_WEIGHTS = 1024 * 1024
"""Channels in times channels out up to which Winograd's form, of four times the weights, pays."""


def can_prepare_block(block: object) -> bool:
    """Whether it is a block whose layers there are forms for."""
    return (
        isinstance(block, ConvBlock)
        and block.pool in ((1, 1), (2, 2))
        and block.conv1.out_channels % N_LANES == 0
    )


def prepared_block(block: object, workers: Workers, kind: torch.dtype) -> list[Convolution]:
    """The two layers of a :class:`~pannsx.models.blocks.ConvBlock`, the second with its pooling.

    ``kind`` is the type of the products of deep layers.
    """
    if not isinstance(block, ConvBlock):
        raise TypeError(f"a ConvBlock can be prepared, not {type(block).__name__}")
    return [
        _convolution(*folded(block.conv1, block.bn1), False, workers, kind),
        _convolution(*folded(block.conv2, block.bn2), block.pool == (2, 2), workers, kind),
    ]


def _convolution(
    weight: Tensor, bias: Tensor, pool: bool, workers: Workers, kind: torch.dtype
) -> Convolution:
    out_channels, in_channels = weight.shape[:2]
    if in_channels == 1 and not pool:
        return FirstConvolution(weight, bias)
    if in_channels % N_LANES == 0 and in_channels * out_channels <= MOST_WINOGRAD_WEIGHTS:
        return WinogradConvolution(weight, bias, pool=pool)
    return ProductConvolution(weight, bias, pool=pool, n_parts=workers.n, kind=kind)


def entry_plane(items: Sequence[FloatArray], planes: Planes) -> Plane:
    """``(C, T, F)`` representations in a plane."""
    channels, _, width = items[0].shape
    plane = planes.get("entry", tuple(item.shape[1] for item in items), width, channels)
    for inside, item in zip(plane.items(), items, strict=True):
        inside[...] = item.transpose(1, 2, 0)
    return plane


def features_of(plane: Plane) -> list[FloatArray]:
    """The last plane -> ``(T', C)`` features of each item: means over frequency."""
    return [item.mean(axis=1) for item in plane.items()]

"""Cnn10, Cnn14 and the wavegram CNNs for inference on the CPU: three kinds of 3 x 3 convolution on planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pannsx.lanes import N_LANES
from pannsx.models.blocks import ConvBlock
from pannsx.models.trunks import Cnn
from pannsx.prepared.direct import FirstConvolution, ProductConvolution
from pannsx.prepared.folding import folded
from pannsx.prepared.planes import Plane, Planes
from pannsx.prepared.winograd import WinogradConvolution
from pannsx.prepared.workers import Workers

FloatArray = npt.NDArray[np.float32]
Convolution = FirstConvolution | WinogradConvolution | ProductConvolution

MOST_WINOGRAD_WEIGHTS = 1024 * 1024
"""Channels in times channels out up to which Winograd's form, of four times the weights, pays."""


def can_prepare(trunk: object) -> bool:
    """Whether a trunk is built of what :class:`PreparedCnn` knows."""
    return isinstance(trunk, Cnn) and all(
        isinstance(block, ConvBlock)
        and block.pool in ((1, 1), (2, 2))
        and block.conv1.out_channels % N_LANES == 0
        for block in trunk.children()
    )


class PreparedCnn:
    """Representations ``(C, T, F)`` -> features ``(T', C')``, as the :class:`~pannsx.models.trunks.Cnn`.

    Args:
        trunk: the trunk, in float32 on the CPU.
        workers: the threads to compute on.
        kind: type of the products of the deep layers.
    """

    def __init__(self, trunk: Cnn, workers: Workers, kind: torch.dtype) -> None:
        self._workers = workers
        self._kind = kind
        self._layers: list[Convolution] = []
        for block in trunk.children():
            if not isinstance(block, ConvBlock):
                raise TypeError(f"PreparedCnn knows ConvBlock, not {type(block).__name__}")
            pool = block.pool == (2, 2)
            self._layers.append(self._convolution(*folded(block.conv1, block.bn1), pool=False))
            self._layers.append(self._convolution(*folded(block.conv2, block.bn2), pool=pool))
        self._planes = Planes()

    def __call__(
        self, items: Sequence[FloatArray], joined: Sequence[FloatArray] | None = None
    ) -> list[FloatArray]:
        """Features of each item; items may differ in ``T``.

        ``joined`` is a second representation of each, concatenated along channels after the first block.
        """
        with self._workers.alone:  # the planes are shared by all calls
            plane = self._entry(items)
            for number, layer in enumerate(self._layers):
                plane = self._layer(number, layer, plane, joined if number == 1 else None)
            return [item.mean(axis=1) for item in plane.items()]

    def _entry(self, items: Sequence[FloatArray]) -> Plane:
        channels, _, width = items[0].shape
        plane = self._planes.get(-1, tuple(item.shape[1] for item in items), width, channels)
        for inside, item in zip(plane.items(), items, strict=True):
            inside[...] = item.transpose(1, 2, 0)
        return plane

    def _layer(
        self, number: int, layer: Convolution, source: Plane, joined: Sequence[FloatArray] | None
    ) -> Plane:
        heights, width, channels = source.rows.heights, source.width, layer.out_channels
        if layer.pool:
            heights, width = tuple(height // 2 for height in heights), width // 2
        if joined is not None:
            # The two differ by one frame for about half of all clip lengths.
            heights = tuple(min(h, other.shape[1]) for h, other in zip(heights, joined, strict=True))
            channels += joined[0].shape[0]
        target = self._planes.get(number, heights, width, channels)
        layer(source, target, self._workers)
        if joined is not None:
            for inside, other in zip(target.items(), joined, strict=True):
                inside[..., layer.out_channels :] = other[:, : len(inside)].transpose(1, 2, 0)
        return target

    def _convolution(self, weight: Tensor, bias: Tensor, *, pool: bool) -> Convolution:
        out_channels, in_channels = weight.shape[:2]
        if in_channels == 1 and not pool:
            return FirstConvolution(weight, bias)
        if in_channels % N_LANES == 0 and in_channels * out_channels <= MOST_WINOGRAD_WEIGHTS:
            return WinogradConvolution(weight, bias, pool=pool)
        return ProductConvolution(weight, bias, pool=pool, n_parts=self._workers.n, kind=self._kind)

"""Cnn10, Cnn14 and the wavegram CNNs for inference on the CPU: three kinds of 3 x 3 convolution on planes."""

from __future__ import annotations

from threading import Lock

from torch import Tensor

from pannsx.models.blocks import ConvBlock
from pannsx.models.trunks import Cnn
from pannsx.prepared.direct import FirstConvolution, ProductConvolution
from pannsx.prepared.folding import folded
from pannsx.prepared.planes import Plane, Planes
from pannsx.prepared.winograd import WinogradConvolution, fits
from pannsx.prepared.workers import Workers

Convolution = FirstConvolution | WinogradConvolution | ProductConvolution

MOST_WINOGRAD_WEIGHTS = 512 * 1024
"""Channels in times channels out up to which Winograd's form, of four times the weights, pays."""


def can_prepare(trunk: object) -> bool:
    """Whether a trunk is built of what :class:`PreparedCnn` knows."""
    return isinstance(trunk, Cnn) and all(
        isinstance(block, ConvBlock) and block.pool in ((1, 1), (2, 2)) for block in trunk.children()
    )


class PreparedCnn:
    """``(B, C, T, F)`` -> ``(B, C', T')``, as the :class:`~pannsx.models.trunks.Cnn` it is made from.

    Args:
        trunk: the trunk, in float32 on the CPU.
        workers: the threads to compute on.
    """

    def __init__(self, trunk: Cnn, workers: Workers) -> None:
        self._workers = workers
        self._layers: list[Convolution] = []
        for block in trunk.children():
            if not isinstance(block, ConvBlock):
                raise TypeError(f"PreparedCnn knows ConvBlock, not {type(block).__name__}")
            pool = block.pool == (2, 2)
            self._layers.append(self._convolution(*folded(block.conv1, block.bn1), pool=False))
            self._layers.append(self._convolution(*folded(block.conv2, block.bn2), pool=pool))
        self._planes = Planes()
        self._lock = Lock()

    def __reduce__(self) -> str:
        raise TypeError("a prepared network is not pickled; it is made anew from its model")

    def __call__(self, x: Tensor, joined: Tensor | None = None) -> Tensor:
        """Run the convolutions; ``joined`` is concatenated, along channels, after the first block."""
        with self._lock:  # the planes are shared by all calls, and one call keeps all cores busy
            plane = self._entry(x)
            for number, layer in enumerate(self._layers):
                plane = self._layer(number, layer, plane, joined if number == 1 else None)
            return plane.inside.mean(dim=2).transpose(1, 2).contiguous()

    def _entry(self, x: Tensor) -> Plane:
        batch, channels, height, width = x.shape
        plane = self._planes.get(-1, batch, height, width, channels)
        plane.inside.copy_(x.permute(0, 2, 3, 1))
        return plane

    def _layer(self, number: int, layer: Convolution, source: Plane, joined: Tensor | None) -> Plane:
        height, width, channels = source.height, source.width, layer.out_channels
        if layer.pool:
            height, width = height // 2, width // 2
        if joined is not None:
            # The two differ by one frame for about half of all clip lengths.
            height = min(height, joined.shape[2])
            channels += joined.shape[1]
        target = self._planes.get(number, source.batch, height, width, channels)
        layer(source, target, self._workers)
        if joined is not None:
            target.inside[..., layer.out_channels :].copy_(joined[:, :, :height].permute(0, 2, 3, 1))
        return target

    def _convolution(self, weight: Tensor, bias: Tensor, *, pool: bool) -> Convolution:
        out_channels, in_channels = weight.shape[:2]
        if in_channels == 1 and not pool:
            return FirstConvolution(weight, bias)
        if fits(in_channels, out_channels) and in_channels * out_channels <= MOST_WINOGRAD_WEIGHTS:
            return WinogradConvolution(weight, bias, pool=pool)
        return ProductConvolution(weight, bias, pool=pool, n_parts=self._workers.n)

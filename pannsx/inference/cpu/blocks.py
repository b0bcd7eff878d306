"""The convolution blocks of the CNNs and ResNets on planes, each layer in the form that suits its size."""

from __future__ import annotations

from collections.abc import Sequence

from pannsx.inference.cpu.direct import FirstConvolution, FirstConvolution5x5, ProductConvolution
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.planes import Plane, Planes
from pannsx.inference.cpu.winograd import WinogradConvolution
from pannsx.inference.cpu.workers import Workers
from pannsx.jit.simd import N_LANES
from pannsx.types import FloatArray

WINOGRAD_WEIGHTS = 512 * 1024
"""Below this product of channels in and channels out, Winograd's form is faster for any input."""

MOST_WINOGRAD_WEIGHTS = 1024 * 1024
"""Up to this product it is faster for inputs of many tiles; its weights are four times as large."""

MANY_TILES = 8
"""Minimum tiles of 4 x 4 cells to justify reading these weights: a clip of 5 s in such layers."""


class EitherConvolution:
    """``(T, F, C)`` -> ``(T, F, C')``: a convolution in Winograd's form or, for few tiles, as products."""

    def __init__(
        self, weight: FloatArray, bias: FloatArray, *, pool: bool, n_parts: int, bfloat16: bool = False
    ) -> None:
        self.out_channels, self.in_channels = weight.shape[:2]
        self.pool = pool
        self._of_many = WinogradConvolution(weight, bias, pool=pool)
        self._of_few = ProductConvolution(weight, bias, pool=pool, n_parts=n_parts, bfloat16=bfloat16)

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill the first ``out_channels`` channels of ``target``, as far as it reaches, from ``source``."""
        n_tiles = len(source.rows.tiles) * source.across
        form = self._of_many if n_tiles >= MANY_TILES else self._of_few
        form(source, target, workers)


Convolution = (
    FirstConvolution | FirstConvolution5x5 | WinogradConvolution | ProductConvolution | EitherConvolution
)


def can_prepare_block(in_channels: int, out_channels: int, pool: int, kernel: int) -> bool:
    """Whether prepared forms exist for the layers of a block: two convolutions of 3 x 3, or one of 5 x 5."""
    if out_channels % N_LANES:
        return False
    if kernel == 3:
        return pool in (1, 2)
    return (in_channels % N_LANES == 0 and pool in (1, 2)) or (in_channels == 1 and pool == 2)


def may_round_block(in_channels: int, out_channels: int, kernel: int) -> bool:
    """Whether a layer of a block is computed as products, which can be rounded, for some inputs."""
    return kernel == 3 and out_channels * max(in_channels, out_channels) >= WINOGRAD_WEIGHTS


def prepared_block(
    tensors: Tensors, name: str, workers: Workers, *, pool: bool, bfloat16: bool
) -> list[Convolution]:
    """The two layers of a block of 3 x 3 convolutions, the second with its pooling.

    With ``bfloat16``, the products of deep layers are rounded.
    """
    return [
        _convolution(tensors, f"{name}.conv1", f"{name}.bn1", False, workers, bfloat16),
        _convolution(tensors, f"{name}.conv2", f"{name}.bn2", pool, workers, bfloat16),
    ]


def prepared_block_5x5(tensors: Tensors, name: str, *, pool: bool) -> list[Convolution]:
    """The layer of a block of one 5 x 5 convolution, with its pooling."""
    weight, bias = tensors.folded(f"{name}.conv1", f"{name}.bn1")
    if weight.shape[1] == 1:
        return [FirstConvolution5x5(weight, bias)]
    return [WinogradConvolution(weight, bias, pool=pool)]


def _convolution(
    tensors: Tensors, convolution: str, norm: str, pool: bool, workers: Workers, bfloat16: bool
) -> Convolution:
    out_channels, in_channels = tensors.shape(convolution)[:2]
    size = in_channels * out_channels
    if size > MOST_WINOGRAD_WEIGHTS:
        weight, scale, bias = tensors.to_fold(convolution, norm)
        return ProductConvolution(weight, bias, scale=scale, pool=pool, n_parts=workers.n, bfloat16=bfloat16)
    weight, bias = tensors.folded(convolution, norm)
    if in_channels == 1 and not pool:
        return FirstConvolution(weight, bias)
    if in_channels % N_LANES == 0 and size < WINOGRAD_WEIGHTS:
        return WinogradConvolution(weight, bias, pool=pool)
    return EitherConvolution(weight, bias, pool=pool, n_parts=workers.n, bfloat16=bfloat16)


def entry_plane(items: Sequence[FloatArray], planes: Planes) -> Plane:
    """``(C, T, F)`` representations -> a plane ``(T, F, C)`` of all items."""
    channels, _, width = items[0].shape
    plane = planes.get("entry", tuple(item.shape[1] for item in items), width, channels)
    for inside, item in zip(plane.items(), items, strict=True):
        inside[...] = item.transpose(1, 2, 0)
    return plane


def features_of(plane: Plane) -> list[FloatArray]:
    """The last plane -> ``(T', C)`` features of each item: means over frequency."""
    return [item.mean(axis=1) for item in plane.items()]

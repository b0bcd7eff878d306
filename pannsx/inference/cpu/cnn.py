"""Cnn10, Cnn14 and the wavegram CNNs for inference on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from pannsx.inference.cpu.blocks import (
    Convolution,
    can_prepare_block,
    entry_plane,
    features_of,
    prepared_block,
)
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.planes import Plane, Planes
from pannsx.inference.cpu.workers import Workers
from pannsx.models.settings import CnnSettings
from pannsx.types import FloatArray


def can_prepare(trunk: CnnSettings) -> bool:
    """Whether :class:`PreparedCnn` supports every part of a trunk."""
    return trunk.kernel == 3 and all(can_prepare_block(b.out_channels, b.pool) for b in trunk.blocks)


class PreparedCnn:
    """Representations ``(C, T, F)`` -> features ``(T', C')``, like the :class:`~pannsx.models.trunks.Cnn`.

    Args:
        trunk: settings of the trunk.
        tensors: those of the network.
        workers: the threads to compute on.
        bfloat16: round the products of the deep layers.
    """

    def __init__(self, trunk: CnnSettings, tensors: Tensors, workers: Workers, *, bfloat16: bool) -> None:
        self._workers = workers
        self._layers = [
            layer
            for block in trunk.blocks
            for layer in prepared_block(tensors, block.name, workers, pool=block.pool == 2, bfloat16=bfloat16)
        ]
        self._planes = Planes()

    def __call__(
        self, items: Sequence[FloatArray], joined: Sequence[FloatArray] | None = None
    ) -> list[FloatArray]:
        """``(C, T, F)`` of each item -> ``(T', C')`` features; items may differ in ``T``.

        ``joined`` is a second representation of each, concatenated along channels after the first block.
        """
        plane = entry_plane(items, self._planes)
        for number, layer in enumerate(self._layers):
            plane = self._layer(number, layer, plane, joined if number == 1 else None)
        return features_of(plane)

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

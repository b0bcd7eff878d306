"""Cnn6, Cnn10, Cnn14 and the wavegram CNNs for inference on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from pannsx.inference.cpu.blocks import (
    Convolution,
    can_prepare_block,
    entry_plane,
    features_of,
    may_round_block,
    prepared_block,
    prepared_block_5x5,
)
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.planes import Plane, Planes
from pannsx.inference.cpu.wavegram import Wavegrams
from pannsx.inference.cpu.workers import Workers
from pannsx.models.settings import CnnSettings
from pannsx.types import FloatArray


def can_prepare(trunk: CnnSettings) -> bool:
    """Whether :class:`PreparedCnn` supports every part of a trunk."""
    return all(can_prepare_block(b.in_channels, b.out_channels, b.pool, trunk.kernel) for b in trunk.blocks)


def may_round_cnn(trunk: CnnSettings) -> bool:
    """Whether some products of :class:`PreparedCnn` can be rounded to bfloat16."""
    return any(may_round_block(b.in_channels, b.out_channels, trunk.kernel) for b in trunk.blocks)


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
        self._layers: list[Convolution] = []
        for block in trunk.blocks:
            pool = block.pool == 2
            if trunk.kernel == 5:
                self._layers += prepared_block_5x5(tensors, block.name, pool=pool)
            else:
                self._layers += prepared_block(tensors, block.name, workers, pool=pool, bfloat16=bfloat16)
        self._joins = len(self._layers) // len(trunk.blocks) - 1  # the last layer of the first block
        self._planes = Planes(margin=trunk.kernel // 2)

    def __call__(
        self, items: Sequence[FloatArray], joined: Sequence[FloatArray] | None = None
    ) -> list[FloatArray]:
        """``(C, T, F)`` of each item -> ``(T', C')`` features; items may differ in ``T``.

        ``joined`` is a second representation of each, concatenated along channels after the first block.
        """
        if isinstance(items, Wavegrams):
            plane = self._planes.get("entry", items.heights, items.width, items.channels)
            items.fill(plane, 0)
        else:
            plane = entry_plane(items, self._planes)
        for number, layer in enumerate(self._layers):
            plane = self._layer(number, layer, plane, joined if number == self._joins else None)
        return features_of(plane)

    def _layer(
        self, number: int, layer: Convolution, source: Plane, joined: Sequence[FloatArray] | None
    ) -> Plane:
        heights, width, channels = source.rows.heights, source.width, layer.out_channels
        if layer.pool:
            heights, width = tuple(height // 2 for height in heights), width // 2
        if joined is not None:
            # The two differ by one frame for about half of all clip lengths.
            others, more = _sizes(joined)
            heights = tuple(min(pair) for pair in zip(heights, others, strict=True))
            channels += more
        target = self._planes.get(number, heights, width, channels)
        layer(source, target, self._workers)
        if isinstance(joined, Wavegrams):
            joined.fill(target, layer.out_channels)
        elif joined is not None:
            for inside, other in zip(target.items(), joined, strict=True):
                inside[..., layer.out_channels :] = other[:, : len(inside)].transpose(1, 2, 0)
        return target


def _sizes(items: Sequence[FloatArray]) -> tuple[tuple[int, ...], int]:
    """``T`` of each, and ``C``."""
    if isinstance(items, Wavegrams):
        return items.heights, items.channels
    return tuple(item.shape[1] for item in items), items[0].shape[0]

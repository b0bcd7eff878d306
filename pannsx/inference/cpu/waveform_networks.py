"""Networks on the waveform - LeeNets, DaiNet19, Res1dNets - on our own products, in one compiled call."""

from __future__ import annotations

from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.time_layers import LayersInStrips
from pannsx.inference.cpu.time_plan import Layers
from pannsx.inference.cpu.time_strips import MAXIMUM, MEAN
from pannsx.inference.cpu.workers import Workers
from pannsx.jit.simd import N_LANES
from pannsx.models.raw_settings import DaiNet19Settings, LeeNetSettings, Res1dNetSettings, projects

Settings = LeeNetSettings | DaiNet19Settings | Res1dNetSettings


def can_prepare_waveform(trunk: Settings) -> bool:
    """Whether the widths fill vectors."""
    return all(width % N_LANES == 0 for width in trunk.widths)


class WaveformNetworkInStrips(LayersInStrips):
    """``(1, S)`` waveforms -> ``(T', C')`` features, like the original trunk.

    Args:
        trunk: settings of the trunk, with widths that are multiples of ``N_LANES``.
        tensors: those of the network.
        workers: the threads to compute on.
    """

    def __init__(self, trunk: Settings, tensors: Tensors, workers: Workers) -> None:
        super().__init__(_layers(trunk, tensors), workers)


def _layers(trunk: Settings, tensors: Tensors) -> Layers:
    match trunk:
        case LeeNetSettings():
            return _leenet(trunk, tensors)
        case DaiNet19Settings():
            return _dainet(trunk, tensors)
        case Res1dNetSettings():
            return _res1dnet(trunk, tensors)


def _leenet(trunk: LeeNetSettings, tensors: Tensors) -> Layers:
    layers = Layers()
    for block in trunk.blocks:
        for i in range(1, trunk.n_convs + 1):
            stride = 1 if layers.last else trunk.stride
            layers.convolution(
                tensors.folded(f"{block.name}.conv{i}", f"{block.name}.bn{i}"), stride=stride, padding=1
            )
        if block.pools:
            layers.pooling(MAXIMUM, trunk.stride, padding=trunk.stride // 2)
            layers.end()
    return layers


def _dainet(trunk: DaiNet19Settings, tensors: Tensors) -> Layers:
    layers = Layers()
    layers.convolution(tensors.folded("conv0", "bn0"), stride=trunk.stride, rectified=False)
    for block in trunk.blocks:
        if block.pool > 1:
            layers.pooling(MAXIMUM, block.pool)
            layers.end()
        shortcut = layers.last
        for i in range(1, 4):
            layers.convolution(tensors.folded(f"{block.name}.conv{i}", f"{block.name}.bn{i}"), padding=1)
        branch = layers.last
        if block.in_channels != block.out_channels:
            folded = tensors.folded(f"{block.name}.downsample", f"{block.name}.bn_downsample")
            shortcut = layers.convolution(folded, source=shortcut, rectified=False)
        folded = tensors.folded(f"{block.name}.conv4", f"{block.name}.bn4")
        layers.convolution(folded, source=branch, padding=1, added=shortcut)
    return layers


def _res1dnet(trunk: Res1dNetSettings, tensors: Tensors) -> Layers:
    layers = Layers()
    layers.convolution(
        tensors.folded("conv0", "bn0"), stride=trunk.stride, padding=trunk.taps // 2, rectified=False
    )
    for number, block in enumerate(trunk.blocks):
        branch = shortcut = layers.last
        if block.pool > 1:
            branch = layers.pooling(MAXIMUM, block.pool, source=shortcut)
            shortcut = layers.pooling(MEAN, block.pool, source=shortcut)
        if number:  # the first block is one task with the convolution before it
            layers.end()
        folded = tensors.folded(f"{block.name}.conv1", f"{block.name}.bn1")
        branch = layers.convolution(folded, source=branch, padding=1)
        if projects(block):
            folded = tensors.folded(f"{block.name}.downsample.1", f"{block.name}.downsample.2")
            shortcut = layers.convolution(folded, source=shortcut, rectified=False)
        folded = tensors.folded(f"{block.name}.conv2", f"{block.name}.bn2")
        layers.convolution(folded, source=branch, dilation=2, padding=2, added=shortcut)
    return layers

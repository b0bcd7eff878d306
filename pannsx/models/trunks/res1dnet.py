"""Res1dNets: residual networks on raw samples (paper, section III-C)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.blocks import conv1d
from pannsx.models.timing import TimeLayer, pooling, same, strided


class _WaveResidual(nn.Module):
    """``(B, C, S) -> (B, C', S // stride)``: two convolutions, the second dilated, and the input, summed."""

    closing_norm: ClassVar[str] = "bn2"
    time_layers: ClassVar[tuple[TimeLayer, ...]] = (same(3), same(3, dilation=2))

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        # Max pooling in the branch, mean pooling in the shortcut.
        self.pool = nn.MaxPool1d(stride) if stride > 1 else nn.Identity()
        self.conv1 = conv1d(in_channels, out_channels, 3)
        self.bn1 = nn.BatchNorm1d(out_channels)
        self.dropout = nn.Dropout(0.1)
        self.conv2 = conv1d(out_channels, out_channels, 3, dilation=2)
        self.bn2 = nn.BatchNorm1d(out_channels)
        self.downsample = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Sequential(
                nn.AvgPool1d(stride), conv1d(in_channels, out_channels, 1), nn.BatchNorm1d(out_channels)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(self.pool(x))), inplace=True)
        y = self.bn2(self.conv2(self.dropout(y)))
        return functional.relu(y + self.downsample(x), inplace=True)


class Res1dNet(nn.Module):
    """``(B, 1, S)`` waveform -> ``(B, 2048, T')``, a frame every 20,480 samples.

    Args:
        depths: number of blocks of each of the seven layers.
    """

    out_channels = 2048
    _pool = 4
    levels = tuple(f"block{n}" for n in range(1, 8))
    _widths = (64, 128, 256, 512, 1024, 1024, 2048)

    def __init__(self, depths: Sequence[int]) -> None:
        super().__init__()
        self.conv0 = conv1d(1, 64, 11, stride=5)
        self.bn0 = nn.BatchNorm1d(64)
        channels, layers = 64, OrderedDict[str, nn.Module]()
        time_layers = [strided(11, 5, 5)]
        for number, (width, depth) in enumerate(zip(self._widths, depths, strict=True), 1):
            blocks = []
            time_layers += [pooling(self._pool)] if number > 1 else []
            time_layers += _WaveResidual.time_layers * depth
            for i in range(depth):
                stride = self._pool if number > 1 and i == 0 else 1
                blocks.append(_WaveResidual(channels, width, stride))
                channels = width
            layers[f"layer{number}"] = nn.Sequential(*blocks)
        self.resnet = nn.Sequential(layers)
        self.time_layers: tuple[TimeLayer, ...] = tuple(time_layers)

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """``(B, 1, S)`` -> ``(B, 2048, T')``; as published, there is no ReLU after ``bn0``.

        ``until`` names a block, one of the seven layers, whose map ``(B, C, T)`` is returned.
        """
        x = self.bn0(self.conv0(x))
        for level, block in zip(self.levels, self.resnet, strict=True):
            x = block(x)
            if level == until:
                break
        return x

"""Res1dNets: residual networks on raw samples (paper, section III-C)."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.blocks import conv1d
from pannsx.models.raw_settings import Res1dNetSettings
from pannsx.models.timing import TimeLayer


class _WaveResidual(nn.Module):
    """``(B, C, S) -> (B, C', S // stride)``: two convolutions, the second dilated, and the input, summed."""

    closing_norm: ClassVar[str] = "bn2"

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
    """``(B, 1, S)`` waveform -> ``(B, C, T')``; as published, 2048 channels, a frame every 20,480 samples."""

    def __init__(self, settings: Res1dNetSettings) -> None:
        super().__init__()
        self.settings = settings
        first = settings.widths[0]
        self.conv0 = conv1d(1, first, settings.taps, stride=settings.stride)
        self.bn0 = nn.BatchNorm1d(first)
        layers = OrderedDict[str, nn.Module]()
        for number, blocks in enumerate(settings.layers, 1):
            made = [_WaveResidual(block.in_channels, block.out_channels, block.pool) for block in blocks]
            layers[f"layer{number}"] = nn.Sequential(*made)
        self.resnet = nn.Sequential(layers)
        self.out_channels = settings.out_channels
        self.time_layers: tuple[TimeLayer, ...] = settings.time_layers
        self.levels = tuple(f"block{number}" for number in range(1, len(layers) + 1))

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """``(B, 1, S)`` -> ``(B, C, T')``; as published, there is no ReLU after ``bn0``.

        ``until`` names a block, one of the layers, whose map ``(B, C, T)`` is returned.
        """
        x = self.bn0(self.conv0(x))
        for level, block in zip(self.levels, self.resnet, strict=True):
            x = block(x)
            if level == until:
                break
        return x

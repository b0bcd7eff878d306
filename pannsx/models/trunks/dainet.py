"""DaiNet19: a residual network on raw samples (Dai et al. 2017, M34-res with less depth)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.blocks import conv1d
from pannsx.models.raw_settings import DaiNet19Settings
from pannsx.models.timing import TimeLayer


class _DaiBlock(nn.Module):
    """``(B, C, S) -> (B, C', S)``: four convolutions of three taps and the input, summed."""

    closing_norm: ClassVar[str] = "bn4"

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv1d(in_channels, out_channels, 3)
        self.bn1 = nn.BatchNorm1d(out_channels)
        self.conv2 = conv1d(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm1d(out_channels)
        self.conv3 = conv1d(out_channels, out_channels, 3)
        self.bn3 = nn.BatchNorm1d(out_channels)
        self.conv4 = conv1d(out_channels, out_channels, 3)
        self.bn4 = nn.BatchNorm1d(out_channels)
        projects = in_channels != out_channels
        self.downsample = conv1d(in_channels, out_channels, 1) if projects else nn.Identity()
        self.bn_downsample = nn.BatchNorm1d(out_channels) if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = functional.relu(self.bn3(self.conv3(y)), inplace=True)
        y = self.bn4(self.conv4(y))
        return functional.relu(y + self.bn_downsample(self.downsample(x)), inplace=True)


class DaiNet19(nn.Module):
    """``(B, 1, S)`` waveform -> ``(B, C, T')``; as published, 512 channels, a frame every 256 samples."""

    def __init__(self, settings: DaiNet19Settings) -> None:
        super().__init__()
        self.settings = settings
        first = settings.widths[0]
        self.conv0 = nn.Conv1d(1, first, settings.taps, stride=settings.stride, bias=False)
        self.bn0 = nn.BatchNorm1d(first)
        for block in settings.blocks:
            self.add_module(block.name, _DaiBlock(block.in_channels, block.out_channels))
        self.out_channels = settings.out_channels
        self.time_layers: tuple[TimeLayer, ...] = settings.time_layers
        self.levels = tuple(block.name.removeprefix("conv_") for block in settings.blocks)

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """``(B, 1, S)`` -> ``(B, C, T')``; as published, there is no ReLU after ``bn0``.

        ``until`` names a block, whose map ``(B, C, T)`` is returned.
        """
        x = self.bn0(self.conv0(x))
        for level, block in zip(self.levels, self.settings.blocks, strict=True):
            x = functional.max_pool1d(x, block.pool) if block.pool > 1 else x
            x = self.get_submodule(block.name)(x)
            if level == until:
                break
        return x

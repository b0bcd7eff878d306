"""DaiNet19: a residual network on raw samples (Dai et al. 2017, M34-res with less depth)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.blocks import conv1d
from pannsx.models.timing import TimeLayer, pooling, same, strided


class _DaiBlock(nn.Module):
    """``(B, C, S) -> (B, C', S)``: four convolutions of three taps and the input, summed."""

    closing_norm: ClassVar[str] = "bn4"
    time_layers: ClassVar[tuple[TimeLayer, ...]] = (same(3),) * 4

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
    """``(B, 1, S)`` waveform -> ``(B, 512, T')``, a frame every 256 samples."""

    out_channels = 512
    _pool = 4
    levels = ("block1", "block2", "block3", "block4")
    time_layers: tuple[TimeLayer, ...] = (
        strided(80, 4, 0),
        *_DaiBlock.time_layers,
        *(pooling(_pool), *_DaiBlock.time_layers) * 3,
    )

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(1, 64, 80, stride=4, bias=False)
        self.bn0 = nn.BatchNorm1d(64)
        self.conv_block1 = _DaiBlock(64, 64)
        self.conv_block2 = _DaiBlock(64, 128)
        self.conv_block3 = _DaiBlock(128, 256)
        self.conv_block4 = _DaiBlock(256, 512)

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """``(B, 1, S)`` -> ``(B, 512, T')``; as published, there is no ReLU after ``bn0``.

        ``until`` names a block, whose map ``(B, C, T)`` is returned.
        """
        x = self.bn0(self.conv0(x))
        blocks = (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4)
        for number, (level, block) in enumerate(zip(self.levels, blocks, strict=True)):
            x = block(functional.max_pool1d(x, self._pool) if number else x)
            if level == until:
                break
        return x

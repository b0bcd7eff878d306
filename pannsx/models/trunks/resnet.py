"""ResNets on the log-mel: a residual network between two convolution blocks of Cnn14."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.blocks import ConvBlock, avg_pool2d, conv2d
from pannsx.models.settings import ResNetSettings
from pannsx.models.timing import TimeLayer


class BasicBlock(nn.Module):
    """``(B, C, T, F) -> (B, C', T // stride, F // stride)``: two 3x3 convolutions and the input, summed."""

    closing_norm: ClassVar[str] = "bn2"

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        # Mean pooling before the block takes the place of strided convolutions.
        self.pool = avg_pool2d(stride)
        self.conv1 = conv2d(in_channels, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.1)
        self.conv2 = conv2d(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, F)`` -> ReLU of the sum of the convolved and the (projected) input."""
        y = functional.relu(self.bn1(self.conv1(self.pool(x))), inplace=True)
        y = self.bn2(self.conv2(self.dropout(y)))
        return functional.relu(y + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """``(B, C, T, F) -> (B, 4 width, T // stride, F // stride)``: 1x1, 3x3 and 1x1, and the input."""

    closing_norm: ClassVar[str] = "bn3"

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = 4 * width
        self.pool = avg_pool2d(stride)
        self.conv1 = conv2d(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv2d(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.1)
        self.conv3 = conv2d(width, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, F)`` -> ReLU of the sum of the convolved and the (projected) input."""
        y = functional.relu(self.bn1(self.conv1(self.pool(x))), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(self.dropout(y)))
        return functional.relu(y + self.downsample(x), inplace=True)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    project = [conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*([nn.AvgPool2d(stride)] if stride > 1 else []), *project)


class ResNet(nn.Module):
    """``(B, 1, T, F)`` normalised log-mel -> ``(B, 2048, T // 32)`` (paper, section III-B)."""

    def __init__(self, settings: ResNetSettings) -> None:
        super().__init__()
        self.settings = settings
        kind = Bottleneck if settings.block == "bottleneck" else BasicBlock
        self.conv_block1 = ConvBlock(1, settings.widths[0])
        self.resnet = nn.Sequential(
            OrderedDict(
                (
                    f"layer{number}",
                    nn.Sequential(*(kind(block.in_channels, block.width, block.pool) for block in layer)),
                )
                for number, layer in enumerate(settings.layers, 1)
            )
        )
        self.dropout = nn.Dropout(0.2)
        self.conv_block_after1 = ConvBlock(settings.inner_channels, settings.out_channels, pool=(1, 1))
        self.out_channels = settings.out_channels
        self.time_layers: tuple[TimeLayer, ...] = settings.time_layers
        self.levels = tuple(f"block{n}" for n in range(1, len(settings.layers) + 3))

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """``(B, 1, T, F)`` -> ``(B, 2048, T // 32)``, averaged over frequency.

        ``until`` names a block, whose map ``(B, C, T', F')`` is returned: ``conv_block1``, the four layers of
        the residual network and ``conv_block_after1``, in this order.
        """
        last = self.levels[-1]
        blocks = (self.conv_block1, *self.resnet, self.conv_block_after1)
        for level, block in zip(self.levels, blocks, strict=True):
            x = block(self.dropout(functional.avg_pool2d(x, 2)) if level == last else x)
            if level == until:
                return x
        return x.mean(dim=3)

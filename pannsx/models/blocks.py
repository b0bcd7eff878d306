"""Layers shared by several parts. Names of submodules are those of published checkpoints."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.timing import TimeLayer, pooling, same


def conv1d(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1
) -> nn.Conv1d:
    """Convolution over time without bias, padded so that stride 1 keeps the length (odd kernels)."""
    padding = dilation * (kernel // 2)
    return nn.Conv1d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False)


def conv2d(in_channels: int, out_channels: int, kernel: int, *, groups: int = 1) -> nn.Conv2d:
    """Convolution over time and frequency without bias that keeps both lengths (odd kernels)."""
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False)


def avg_pool2d(size: int) -> nn.Module:
    """``(B, C, T, F) -> (B, C, T // size, F // size)``."""
    return nn.AvgPool2d(size) if size > 1 else nn.Identity()


class ConvBlock(nn.Module):
    """``(B, C, T, F) -> (B, C', T // pool[0], F // pool[1])``: two 3x3 convolutions (paper, III-A)."""

    def __init__(
        self, in_channels: int, out_channels: int, pool: tuple[int, int] = (2, 2), dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.conv1 = conv2d(in_channels, out_channels, 3)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv2d(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.pool = pool
        self.time_layers: tuple[TimeLayer, ...] = (same(3), same(3), pooling(pool[0]))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, F)`` -> ``(B, C', T // pool[0], F // pool[1])``: convolve, pool by mean, drop out."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.relu(self.bn2(self.conv2(x)), inplace=True)
        if self.pool != (1, 1):
            x = functional.avg_pool2d(x, self.pool)
        return self.dropout(x)  # type: ignore[no-any-return]


class ConvBlock5x5(nn.Module):
    """``(B, C, T, F) -> (B, C', T // pool[0], F // pool[1])``: one 5x5 convolution, the block of Cnn6."""

    def __init__(
        self, in_channels: int, out_channels: int, pool: tuple[int, int] = (2, 2), dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.conv1 = conv2d(in_channels, out_channels, 5)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.pool = pool
        self.time_layers: tuple[TimeLayer, ...] = (same(5), pooling(pool[0]))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, F)`` -> ``(B, C', T // pool[0], F // pool[1])``: convolve, pool by mean, drop out."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.dropout(functional.avg_pool2d(x, self.pool))  # type: ignore[no-any-return]

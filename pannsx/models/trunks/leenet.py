"""LeeNets: short kernels on raw samples (Lee et al. 2017), in the published depths 11 and 24."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.blocks import conv1d
from pannsx.models.raw_settings import LeeNetSettings
from pannsx.models.timing import TimeLayer


class _LeeBlock(nn.Module):
    """``(B, C, S) -> (B, C', S')``: convolutions of three taps, then padded max pooling, if ``pool > 1``."""

    def __init__(self, in_channels: int, out_channels: int, n_convs: int, stride: int, pool: int) -> None:
        super().__init__()
        self.n_convs, self.pool = n_convs, pool
        for i in range(1, n_convs + 1):
            self.add_module(f"conv{i}", conv1d(in_channels, out_channels, 3, stride=stride))
            self.add_module(f"bn{i}", nn.BatchNorm1d(out_channels))
            in_channels, stride = out_channels, 1

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, self.n_convs + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            x = functional.relu(x, inplace=True)
        return functional.max_pool1d(x, self.pool, padding=self.pool // 2) if self.pool > 1 else x


class LeeNet(nn.Module):
    """``(B, 1, S)`` waveform -> ``(B, C, T')``."""

    def __init__(self, settings: LeeNetSettings) -> None:
        super().__init__()
        self.settings = settings
        for number, block in enumerate(settings.blocks):
            stride, pool = (1 if number else settings.stride), (settings.stride if block.pools else 1)
            made = _LeeBlock(block.in_channels, block.out_channels, settings.n_convs, stride, pool)
            self.add_module(block.name, made)
        self.dropout = nn.Dropout(settings.dropout)
        self.levels = tuple(block.name.removeprefix("conv_") for block in settings.blocks)
        self.out_channels = settings.out_channels
        self.time_layers: tuple[TimeLayer, ...] = settings.time_layers

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """``(B, 1, S)`` -> ``(B, C, T')``, or the map of the block that ``until`` names."""
        for number, level in enumerate(self.levels, 1):
            x = self.get_submodule(f"conv_block{number}")(self.dropout(x) if number > 1 else x)
            if level == until:
                break
        return x

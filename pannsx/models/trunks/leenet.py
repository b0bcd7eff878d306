"""LeeNets: short kernels on raw samples (Lee et al. 2017), in the published depths 11 and 24."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.blocks import conv1d
from pannsx.models.settings import LeeNetSettings
from pannsx.models.timing import TimeLayer, same, strided

_POOL = 3
_STRIDE = 3  # of the first convolution


class _LeeBlock(nn.Module):
    """``(B, C, S) -> (B, C', S')``: convolutions of three taps, then padded max pooling by three."""

    def __init__(self, in_channels: int, out_channels: int, n_convs: int, stride: int, pools: bool) -> None:
        super().__init__()
        self.n_convs, self.pools = n_convs, pools
        for i in range(1, n_convs + 1):
            self.add_module(f"conv{i}", conv1d(in_channels, out_channels, 3, stride=stride))
            self.add_module(f"bn{i}", nn.BatchNorm1d(out_channels))
            in_channels, stride = out_channels, 1

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, self.n_convs + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            x = functional.relu(x, inplace=True)
        return functional.max_pool1d(x, _POOL, padding=_POOL // 2) if self.pools else x


class LeeNet(nn.Module):
    """``(B, 1, S)`` waveform -> ``(B, C, T')``."""

    def __init__(self, settings: LeeNetSettings) -> None:
        super().__init__()
        self.settings = settings
        widths, pools, n_convs = settings.widths, settings.pools, settings.n_convs
        channels, stride = 1, _STRIDE
        for number, (width, pool) in enumerate(zip(widths, pools, strict=True), 1):
            self.add_module(f"conv_block{number}", _LeeBlock(channels, width, n_convs, stride, pool))
            channels, stride = width, 1
        self.dropout = nn.Dropout(settings.dropout)
        self.levels = tuple(f"block{n}" for n in range(1, len(widths) + 1))
        self.out_channels = channels
        layers = [strided(3, _STRIDE, 1), *[same(3)] * (n_convs - 1)]
        for number, pool in enumerate(pools):
            layers += [same(3)] * n_convs if number else []
            layers += [strided(_POOL, _POOL, _POOL // 2)] if pool else []
        self.time_layers: tuple[TimeLayer, ...] = tuple(layers)

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """``(B, 1, S)`` -> ``(B, C, T')``, or the map of the block that ``until`` names."""
        for number, level in enumerate(self.levels, 1):
            x = self.get_submodule(f"conv_block{number}")(self.dropout(x) if number > 1 else x)
            if level == until:
                break
        return x

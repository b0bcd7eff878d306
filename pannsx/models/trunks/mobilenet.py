"""MobileNets on the log-mel: depthwise separable convolutions, with mean pooling instead of strides."""

from __future__ import annotations

from torch import Tensor, nn

from pannsx.models.blocks import avg_pool2d, conv2d
from pannsx.models.settings import MobileNetSettings, SeparableBlock
from pannsx.models.timing import TimeLayer


def _full(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    return [conv2d(in_channels, out_channels, kernel), nn.BatchNorm2d(out_channels)]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    conv = conv2d(channels, channels, 3, groups=channels)
    return [conv, avg_pool2d(stride), nn.BatchNorm2d(channels)]


def _separable(block: SeparableBlock) -> nn.Sequential:
    return nn.Sequential(
        *_depthwise(block.in_channels, block.stride),
        nn.ReLU(inplace=True),
        *_full(block.in_channels, block.out_channels, 1),
        nn.ReLU(inplace=True),
    )


class InvertedResidual(nn.Module):
    """``(B, C, T, F) -> (B, C', T // stride, F // stride)``: widen, convolve depthwise, narrow.

    The input is added where the shape allows it.
    """

    def __init__(self, block: SeparableBlock) -> None:
        super().__init__()
        wide = block.wide
        widen = [*_full(block.in_channels, wide, 1), nn.ReLU6(inplace=True)] if block.widens else []
        self.conv = nn.Sequential(
            *widen,
            *_depthwise(wide, block.stride),
            nn.ReLU6(inplace=True),
            *_full(wide, block.out_channels, 1),
        )
        self.adds_input = block.adds_input

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, F)`` -> ``(B, C', T // stride, F // stride)``: convolve and add."""
        y: Tensor = self.conv(x)
        return x + y if self.adds_input else y


class MobileNet(nn.Module):
    """``(B, 1, T, F)`` normalised log-mel -> ``(B, C, T // 32)``.

    MobileNetV1 (Howard et al. 2017) or, with residual blocks, MobileNetV2 (Sandler et al. 2018).
    """

    def __init__(self, settings: MobileNetSettings) -> None:
        super().__init__()
        self.settings = settings
        activation = nn.ReLU6 if settings.residual else nn.ReLU
        conv, norm = _full(1, settings.first_channels, 3)
        stages: list[nn.Module] = [nn.Sequential(conv, avg_pool2d(2), norm, activation(inplace=True))]
        for block in settings.blocks:
            stages.append(InvertedResidual(block) if settings.residual else _separable(block))
        if settings.last is not None:
            last = _full(settings.blocks[-1].out_channels, settings.out_channels, 1)
            stages.append(nn.Sequential(*last, activation(inplace=True)))
        self.features = nn.Sequential(*stages)
        self.out_channels = settings.out_channels
        self.time_layers: tuple[TimeLayer, ...] = settings.time_layers
        self.levels = tuple(f"block{n}" for n in range(1, len(stages) + 1))

    def forward(self, x: Tensor, until: str | None = None) -> Tensor:
        """``(B, 1, T, F)`` -> ``(B, C, T // 32)``, averaged over frequency.

        ``until`` names a block, a module of ``features``, whose map ``(B, C, T', F')`` is returned.
        """
        for level, block in zip(self.levels, self.features, strict=True):
            x = block(x)
            if level == until:
                return x
        return x.mean(dim=3)

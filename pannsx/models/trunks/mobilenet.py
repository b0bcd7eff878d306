"""MobileNets on the log-mel: depthwise separable convolutions, with mean pooling instead of strides."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from pannsx.models.blocks import avg_pool2d, conv2d
from pannsx.models.timing import TimeLayer, pooling, same


def _full(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    return [conv2d(in_channels, out_channels, kernel), nn.BatchNorm2d(out_channels)]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    conv = conv2d(channels, channels, 3, groups=channels)
    return [conv, avg_pool2d(stride), nn.BatchNorm2d(channels)]


def _first(activation: nn.Module) -> nn.Sequential:
    conv, norm = _full(1, 32, 3)
    return nn.Sequential(conv, avg_pool2d(2), norm, activation)


def _time_layers(strides: Iterable[int]) -> tuple[TimeLayer, ...]:
    """Time layers of depthwise convolutions with these strides; the first, full convolution has stride 2."""
    return tuple(layer for stride in strides for layer in (same(3), pooling(stride)))


class MobileNetV1(nn.Module):
    """``(B, 1, T, F)`` normalised log-mel -> ``(B, 1024, T // 32)`` (Howard et al. 2017)."""

    out_channels = 1024
    # (channels, stride) of each depthwise separable convolution.
    _layers = (
        *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
        *[(512, 1)] * 5,
        *((1024, 2), (1024, 1)),
    )
    time_layers: tuple[TimeLayer, ...] = _time_layers((2, *(stride for _, stride in _layers)))

    def __init__(self) -> None:
        super().__init__()
        stages, channels = [_first(nn.ReLU(inplace=True))], 32
        for width, stride in self._layers:
            stages.append(
                nn.Sequential(
                    *_depthwise(channels, stride),
                    nn.ReLU(inplace=True),
                    *_full(channels, width, 1),
                    nn.ReLU(inplace=True),
                )
            )
            channels = width
        self.features = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 1, T, F)`` -> ``(B, C, T // 32)``, averaged over frequency."""
        return self.features(x).mean(dim=3)  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """``(B, C, T, F) -> (B, C', T // stride, F // stride)``: widen, convolve depthwise, narrow.

    The input is added where the shape allows it.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, widening: int) -> None:
        super().__init__()
        wide = in_channels * widening
        widen = [*_full(in_channels, wide, 1), nn.ReLU6(inplace=True)] if widening > 1 else []
        self.conv = nn.Sequential(
            *widen, *_depthwise(wide, stride), nn.ReLU6(inplace=True), *_full(wide, out_channels, 1)
        )
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, F)`` -> ``(B, C', T // stride, F // stride)``: convolve and add."""
        y: Tensor = self.conv(x)
        return x + y if self.adds_input else y


class MobileNetV2(nn.Module):
    """``(B, 1, T, F)`` normalised log-mel -> ``(B, 1280, T // 32)`` (Sandler et al. 2018)."""

    out_channels = 1280
    # (widening, channels, repetitions, stride of the first); the published strides differ from the
    # paper's: the sixth group does not pool.
    _groups = (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 2), (6, 160, 3, 1), (6, 320, 1, 1)),
    )
    time_layers: tuple[TimeLayer, ...] = _time_layers(
        (2, *(stride for *_, n, first in _groups for stride in (first, *[1] * (n - 1))))
    )

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = [_first(nn.ReLU6(inplace=True))]
        channels = 32
        for widening, width, repetitions, stride in self._groups:
            for i in range(repetitions):
                stages.append(InvertedResidual(channels, width, stride if i == 0 else 1, widening))
                channels = width
        stages.append(nn.Sequential(*_full(channels, self.out_channels, 1), nn.ReLU6(inplace=True)))
        self.features = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 1, T, F)`` -> ``(B, C, T // 32)``, averaged over frequency."""
        return self.features(x).mean(dim=3)  # type: ignore[no-any-return]

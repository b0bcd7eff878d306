"""MobileNetV3-Large for spectrograms, as published by EfficientAT.

Sources: Howard et al., "Searching for MobileNetV3", ICCV 2019, table 1; Schmid, Koutini, Widmer,
"Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation", ICASSP 2023.
The parameters have the names of the published state dicts, so these load strictly.
"""

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

BATCH_NORM_EPS = 1e-3
"""Epsilon of every batch norm. Its momentum is that of the paper's code, 0.99 (PyTorch's 0.01)."""

WIDTH_DIVISOR = 8
DROPOUT = 0.2


class Row(NamedTuple):
    """A row of the paper's table: one inverted residual block, at width 1."""

    kernel_size: int
    n_expanded: int
    n_out: int
    squeezes: bool
    hard_swish: bool
    stride: int


STEM_CHANNELS = 16
ROWS = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
LAST_EXPANSION = 6
CLASSIFIER_CHANNELS = 1280


def rounded_channels(n_channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, but at least 90 % of it."""
    rounded = max(WIDTH_DIVISOR, int(n_channels + WIDTH_DIVISOR / 2) // WIDTH_DIVISOR * WIDTH_DIVISOR)
    return rounded if rounded >= 0.9 * n_channels else rounded + WIDTH_DIVISOR


class ConvNorm(nn.Sequential):
    """``(B, C, F, T)`` -> ``(B, C', F', T')``: convolution without bias, batch norm, activation."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(n_out, eps=BATCH_NORM_EPS, momentum=0.01),
            activation or nn.Identity(),
        )


class SqueezeExcitation(nn.Module):
    """``(B, C, F, T)`` -> the same shape: channels weighted by a function of their means."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        n_squeezed = rounded_channels(n_channels / 4)
        self.fc1 = nn.Linear(n_channels, n_squeezed)
        self.fc2 = nn.Linear(n_squeezed, n_channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """``(B, C, F, T)`` -> ``(B, C, F, T)``, channels weighted."""
        scales: torch.Tensor = self.fc2(self.fc1(maps.mean((2, 3))).relu()).sigmoid()
        return maps * scales[:, :, None, None]


class ConcurrentSqueezeExcitation(nn.Module):
    """``(B, C, F, T)`` -> the same shape: a list of one squeeze-excitation, as in the published keys."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([SqueezeExcitation(n_channels)])

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """``(B, C, F, T)`` -> ``(B, C, F, T)``, channels weighted."""
        weighed: torch.Tensor = self.conc_se_layers[0](maps)
        return weighed


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-excitation, projection; a residual if shapes allow it."""

    def __init__(self, n_in: int, row: Row, width: float) -> None:
        super().__init__()
        n_expanded, n_out = rounded_channels(row.n_expanded * width), rounded_channels(row.n_out * width)
        activation = nn.Hardswish if row.hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if n_expanded != n_in:
            layers.append(ConvNorm(n_in, n_expanded, activation=activation()))
        layers.append(ConvNorm(n_expanded, n_expanded, row.kernel_size, row.stride, n_expanded, activation()))
        if row.squeezes:
            layers.append(ConcurrentSqueezeExcitation(n_expanded))
        layers.append(ConvNorm(n_expanded, n_out))
        self.block = nn.Sequential(*layers)
        self.has_residual = row.stride == 1 and n_in == n_out
        self.n_out = n_out

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """``(B, C, F, T)`` -> ``(B, C', F / stride, T / stride)``."""
        out: torch.Tensor = self.block(maps)
        return maps + out if self.has_residual else out


class MobileNetV3(nn.Module):
    """MobileNetV3-Large: log_mel ``(B, 1, F, T)`` -> logits ``(B, K)``, with a width multiplier.

    Args:
        width: factor of the paper's numbers of channels (rounded to multiples of 8).
        n_classes: number of classes.
    """

    def __init__(self, width: float = 1.0, n_classes: int = 527) -> None:
        super().__init__()
        n_channels = rounded_channels(STEM_CHANNELS * width)
        layers: list[nn.Module] = [ConvNorm(1, n_channels, 3, 2, activation=nn.Hardswish())]
        for row in ROWS:
            block = InvertedResidual(n_channels, row, width)
            layers.append(block)
            n_channels = block.n_out
        n_last = LAST_EXPANSION * n_channels
        layers.append(ConvNorm(n_channels, n_last, activation=nn.Hardswish()))
        self.features = nn.Sequential(*layers)
        n_hidden = rounded_channels(CLASSIFIER_CHANNELS * width)
        # The published keys count the pooling and the flattening before the first linear layer.
        self.classifier = nn.Sequential(
            OrderedDict(
                {
                    "2": nn.Linear(n_last, n_hidden),
                    "3": nn.Hardswish(),
                    "4": nn.Dropout(DROPOUT),
                    "5": nn.Linear(n_hidden, n_classes),
                }
            )
        )

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """Log_mel ``(B, 1, F, T)`` -> logits ``(B, K)``."""
        logits: torch.Tensor = self.classifier(self.features(log_mel).mean((2, 3)))
        return logits

    def fold_batch_norms(self) -> None:
        """Fold every batch norm into its convolution, in place: the same function in evaluation, faster.

        Afterwards the keys differ from the published ones, and the network is for inference only.
        """
        for layer in self.modules():
            if isinstance(layer, ConvNorm):
                convolution, norm = layer[0], layer[1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    layer[0] = fuse_conv_bn_eval(convolution.eval(), norm.eval())
                    layer[1] = nn.Identity()

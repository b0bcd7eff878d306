"""Batch norms folded into the convolutions before them: in evaluation both are affine maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d


def scale_and_shift(norm: Norm) -> tuple[Tensor, Tensor]:
    """``(C,)`` scales and shifts of the norm in evaluation mode, computed in float64.

    Raises:
        ValueError: the norm keeps no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def folded(convolution: Convolution, norm: Norm) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution equivalent to the two layers."""
    with torch.no_grad():
        scale, shift = scale_and_shift(norm)
        weight = convolution.weight * scale.float().view(-1, *[1] * (convolution.weight.ndim - 1))
        bias = shift if convolution.bias is None else shift + convolution.bias.double() * scale
        return weight, bias.float()


def by_tap(weight: Tensor) -> Tensor:
    """``(C', C, h, w)`` filters -> ``(h w, C, C')``, contiguous."""
    out_channels, in_channels, height, width = weight.shape
    # Two copies of long contiguous runs are many times faster than one strided copy.
    transposed = weight.detach().float().reshape(out_channels, -1).t().contiguous()
    taps = transposed.view(in_channels, height * width, out_channels)
    return taps.transpose(0, 1).contiguous()

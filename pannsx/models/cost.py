"""Cost of a model: parameters, and multiply-accumulates counted layer by layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pannsx.frontend.settings import FrontEnd
from pannsx.models.pann import Pann
from pannsx.models.zoo import build_empty


def n_parameters(model: nn.Module) -> int:
    """Number of trainable parameters in use."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_accumulates(model: Pann, duration_s: float = 10.0) -> int:
    """Multiply-accumulates to tag one clip: every convolution and linear layer up to the logits.

    Not counted: the log-mel, norms, activations, pooling, and the frame logits of clip heads.
    Only shapes are propagated, through a copy without weights. The paper's operations are about twice this
    count, including its Fourier transform (a convolution).
    """
    shapes = build_empty(model.architecture, model.sample_rate, model.frontend, model.n_classes)
    total = 0

    def count(layer: nn.Module, _: tuple[Tensor, ...], y: Tensor) -> None:
        nonlocal total
        weight = layer.get_parameter("weight")
        # Each output is a sum over one row of the weights: (in / groups) * kernel, or in features.
        total += y.numel() * math.prod(weight.shape[1:])

    for layer in shapes.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    shapes.head.clip(shapes.forward_features(*_inputs(shapes, round(duration_s * model.sample_rate))))
    return total


def level_channels(
    architecture: str, sample_rate: int, frontend: FrontEnd | None, n_classes: int, level: str
) -> int:
    """Number of channels of a level of :meth:`pannsx.models.Pann.forward_features`; by shapes alone."""
    shapes = build_empty(architecture, sample_rate, frontend, n_classes)
    found = shapes.forward_features(*_inputs(shapes, 0), level=level)
    return found.shape[2 if level.startswith("frame_") else 1]


def _inputs(model: Pann, n_samples: int) -> tuple[Tensor, Tensor | None]:
    """The shapes of a waveform and its log-mel."""
    n_samples = max(n_samples, model.min_samples)
    waveform = torch.empty(1, n_samples, device="meta")
    if model.frontend is None:
        return waveform, None
    shape = (1, model.frontend.n_frames(n_samples), model.frontend.n_mels)
    return waveform, torch.empty(shape, device="meta")

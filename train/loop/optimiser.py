"""The recipe's optimiser."""

from __future__ import annotations

import torch
from torch import nn

from train.recipe import Optimiser


def make_optimiser(settings: Optimiser, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of all weights; as published, Adam (Kingma and Ba 2015) with AMSGrad."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    fused = True if all(parameter.is_cuda for parameter in weights) else None  # one kernel for all weights
    if settings.kind == "sgd":
        return torch.optim.SGD(weights, lr=rate, weight_decay=decay, fused=fused)
    kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
    return kind(
        weights, lr=rate, betas=settings.betas, eps=settings.eps, weight_decay=decay,
        amsgrad=settings.amsgrad, fused=fused,
    )  # fmt: skip


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate

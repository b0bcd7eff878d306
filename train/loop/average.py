"""Averages of the weights over training steps; they tag better than the last weights.

Exponential: Polyak averaging with a decay, as in Tarvainen and Valpola 2017 (arXiv:1703.01780); mean:
Izmailov et al. 2018 (arXiv:1803.05407), also used for audio tagging by Gong et al. 2021 (PSLA,
arXiv:2102.01243). Statistics of batch norms are averaged along with the weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.recipe import Average

Weights = dict[str, Tensor]


def start(model: nn.Module) -> Weights:
    """The initial average: the weights themselves."""
    return {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}


@torch.no_grad()
def update(average: Weights, model: nn.Module, settings: Average, step: int) -> None:
    """Update the average with the weights after ``step`` steps, in place, if the step is one of its steps.

    Until ``start_step`` the average equals the weights. The exponential average begins as a plain mean (its
    decay is at most ``n / (n + 1)`` after ``n`` updates), so that the first weights lose influence soon.
    """
    since = step - settings.start_step
    if since > 0 and since % settings.every:
        return
    n_before = max(0, since) // settings.every
    kept = n_before / (n_before + 1)
    if settings.kind == "exponential":
        kept = min(settings.decay, kept)
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            average[key].lerp_(tensor, 1.0 - kept)
        else:
            average[key].copy_(tensor)


def restore(saved: Mapping[str, Tensor], like: nn.Module) -> Weights:
    """A saved average, on the devices of a model's weights."""
    own = like.state_dict()
    return {key: tensor.to(own[key].device, own[key].dtype) for key, tensor in saved.items()}

"""Adapters: only a small part of a network is trained, and saved as a delta.

``head``: the new head alone. ``norms``: also scale and shift of the batch norms, which keep their statistics,
and the biases (Frankle et al. 2020, arXiv:2003.00152). ``low-rank``: also the product of two factors, added
to the weight of each large convolution and dense layer (Hu et al. 2021, arXiv:2106.09685).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pannsx.errors import did_you_mean
from pannsx.models.layout import published_key
from pannsx.models.pann import Pann
from pannsx.types import FloatArray
from pannsx.weights.delta import CLASSIFIER_PREFIXES, Factors, merged

Adapt = Literal["head", "norms", "low-rank"]
Layer = nn.Linear | nn.Conv1d | nn.Conv2d

DEFAULT_RANK = 2
"""Factors of 0.53 MB for Cnn14."""

_MOST = 0.25
"""Share of a weight's numbers that its factors may have; layers too small for that stay as they are."""


def check_adapt(adapt: str | None, rank: int) -> None:
    """ValueError for another kind of adapter, or a rank below 1."""
    kinds = get_args(Adapt)
    if adapt is not None and adapt not in kinds:
        hint = did_you_mean(adapt, kinds) if isinstance(adapt, str) else ""
        raise ValueError(f"adapt is {adapt!r}{hint}; use one of {', '.join(kinds)}, or None")
    if rank < 1:
        raise ValueError(f"rank is {rank}; at least 1 is needed")


class LowRank(nn.Module):
    """``x`` -> ``layer(x) + up(down(x))``: a layer, and a change of its weight of a rank.

    Args:
        layer: without groups.
        rank: channels between the factors. ``up`` begins at zero, so the sum begins as the layer.
    """

    def __init__(self, layer: Layer, rank: int) -> None:
        super().__init__()
        self.layer = layer
        self.down, self.up = _factors_of(layer, rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer."""
        found: Tensor = self.layer(x) + self.up(self.down(x))
        return found

    def factors(self) -> Factors:
        """The change of the weight."""
        return Factors(_matrix(self.down.weight), _matrix(self.up.weight))


def prepare(model: Pann, adapt: Adapt, rank: int, *, seed: int) -> None:
    """Leave only an adapter's parameters to train, in place; low-rank layers get their factors.

    Raises:
        ValueError: no layer is large enough for factors of this rank.
    """
    model.requires_grad_(False)
    if adapt == "norms":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.requires_grad_(True)
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.requires_grad_(True)
    elif adapt == "low-rank":
        layers = large_layers(model, rank)
        if not layers:
            raise ValueError(f"no layer of {model.architecture} is large enough for a rank of {rank}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, layer in layers.items():
                _replace(model, name, LowRank(layer, rank))


def merge(model: Pann) -> dict[str, Factors]:
    """Add the factors of all low-rank layers to their weights, in place -> the factors by published key."""
    found = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, LowRank):
            factors = module.factors()
            weight = merged(module.layer.weight.detach().cpu().numpy(), factors)
            with torch.no_grad():
                module.layer.weight.copy_(torch.from_numpy(weight))
            _replace(model, name, module.layer)
            found[published_key(f"{name}.weight")] = factors
    return found


def large_layers(model: Pann, rank: int) -> dict[str, Layer]:
    """The layers below the classifier that are worth factors of a rank, by name."""
    return {
        name: layer
        for name, layer in _layers(model)
        if rank * sum(_sides(layer)) <= _MOST * layer.weight.numel()
    }


def _layers(model: Pann) -> Iterator[tuple[str, Layer]]:
    for name, module in model.named_modules():
        if published_key(f"{name}.").startswith(CLASSIFIER_PREFIXES):
            continue
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) and getattr(module, "groups", 1) == 1:
            yield name, module


def _sides(layer: Layer) -> tuple[int, int]:
    """Rows and columns of a weight as a matrix."""
    return len(layer.weight), layer.weight[0].numel()


def _factors_of(layer: Layer, rank: int) -> tuple[Layer, Layer]:
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=False)
    kind = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.Conv2d
    down = kind(
        layer.in_channels,
        rank,
        layer.kernel_size,  # type: ignore[arg-type]  # of as many axes as the kind
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        bias=False,
    )
    return down, kind(rank, layer.out_channels, 1, bias=False)


def _matrix(weight: Tensor) -> FloatArray:
    found: FloatArray = weight.detach().cpu().flatten(1).numpy()
    return found


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)

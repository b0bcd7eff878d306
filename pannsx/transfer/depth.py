"""Which parts of a network are trained, and how fast: a rate for each part, and frozen batch norms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_PART = re.compile(r"stem|head|trunk\.[a-z]\w*(\.(layer)?\d+)?(?=\.)")


def parameter_groups(model: nn.Module, head: nn.Module, decay: float) -> list[dict[str, Any]]:
    """The parameters in groups for an optimiser, with their share of the learning rate as ``scale``.

    A new head has the whole rate; each part below it, from the network's own head over the blocks of the
    trunk to the stem, ``decay`` times that of the part above (Howard and Ruder 2018, arXiv:1801.06146).

    Args:
        model: the network, ``head(trunk(stem(...)))``.
        head: the new head.
        decay: above 0, up to 1; 1: one rate for all.
    """
    parts: dict[str, list[nn.Parameter]] = {"stem": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts.setdefault(part_of(name), []).append(parameter)
    groups = [{"params": list(head.parameters()), "scale": 1.0}]
    for depth, parameters in enumerate(reversed(list(in_order(parts).values())), start=1):
        groups.append({"params": parameters, "scale": decay**depth})
    return [group for group in groups if group["params"]]


def part_of(name: str) -> str:
    """The part of a parameter: ``stem``, ``head``, or a block such as ``trunk.features.3``.

    Raises:
        ValueError: it is of no part.
    """
    found = _PART.match(name)
    if found is None:
        raise ValueError(f"the parameter {name!r} is of no part of a network")
    return found[0].replace(".bn0", ".conv0")  # the norm after the first convolution


def in_order(parts: Mapping[str, list[nn.Parameter]]) -> dict[str, list[nn.Parameter]]:
    """Stem, blocks of the trunk in their order, head."""
    floor = {"stem": 0, "head": 2}
    return {name: parts[name] for name in sorted(parts, key=lambda name: floor.get(name, 1))}


def set_training(network: nn.Module, *, freeze_norms: bool, keep_statistics: bool = False) -> None:
    """Training mode; frozen batch norms keep their statistics, scale and shift, or only the statistics."""
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train(not (freeze_norms or keep_statistics))
            if freeze_norms:
                module.requires_grad_(False)

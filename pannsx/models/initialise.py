"""Initialisation of a model's weights for training."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def initialise(model: nn.Module) -> None:
    """Initialise every parameter in place, from torch's global random generator.

    As in the published code: Xavier uniform weights, zero biases, batch norms as the identity. The last batch
    norm of a residual branch starts at zero, so that each block starts as the identity. Parameters without
    storage (meta device) are allocated on the default device.
    """
    state = model.state_dict()
    if any(tensor.is_meta for tensor in state.values()):
        fresh = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in state.items()}
        model.load_state_dict(fresh, assign=True)
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, _BatchNorm):
            module.reset_parameters()
    for module in model.modules():
        closing_norm = getattr(module, "closing_norm", None)
        if isinstance(closing_norm, str):
            nn.init.zeros_(module.get_submodule(closing_norm).get_parameter("weight"))

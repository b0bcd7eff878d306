"""Compilation of the trunk by torch.compile, and CUDA graphs: ``run.compile`` and ``run.cuda_graphs``.

The trunk alone is compiled, in place, so that names of weights stay: augmentation before it has other numbers
in each step, and would be compiled again each time. CUDA graphs launch all kernels of the trunk at once; that
pays where kernels are short: small networks or batches on fast GPUs.
"""

from __future__ import annotations

from typing import Any

import torch

from pannsx.models import Pann
from train.recipe import Recipe


def compile_trunk(model: Pann, recipe: Recipe, device: torch.device) -> None:
    """Compile the trunk of a model as the recipe says; it happens in the first step.

    Raises:
        ValueError: this machine cannot do so.
    """
    run = recipe.run
    if not run.compile and not run.cuda_graphs:
        return
    if run.cuda_graphs and device.type != "cuda":
        raise ValueError(
            f"run.cuda_graphs needs a GPU, and the device is {device.type}; set run.cuda_graphs=false"
        )
    settings: dict[str, Any] = {}
    if run.cuda_graphs:
        settings = {"mode": "reduce-overhead"} if run.compile else {"backend": "cudagraphs"}
    _check(settings, device)
    model.trunk.compile(**settings)


def _check(settings: dict[str, Any], device: torch.device) -> None:
    """Compile and run a function of one line: a missing compiler is reported before the clips are opened."""
    try:
        torch.compile(_twice, **settings)(torch.ones(2, device=device))
    except Exception as error:  # of the compiler, of Triton, of the system's C++ compiler
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"this machine cannot compile networks ({reason}); set run.compile=false and "
            "run.cuda_graphs=false"
        ) from error


def _twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

"""A recipe's model, initialised or with the weights of a run's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pannsx import weights
from pannsx.errors import WeightsError
from pannsx.models import Pann
from pannsx.models.zoo import build, build_empty
from train.recipe import Recipe, saved_recipe


def fresh_model(recipe: Recipe, n_classes: int) -> Pann:
    """A model to train, on the CPU; its initial weights are a function of the recipe's seed.

    If ``model.start`` gives a checkpoint, a file or a name of the manifest, its weights are used, except
    those of a classifier for a different number of classes.

    Raises:
        ValueError, WeightsError: unknown architecture, or an unsuitable starting checkpoint.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        model = build(recipe.model.architecture, recipe.model.sample_rate, recipe.frontend, n_classes)
    if recipe.model.start:
        _begin_with(model, recipe.model.start)
    return model


def trained_model(state: Mapping[str, Any]) -> Pann:
    """The model of a run's checkpoint in evaluation mode, with averaged weights if there are any."""
    recipe = saved_recipe(state["recipe"], "the checkpoint's recipe")
    model = build_empty(
        recipe.model.architecture, recipe.model.sample_rate, recipe.frontend, len(state["labels"])
    )
    saved = state["average"] or state["model"]
    model.load_state_dict(
        {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in saved.items()},
        assign=True,
    )
    return model.eval()


def _begin_with(model: Pann, start: str) -> None:
    loaded = weights.load(start).model
    if loaded.architecture != model.architecture or loaded.frontend != model.frontend:
        raise WeightsError(
            f"{start} is {loaded.architecture} with {loaded.frontend}; the recipe trains "
            f"{model.architecture} with {model.frontend}"
        )
    own, begun = model.state_dict(), loaded.state_dict()
    same = {key: begun[key] if begun[key].shape == tensor.shape else tensor for key, tensor in own.items()}
    model.load_state_dict(same)

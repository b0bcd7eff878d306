"""The learning rate: a function of the step, so that there is no state to lose."""

from __future__ import annotations

import math

from train.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, 0 being the first.

    Up in a straight line over the warm-up (Goyal et al. 2017, arXiv:1706.02677), then constant as published,
    or down to ``last_share`` of the highest at the last step, in a straight line or along a half cosine
    (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    schedule, highest = recipe.schedule, recipe.optimiser.learning_rate
    if step < schedule.warm_up_steps:
        return highest * (step + 1) / schedule.warm_up_steps
    if schedule.kind == "constant":
        return highest
    n_decay = max(1, recipe.run.steps - 1 - schedule.warm_up_steps)
    done = min(1.0, (step - schedule.warm_up_steps) / n_decay)
    remaining = 1.0 - done if schedule.kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return highest * (schedule.last_share + (1.0 - schedule.last_share) * remaining)

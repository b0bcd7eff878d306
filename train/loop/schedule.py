"""The learning rate: a function of the step, so that there is no state to lose."""

from __future__ import annotations

import math

from train.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, 0 being the first.

    Up in a straight line over the warm-up (Goyal et al. 2017, arXiv:1706.02677), then constant as published,
    or down to ``final_lr_ratio`` of the highest at the last step, in a straight line or along a half cosine
    (Loshchilov and Hutter 2017, arXiv:1608.03983). With ``decay_steps`` it stays constant until the last of
    these begin (Hägele et al. 2024, arXiv:2405.18392): a run can then be made longer until they do.
    """
    schedule, highest = recipe.schedule, recipe.optimiser.learning_rate
    if step < schedule.warmup_steps:
        return highest * (step + 1) / schedule.warmup_steps
    if schedule.kind == "constant":
        return highest
    begin, last = schedule.warmup_steps, recipe.run.steps - 1
    if schedule.decay_steps:
        begin = max(begin, last - schedule.decay_steps)
    done = min(1.0, max(0.0, (step - begin) / max(1, last - begin)))
    remaining = 1.0 - done if schedule.kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return highest * (schedule.final_lr_ratio + (1.0 - schedule.final_lr_ratio) * remaining)

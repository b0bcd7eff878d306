"""The learning rate as a function of the step, without state."""

from __future__ import annotations

import math

from train.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, 0 being the first.

    A linear warm-up (Goyal et al. 2017, arXiv:1706.02677), then constant as published, or a linear or
    half-cosine decay (Loshchilov and Hutter 2017, arXiv:1608.03983) to ``final_lr_ratio`` of the maximum at
    the last step. With ``decay_steps`` only that many last steps decay (Hägele et al. 2024,
    arXiv:2405.18392): until they begin, a run can be made longer.
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

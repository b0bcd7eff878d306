"""Conditions for starting a run, resuming it, and taking its next step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pannsx.atomic import replacing
from train.loop.distributed import Ranks
from train.recipe import Recipe, differences, saved_recipe

# Keys that may change on a resume, as they do not affect the result. Clips may have moved: their digest is
# compared instead.
_FREE = (
    "data.train", "data.workers", "data.readers", "data.staging", "data.evaluation", "keep.", "run.steps",
)  # fmt: skip


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


def check_division(recipe: Recipe, ranks: Ranks) -> None:
    """TrainingError if the batch cannot be split into equal parts of at least two clips, for batch norm."""
    pieces = ranks.world_size * recipe.run.accumulate
    if recipe.run.batch_size % pieces:
        raise TrainingError(
            f"run.batch_size {recipe.run.batch_size} cannot be divided among {ranks.world_size} ranks and "
            f"{recipe.run.accumulate} parts; make it a multiple of {pieces}"
        )
    n_drawn = recipe.run.batch_size * (1 if recipe.augment.mixup == "none" else 2)
    if recipe.sampler == "streamed" and n_drawn % recipe.data.streams:
        raise TrainingError(
            f"the {n_drawn} clips of a batch cannot be shared out among data.streams={recipe.data.streams}; "
            "give a divisor"
        )
    if recipe.run.batch_size // pieces < 2 and not recipe.run.sync_batch_norm:
        raise TrainingError("batch norm needs at least two clips; increase run.batch_size")


def check_same_run(recipe: Recipe, begun_with: Mapping[str, Any], folder: Path, *, may_differ: bool) -> None:
    """TrainingError if a run was started with a recipe that differs in its result."""
    begun = saved_recipe(begun_with, f"the recipe of the run in {folder}")
    changed = [line for line in differences(begun, recipe) if not line.startswith(_FREE)]
    if recipe.schedule.kind != "constant" and begun.run.steps != recipe.run.steps:
        changed.append(f"run.steps: {begun.run.steps}, {recipe.run.steps} (the learning rate depends on it)")
    if changed and not may_differ:
        raise TrainingError(
            f"the run in {folder} was started with another recipe ({'; '.join(changed)}); give another "
            "--folder, or the same values, or --may-differ to resume regardless"
        )


def check_same_data(begun: Mapping[str, Any], now: Mapping[str, Any], recipe: Recipe, folder: Path) -> None:
    """TrainingError if clips or teacher are not those the run was started with."""
    sources = {"train": recipe.data.train, "teacher": recipe.distil.teacher, "unknown": recipe.loss.unknown}
    for what, path in sources.items():
        if begun.get(what) != now[what]:
            raise TrainingError(
                f"{path} has changed since the start of the run in {folder} (digest {now[what]}, then "
                f"{begun.get(what)}); restore it, or start a run in another --folder"
            )


def not_finite(
    folder: Path, step: int, ranks: Ranks, ids: Sequence[str], *, loss: float, norm: float
) -> TrainingError:
    """Record the ids of a batch with a loss or gradient that is not finite -> the error to raise.

    No checkpoint is written, as the batch may have spoilt the statistics of the batch norms.
    """
    path = folder / "not_finite" / f"step-{step}-rank-{ranks.rank}.json"
    content = {"step": step, "loss": str(loss), "gradient_norm": str(norm), "ids": list(ids)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return TrainingError(
        f"step {step}: the loss or its gradient is not finite (loss {loss}, gradient's norm {norm}); the ids "
        f"of the batch are in {path}. The checkpoints are older. Look at these clips; to resume "
        "with a lower optimiser.learning_rate or with optimiser.clip_norm, give --may-differ"
    )

"""What must hold for a run to begin, to go on, and to take its next step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pannsx.atomic import replacing
from train.loop.distributed import Ranks
from train.recipe import Recipe, differences, parse_recipe

# Keys that may change when a run goes on: they do not touch what is computed. Clips may have moved: their
# digest says whether they are the same.
_FREE = ("data.train", "data.workers", "data.evaluation", "keep.", "run.steps")


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


def check_division(recipe: Recipe, ranks: Ranks) -> None:
    """TrainingError where the batch cannot be cut into equal parts that batch norms can work with."""
    pieces = ranks.world_size * recipe.run.accumulate
    if recipe.run.batch_size % pieces:
        raise TrainingError(
            f"run.batch_size {recipe.run.batch_size} cannot be divided among {ranks.world_size} ranks and "
            f"{recipe.run.accumulate} parts; make it a multiple of {pieces}"
        )
    if recipe.run.batch_size // pieces < 2 and not recipe.run.sync_batch_norm:
        raise TrainingError("a batch norm needs two clips or more; make run.batch_size larger")


def check_same_run(recipe: Recipe, begun_with: Mapping[str, Any], folder: Path, *, may_differ: bool) -> None:
    """TrainingError where a run was begun with a recipe that computes something else."""
    begun = parse_recipe(begun_with, f"the recipe of the run in {folder}")
    changed = [line for line in differences(begun, recipe) if not line.startswith(_FREE)]
    if recipe.schedule.kind != "constant" and begun.run.steps != recipe.run.steps:
        changed.append(f"run.steps: {begun.run.steps}, {recipe.run.steps} (the learning rate depends on it)")
    if changed and not may_differ:
        raise TrainingError(
            f"the run in {folder} was begun with another recipe ({'; '.join(changed)}); give another "
            "--folder, or the same values, or --may-differ to go on regardless"
        )


def check_same_data(begun: Mapping[str, Any], now: Mapping[str, Any], recipe: Recipe, folder: Path) -> None:
    """TrainingError where clips or teacher are not those a run was begun with."""
    for what, path in (("train", recipe.data.train), ("teacher", recipe.distil.teacher)):
        if begun[what] != now[what]:
            raise TrainingError(
                f"{path} is not what the run in {folder} was begun with (digest {now[what]}, then "
                f"{begun[what]}); restore it, or begin a run in another --folder"
            )


def not_finite(
    folder: Path, step: int, ranks: Ranks, ids: Sequence[str], *, loss: float, norm: float
) -> TrainingError:
    """Write down the ids of a batch whose loss or gradient is not finite -> the error to raise.

    No checkpoint is written: the batch has gone through the batch norms, whose statistics may be spoilt.
    """
    path = folder / "not_finite" / f"step-{step}-rank-{ranks.rank}.json"
    content = {"step": step, "loss": str(loss), "gradient_norm": str(norm), "ids": list(ids)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return TrainingError(
        f"step {step}: the loss or its gradient is not finite (loss {loss}, gradient's norm {norm}); the ids "
        f"of the batch are in {path}. The checkpoints are from before it. Look at these clips; to go on "
        "with a lower optimiser.learning_rate or with optimiser.clip_norm, give --may-differ"
    )

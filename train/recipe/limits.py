"""Checks beyond a recipe's types: ranges of values, and combinations."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.recipe import Recipe


def check_limits(recipe: Recipe, where: str) -> None:
    """ValueError for the first key out of range; the message begins with `where`."""
    run, augment, keep = recipe.run, recipe.augment, recipe.keep
    positive = {
        "model.sample_rate": recipe.model.sample_rate,
        "data.staging_gb": recipe.data.staging_gb,
        "data.streams": recipe.data.streams,
        "data.buffer_clips": recipe.data.buffer_clips,
        "run.steps": run.steps,
        "run.batch_size": run.batch_size,
        "run.accumulate": run.accumulate,
        "keep.log_every": keep.log_every,
        "keep.evaluate_every": keep.evaluate_every,
        "keep.save_every": keep.save_every,
        "keep.keep_last": keep.keep_last,
        "average.every": recipe.average.every,
        "optimiser.learning_rate": recipe.optimiser.learning_rate,
        "augment.mixup_alpha": augment.mixup_alpha,
        "distil.temperature": recipe.distil.temperature,
    }
    not_negative = {
        **{f"augment.{name}": value for name, value in asdict(augment).items() if name != "mixup"},
        "data.workers": recipe.data.workers,
        "distil.frame_weight": recipe.distil.frame_weight,
        "distil.ranking_weight": recipe.distil.ranking_weight,
        "model.descriptor_weight": recipe.model.descriptor_weight,
        "optimiser.weight_decay": recipe.optimiser.weight_decay,
        "optimiser.clip_norm": recipe.optimiser.clip_norm,
        "schedule.warmup_steps": recipe.schedule.warmup_steps,
        "schedule.decay_steps": recipe.schedule.decay_steps,
        "average.start_step": recipe.average.start_step,
        "keep.keep_every": keep.keep_every,
        "run.seed": run.seed,
        "run.skip_not_finite": run.skip_not_finite,
    }
    shares = {
        "distil.weight": recipe.distil.weight,
        **_shares_of(recipe),
        "average.decay": recipe.average.decay,
        "schedule.final_lr_ratio": recipe.schedule.final_lr_ratio,
    }
    for key, value in positive.items():
        if not value > 0:
            raise ValueError(f"{where}: {key} is {value}; it must be positive")
    for key, value in not_negative.items():
        if not value >= 0:
            raise ValueError(f"{where}: {key} is {value}; it must not be negative")
    for key, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{where}: {key} is {value}; it must be between 0 and 1")
    if bool(recipe.distil.teacher) != (recipe.distil.weight > 0):
        raise ValueError(f"{where}: distil.teacher and distil.weight need each other; set both or neither")
    if recipe.distil.ranking_weight > 0 and not recipe.distil.teacher:
        raise ValueError(
            f"{where}: distil.ranking_weight needs distil.teacher, whose order of classes is learned"
        )
    if recipe.model.descriptor_weight > 0 and (recipe.frontend is None or augment.mixup != "none"):
        raise ValueError(
            f"{where}: model.descriptor_weight needs a model on a log-mel and augment.mixup = 'none': "
            "the statistics are those of single clips"
        )
    _check_scenes(recipe, where)
    _check_loss(recipe, where)
    if recipe.frontend is not None and recipe.frontend.sample_rate != recipe.model.sample_rate:
        raise ValueError(f"{where}: frontend.sample_rate differs from model.sample_rate")


def _shares_of(recipe: Recipe) -> dict[str, float]:
    if recipe.scenes is None:
        return {}
    names = ("pairing", "at_start", "repeat", "room", "tilt", "band", "codec", "noise")
    return {f"scenes.{name}_share": getattr(recipe.scenes, f"{name}_share") for name in names}


def _check_loss(recipe: Recipe, where: str) -> None:
    """ValueError if other settings do not fit the loss of clips without labels."""
    if recipe.loss.kind != "masked_spectrogram":
        return
    needed = {
        "a model on a log-mel": recipe.frontend is not None,
        "augment.mixup = 'none'": recipe.augment.mixup == "none",
        "augment.time_stripes of at least 1": recipe.augment.time_stripes > 0,
        "no distil.teacher": not recipe.distil.teacher,
        "no data.evaluation": not recipe.data.evaluation,
        "a sampler without labels, 'none' or 'streamed'": recipe.sampler in ("none", "streamed"),
        "no loss.unknown": not recipe.loss.unknown,
        "model.descriptor_weight = 0": recipe.model.descriptor_weight == 0,
    }
    for what, holds in needed.items():
        if not holds:
            raise ValueError(f"{where}: loss.kind = 'masked_spectrogram' needs {what}")


def _check_scenes(recipe: Recipe, where: str) -> None:
    scenes = recipe.scenes
    if scenes is None:
        if recipe.distil.frame_weight > 0:
            raise ValueError(f"{where}: distil.frame_weight needs the known onsets of scenes; add [scenes]")
        return
    if recipe.data.readers == "threads" or recipe.sampler == "streamed" or recipe.data.staging:
        raise ValueError(
            f"{where}: scenes are composed by processes from local files; "
            "use data.readers=processes, no data.staging and another sampler than streamed"
        )
    if scenes.n_scenes < 1 or scenes.below_db < 0:
        raise ValueError(f"{where}: scenes.n_scenes must be positive and scenes.below_db not negative")
    if not scenes.durations_s or min(scenes.durations_s) < 0.5 or max(scenes.durations_s) > 60:
        raise ValueError(
            f"{where}: scenes.durations_s is {scenes.durations_s}; lengths of 0.5 to 60 s are needed"
        )
    if len(scenes.duration_shares) != len(scenes.durations_s):
        raise ValueError(f"{where}: scenes.duration_shares needs a share for each of scenes.durations_s")
    for name in ("duration_shares", "part_shares", "draw_shares"):
        shares = getattr(scenes, name)
        if min(shares) < 0 or not sum(shares) > 0:
            raise ValueError(f"{where}: scenes.{name} is {shares}; none may be negative, and not all zero")
    if recipe.model.sample_rate != 32_000 or recipe.model.labels != "audioset":
        raise ValueError(f"{where}: scenes are at 32 kHz with AudioSet's labels; so must be the model")

"""The clips at a recipe's path."""

from __future__ import annotations

from pathlib import Path

from pannsx import labels
from pannsx.labels import LabelSet
from train.data.indexed import open_index
from train.data.mixtures import Mixtures
from train.data.packed import Clips
from train.data.scenes import Scenes
from train.data.staging import Staging
from train.data.tars import is_tars, tars_of
from train.recipe import Recipe


def open_clips(path: str | Path, recipe: Recipe) -> Clips:
    """An index file, a packed store, tars, or a folder of banks or with ``mixtures.csv``.

    For the last see :mod:`train.data.mixtures`. Banks (:mod:`train.data.scenes`) need ``[scenes]`` in the
    recipe. Stores and tars may be at URLs, with ``data.staging``.

    Raises:
        ValueError: clips of another rate or other labels than the recipe's.
        OSError, RuntimeError: the clips cannot be read.
    """
    location, path = str(path), Path(path)
    data = recipe.data
    staging = Staging(Path(data.staging), round(1e9 * data.staging_gb)) if data.staging else None
    clips: Clips
    if recipe.scenes is not None:
        clips = Scenes(path, recipe.scenes, recipe.run.seed)
    elif (path / "mixtures.csv").is_file():
        clips = Mixtures(path, recipe.model.sample_rate)
    elif is_tars(location):
        own_labels = recipe.model.labels == "data"
        clips = tars_of(
            location, recipe.model.sample_rate, has_audioset_labels=not own_labels, staging=staging
        )
    else:
        clips = open_index(location, staging)
    if clips.sample_rate != recipe.model.sample_rate:
        raise ValueError(
            f"the clips of {path} have {clips.sample_rate} Hz, the recipe {recipe.model.sample_rate} Hz; "
            "pack them at the recipe's rate"
        )
    if recipe.model.labels == "audioset" and tuple(clips.labels) != labels.audioset().names:
        raise ValueError(
            f"the clips of {path} have {len(clips.labels)} labels of their own, and the recipe AudioSet's; "
            "give model.labels=data to train on theirs"
        )
    return clips


def label_set(clips: Clips) -> LabelSet:
    """The labels of clips, with their machine ids if known."""
    ids = getattr(clips, "label_ids", None)
    return LabelSet(tuple(clips.labels), None if ids is None else tuple(ids))

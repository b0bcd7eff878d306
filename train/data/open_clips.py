"""The clips at a recipe's path."""

from __future__ import annotations

from pathlib import Path

from pannsx import labels
from pannsx.labels import LabelSet
from train.data.indexed import open_index
from train.data.mixtures import Mixtures
from train.data.packed import Clips
from train.data.scenes import Scenes
from train.recipe import Recipe


def open_clips(path: str | Path, recipe: Recipe) -> Clips:
    """An index file, a packed store, a folder with ``mixtures.csv`` (:mod:`train.data.mixtures`) or of banks.

    Banks (:mod:`train.data.scenes`) need ``[scenes]`` in the recipe.

    Raises:
        ValueError: clips of another rate or other labels than the recipe's.
        OSError, RuntimeError: the clips cannot be read.
    """
    path = Path(path)
    clips: Clips
    if recipe.scenes is not None:
        clips = Scenes(path, recipe.scenes, recipe.run.seed)
    elif (path / "mixtures.csv").is_file():
        clips = Mixtures(path, recipe.model.sample_rate)
    else:
        clips = open_index(path)
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

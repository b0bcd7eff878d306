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
from train.data.tars import Tars, is_tars
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
    else:
        clips = open_stored(
            location,
            recipe.model.sample_rate,
            None if recipe.model.labels == "data" else labels.audioset(),
            staging,
        )
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


def open_stored(location: str, sample_rate: int, of_tars: LabelSet | None, staging: Staging | None) -> Clips:
    """The clips of an index file, a packed store or tars.

    Args:
        location: path or URL.
        sample_rate: rate of tars in Hz, which are resampled to it; stores have their own.
        of_tars: labels of tars, in order; None: their own. Stores have theirs.
        staging: where stores and tars are copied to; needed for URLs.

    Raises:
        OSError, RuntimeError, ValueError: the clips cannot be read.
    """
    if is_tars(location):
        return Tars(location, sample_rate, of_tars, staging)
    return open_index(location, staging)


def label_set(clips: Clips) -> LabelSet:
    """The labels of clips, with their machine ids if known."""
    ids = getattr(clips, "label_ids", None)
    return LabelSet(tuple(clips.labels), None if ids is None else tuple(ids))

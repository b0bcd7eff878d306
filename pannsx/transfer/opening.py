"""The network that a training begins with: by name or file, or one that is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.events import OperatingPoints
from pannsx.inference.device import choose_device
from pannsx.inference.pipeline import OpenNetwork, open_pipeline
from pannsx.labels import LabelSet
from pannsx.types import PathLike
from pannsx.weights import LoadedCheckpoint, load
from pannsx.weights.operating_points import points_of

if TYPE_CHECKING:
    import torch


def open_base(
    model: str | OpenNetwork | None,
    checkpoint: PathLike | None,
    device: str | torch.device,
    cache_dir: PathLike | None,
    *,
    allow_unverified: bool,
) -> tuple[LoadedCheckpoint, str]:
    """The network, and its device; arguments and errors as of :class:`pannsx.AudioTagger`."""
    if model is None or isinstance(model, str):
        loaded = load(
            model,
            checkpoint=checkpoint,
            cache_dir=cache_dir,
            allow_unverified=allow_unverified,
            progress=False,
        )
        return loaded, str(choose_device(device))
    pipeline = open_pipeline(
        model,
        checkpoint=checkpoint,
        device=device,
        cache_dir=cache_dir,
        allow_unverified=allow_unverified,
    )
    labels = LabelSet(pipeline.grid.labels, pipeline.grid.label_ids)
    opened = LoadedCheckpoint(pipeline.record, pipeline.engine.model, labels, pipeline.origin)
    return opened, str(pipeline.engine.device)


def base_points(
    model: str | OpenNetwork | None, base: LoadedCheckpoint, checkpoint: PathLike | None
) -> OperatingPoints | None:
    """The operating points of a network of :func:`open_base`, if it has some.

    Raises:
        ValueError: they are of another checkpoint.
    """
    if model is None or isinstance(model, str):
        return points_of(base.record, base.labels.names, checkpoint)
    return open_pipeline(model).operating_points

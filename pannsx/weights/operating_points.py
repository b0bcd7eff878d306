"""Operating points of a checkpoint: the path of their file, and reading it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pannsx.events.operating_points import OperatingPoints, read_operating_points
from pannsx.types import PathLike
from pannsx.weights.local import cache_home
from pannsx.weights.record import Checkpoint

SUFFIX = ".operating_points.json"


def operating_points_path(record: Checkpoint, checkpoint: PathLike | None = None) -> Path:
    """The path of a checkpoint's operating points.

    For a given file of weights, or one with its own record, ``<stem>.operating_points.json`` next to it;
    for published names a file in the cache, by name.

    Args:
        record: the manifest's record of the checkpoint, or its own.
        checkpoint: the caller's argument, as in ``AudioTagger``.
    """
    if record.folder is not None and record.filename is not None:
        weights = record.folder / record.filename
    elif checkpoint is not None:
        weights = Path(checkpoint)
    else:
        return cache_home() / f"{record.name}{SUFFIX}"
    return weights.with_name(weights.stem + SUFFIX)


def points_of(
    record: Checkpoint, labels: Sequence[str], checkpoint: PathLike | None = None
) -> OperatingPoints | None:
    """The operating points of a checkpoint, or None if it was not calibrated.

    Raises:
        ValueError: the file belongs to another checkpoint, or has other classes.
    """
    path = operating_points_path(record, checkpoint)
    if not path.is_file():
        return None
    found = read_operating_points(path)
    try:
        found.check(labels, record.name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return found

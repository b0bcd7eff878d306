"""Where the operating points of a checkpoint lie, and those that lie there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pannsx.events.operating_points import OperatingPoints, read_operating_points
from pannsx.types import PathLike
from pannsx.weights.local import cache_home
from pannsx.weights.record import Checkpoint

SUFFIX = ".operating_points.json"


def operating_points_path(record: Checkpoint, checkpoint: PathLike | None = None) -> Path:
    """Where the operating points of a checkpoint lie.

    Beside a file of weights that was named or that has a record of its own, as
    ``<stem>.operating_points.json``; else, for published names, in the cache, by the name.

    Args:
        record: the manifest's record of the checkpoint, or its own.
        checkpoint: what the caller named, as in ``AudioTagger``.
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
    """The operating points of a checkpoint, or None where it was not calibrated.

    Raises:
        ValueError: those that lie there are of another checkpoint, or of other classes.
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

"""Operating points of a checkpoint: the path of their file, and reading it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pannsx.events.operating_points import OperatingPoints, read_operating_points
from pannsx.types import PathLike
from pannsx.weights.digests import file_digest
from pannsx.weights.local import PACKAGE, cache_home
from pannsx.weights.record import OPERATING_POINTS_SUFFIX, Checkpoint


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
        return cache_home() / f"{record.name}{OPERATING_POINTS_SUFFIX}"
    return weights.with_name(weights.stem + OPERATING_POINTS_SUFFIX)


def bundled_points_path(record: Checkpoint) -> Path | None:
    """The path of the operating points in the package, or None if the checkpoint has none there."""
    if record.operating_points_sha256 is None:
        return None
    return PACKAGE / "data" / f"{record.name}{OPERATING_POINTS_SUFFIX}"


def points_of(
    record: Checkpoint, labels: Sequence[str], checkpoint: PathLike | None = None
) -> OperatingPoints | None:
    """The operating points of a checkpoint: the user's, else those in the package; None if it has neither.

    A checkpoint given as a file has none from the package, as only its name may be that of the bundled one.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file belongs to another checkpoint or other weights, has other classes, or differs
            from the package's own file.
    """
    path = operating_points_path(record, checkpoint)
    if not path.is_file():
        is_own = checkpoint is not None or record.folder is not None
        bundled = None if is_own else bundled_points_path(record)
        if bundled is None:
            return None
        if (digest := file_digest(bundled, "sha256")) != record.operating_points_sha256:
            raise ValueError(
                f"{bundled} has the sha256 {digest}, not {record.operating_points_sha256}: the package is "
                "damaged; install it again"
            )
        path = bundled
    found = read_operating_points(path)
    try:
        found.check(labels, record.name, record.sha256)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return found

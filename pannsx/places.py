"""Where the file of a checkpoint may lie on this computer.

In this order: beside a user's own record; in the caller's ``cache_dir``; in the package; in our
cache and in the Hub client's.  Ours holds what came by URL, and digests recorded for want of
published ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pannsx import hub
from pannsx.digests import Digest, read_sidecar
from pannsx.errors import WeightsError
from pannsx.records import BundledSource, Checkpoint, HubSource

PathLike = str | os.PathLike[str]


def cache_home() -> Path:
    """The folder of files that come by URL, and of digests recorded for want of published ones."""
    if home := os.environ.get("PANNSX_HOME"):
        return Path(home).expanduser()
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache).expanduser() / "pannsx"
    return Path.home() / ".cache" / "pannsx"


def file_name(record: Checkpoint) -> str:
    """The published name of the file; WeightsError where the record gives none."""
    if record.filename is None:
        raise WeightsError(f"the record of {record.name} names no file")
    return record.filename


def given_places(record: Checkpoint, cache_dir: PathLike | None) -> Iterator[Path]:
    """Where the caller or the package put the file."""
    if record.folder is not None and record.filename is not None:
        yield record.folder / record.filename
    if cache_dir is not None and record.filename is not None:
        yield Path(cache_dir) / record.filename
    for source in record.sources:
        if isinstance(source, BundledSource):
            yield Path(__file__).parent / "data" / source.filename


def cache_places(record: Checkpoint, target: Path) -> Iterator[Path]:
    """Where an earlier download may have left it."""
    yield target
    if (ours := cache_home() / target.name) != target:
        yield ours
    for source in record.sources:
        if isinstance(source, HubSource) and (path := hub.cached(source)) is not None:
            yield path


def recorded_digest(path: Path, target: Path) -> Digest | None:
    """The digest recorded beside a file, or in our cache under the file's published name."""
    return read_sidecar(path) or read_sidecar(target)


def never_released(record: Checkpoint) -> str:
    """What to say of a published name without weights."""
    return f"no weights were ever released for {record.name}" + (
        f"; its recipe {record.recipe} can train them" if record.recipe else ""
    )

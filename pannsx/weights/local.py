"""Where the file of a checkpoint may lie on this computer, and whether it is the right one.

In this order: beside a user's own record; in the caller's ``cache_dir``; in the package; in our
cache and in the Hub client's.  Ours holds what came by URL, and digests recorded for want of
published ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.weights import hub
from pannsx.weights.digests import file_digest, read_sidecar
from pannsx.weights.record import BundledSource, Checkpoint, Digest, HubSource

PACKAGE = Path(__file__).parent.parent


def cache_home() -> Path:
    """The folder of files that come by URL, and of digests recorded for want of published ones."""
    if home := os.environ.get("PANNSX_HOME"):
        return Path(home).expanduser()
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache).expanduser() / "pannsx"
    return Path.home() / ".cache" / "pannsx"


def target_path(record: Checkpoint, cache_dir: PathLike | None) -> Path:
    """Where a download goes: the caller's folder, or ours; WeightsError where the record names no file."""
    return (cache_home() if cache_dir is None else Path(cache_dir)) / record.weights_filename


def given_places(record: Checkpoint, cache_dir: PathLike | None) -> Iterator[Path]:
    """Where the caller or the package put the file."""
    if record.folder is not None and record.filename is not None:
        yield record.folder / record.filename
    if cache_dir is not None and record.filename is not None:
        yield Path(cache_dir) / record.filename
    for source in record.sources:
        if isinstance(source, BundledSource):
            yield PACKAGE / "data" / source.filename


def cache_places(record: Checkpoint, target: Path) -> Iterator[Path]:
    """Where an earlier download may have left it."""
    yield target
    if (ours := cache_home() / target.name) != target:
        yield ours
    for source in record.sources:
        if isinstance(source, HubSource) and (path := hub.cached(source)) is not None:
            yield path


def find_given(record: Checkpoint, cache_dir: PathLike | None) -> Path | None:
    """The file that the caller or the package put there, or None; it is not checked."""
    return next(filter(Path.is_file, given_places(record, cache_dir)), None)


def find(record: Checkpoint, cache_dir: PathLike | None = None) -> Path | None:
    """The file of a checkpoint on this computer, or None; it is not checked, and nothing is fetched."""
    if (path := find_given(record, cache_dir)) is not None or record.filename is None:
        return path
    return next(filter(Path.is_file, cache_places(record, target_path(record, cache_dir))), None)


def known_digest(record: Checkpoint, path: Path, target: Path) -> Digest | None:
    """The published digest; else that recorded beside the file, or beside the place of a download."""
    return record.digest or read_sidecar(path) or read_sidecar(target)


def never_released(record: Checkpoint) -> str:
    """What to say of a published name without weights."""
    return f"no weights were ever released for {record.name}" + (
        f"; its recipe {record.recipe} can train them" if record.recipe else ""
    )


class VerifyReport(NamedTuple):
    """What `verify` found: the file, its digest, and what it should have been (None: not known)."""

    name: str
    path: Path
    size_bytes: int
    digest: Digest
    expected_size_bytes: int | None
    expected_digest: Digest | None

    @property
    def ok(self) -> bool | None:
        """True where size and digest are right, False where one is wrong, None where no digest is known."""
        if self.expected_size_bytes not in (None, self.size_bytes):
            return False
        return None if self.expected_digest is None else self.digest == self.expected_digest


def verify(record: Checkpoint, *, cache_dir: PathLike | None = None) -> VerifyReport:
    """Hash the checkpoint's local file anew and compare; fetches nothing.

    Raises:
        WeightsError: the file is not on this computer, or cannot be read.
    """
    if not record.released:
        raise WeightsError(never_released(record))
    target = target_path(record, cache_dir)
    if (path := find(record, cache_dir)) is None:
        raise WeightsError(f"no file of {record.name} is on this computer to verify; fetch it first")
    known = known_digest(record, path, target)
    try:
        got = Digest(known.algorithm if known else "sha256", "")
        got = got._replace(hexdigest=file_digest(path, got.algorithm))
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    return VerifyReport(record.name, path, size, got, record.size_bytes, known)

"""Local files of checkpoints: possible places, and verification.

The order is: next to a user's own record; the caller's ``cache_dir``; the package; our cache and the Hub
client's.  Ours holds downloads by URL, and digests recorded where none are published.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pannsx.errors import WeightsError
from pannsx.jit.private_folder import private_folder
from pannsx.types import PathLike
from pannsx.weights import hub
from pannsx.weights.digests import file_digest, read_sidecar
from pannsx.weights.record import BundledSource, Checkpoint, Digest, HubSource

PACKAGE = Path(__file__).parent.parent

_NOWHERE = Path(os.sep, "nonexistent").absolute()
"""The home that system users have by convention; it cannot be created by them."""


def cache_home() -> Path:
    """The folder of downloads by URL, and of digests recorded where none are published.

    For a user without a home it lies in the user's private temporary folder, or if there is none, nowhere.
    """
    if home := os.environ.get("PANNSX_HOME"):
        return Path(home).expanduser()
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache).expanduser() / "pannsx"
    try:
        return Path.home() / ".cache" / "pannsx"
    except RuntimeError:  # neither HOME nor an entry of the user's
        return (private_folder() or _NOWHERE) / "downloads"


def target_path(record: Checkpoint, cache_dir: PathLike | None) -> Path:
    """Destination of a download, the caller's folder or ours; WeightsError if the record has no file name."""
    return (cache_home() if cache_dir is None else Path(cache_dir)) / record.weights_filename


def given_places(record: Checkpoint, cache_dir: PathLike | None) -> Iterator[Path]:
    """Possible places of the file in the caller's folders and the package."""
    if record.folder is not None and record.filename is not None:
        yield record.folder / record.filename
    if cache_dir is not None and record.filename is not None:
        yield Path(cache_dir) / record.filename
    for source in record.sources:
        if isinstance(source, BundledSource):
            yield PACKAGE / "data" / source.filename


def cache_places(record: Checkpoint, target: Path) -> Iterator[Path]:
    """Possible places of an earlier download."""
    yield target
    if (ours := cache_home() / target.name) != target:
        yield ours
    for source in record.sources:
        if isinstance(source, HubSource) and (path := hub.cached(source)) is not None:
            yield path


def find_given(record: Checkpoint, cache_dir: PathLike | None) -> Path | None:
    """The file in the caller's folders or the package, unchecked, or None."""
    return next(filter(Path.is_file, given_places(record, cache_dir)), None)


def find(record: Checkpoint, cache_dir: PathLike | None = None) -> Path | None:
    """The file of a checkpoint on this computer, unchecked and without a download, or None."""
    if (path := find_given(record, cache_dir)) is not None or record.filename is None:
        return path
    return next(filter(Path.is_file, cache_places(record, target_path(record, cache_dir))), None)


def known_digest(record: Checkpoint, path: Path, target: Path) -> Digest | None:
    """The published digest, else the one recorded next to the file or the destination of a download."""
    return record.digest or read_sidecar(path) or read_sidecar(target)


def digest_of_weights(
    record: Checkpoint, *, given: Path | None = None, cache_dir: PathLike | None = None
) -> str | None:
    """The digest of the weights in use: of the bytes, where no record has checked them.

    Args:
        record: the record of the checkpoint.
        given: the caller's file of weights for this record's architecture, if there is one.
        cache_dir: folder that is searched first.
    """
    path = given
    if path is None:
        if record.digest is not None:
            return record.digest.hexdigest
        path = find(record, cache_dir)
    return None if path is None else file_digest(path, "sha256")


def never_released(record: Checkpoint) -> str:
    """Message for a published name without weights."""
    return f"no weights were ever released for {record.name}" + (
        f"; its recipe {record.recipe} can train them" if record.recipe else ""
    )


class VerifyReport(NamedTuple):
    """Result of `verify`: the file, its digest, and the expected one (None: unknown)."""

    name: str
    path: Path
    size_bytes: int
    digest: Digest
    expected_size_bytes: int | None
    expected_digest: Digest | None

    @property
    def ok(self) -> bool | None:
        """True if size and digest match, False if one differs, None if no digest is known."""
        if self.expected_size_bytes not in (None, self.size_bytes):
            return False
        return None if self.expected_digest is None else self.digest == self.expected_digest


def verify(record: Checkpoint, *, cache_dir: PathLike | None = None) -> VerifyReport:
    """Hash the checkpoint's local file again and compare; never downloads.

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

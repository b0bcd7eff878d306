"""A checkpoint's file against its record, hashed anew."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pannsx.digests import Digest, expected_digest, file_digest
from pannsx.errors import WeightsError
from pannsx.places import (
    PathLike,
    cache_home,
    cache_places,
    file_name,
    given_places,
    never_released,
    recorded_digest,
)
from pannsx.records import Checkpoint


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
    home = cache_home() if cache_dir is None else Path(cache_dir)
    target = home / file_name(record)
    for path in (*given_places(record, cache_dir), *cache_places(record, target)):
        if path.is_file():
            break
    else:
        raise WeightsError(f"no file of {record.name} is on this computer to verify; fetch it first")
    known = expected_digest(record) or recorded_digest(path, target)
    try:
        got = Digest(known.algorithm if known else "sha256", "")
        got = got._replace(hexdigest=file_digest(path, got.algorithm))
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    return VerifyReport(record.name, path, size, got, record.size_bytes, known)

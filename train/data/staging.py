"""A folder on a node's own disk for copies of files that are far away: on a network file system, or at a URL.

Files are read over the network once and in sequence, as a whole; clips are then read in any order from the
copy. The folder is shared by all processes of a node, and bounded: the copies used longest ago are removed
for new ones. A copy has a temporary name until its size, and its digest if one is known, are those of the
original. URLs of any kind that ``fsspec`` opens are accepted (``s3://``, ``gs://``, ``https://`` ...; most
need a package of their own, which its error names).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from filelock import FileLock

from pannsx.atomic import replacing

_BLOCK = 1 << 22
_COPIES = "copies"
_ABANDONED_S = 3600.0  # an unfinished copy that nobody has written to for an hour is of a killed process


class StagingError(OSError):
    """A file cannot be copied to the staging folder."""


class Staging(NamedTuple):
    """A folder for copies.

    Attributes:
        folder: on a disk of this machine.
        max_bytes: size of all copies together. It must hold the files that are in use at one time.
    """

    folder: Path
    max_bytes: int

    def local(self, location: str, *, version: str = "", digest: str | None = None) -> Path:
        """The copy of a file, made if there is none; open it at once, as it may be removed for others later.

        Args:
            location: path or URL.
            version: changes when the file does (`version_of`), so that no copy of an older one is used.
            digest: SHA-256 in hexadecimal digits, if known.

        Raises:
            StagingError: the file cannot be read, is larger than the folder may be, or fails its check.
        """
        copy = self.place(location, version=version)
        try:
            os.utime(copy)  # marks the use, for the choice of what to remove
        except OSError:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{copy}.lock"):
                if not copy.exists():
                    self._copy(location, copy, digest)
        return copy

    def place(self, location: str, *, version: str = "") -> Path:
        """Where the copy of a file is or will be."""
        name = hashlib.sha256(f"{location}\n{version}".encode()).hexdigest()[:32]
        return self.folder / _COPIES / f"{name}{PurePosixPath(location).suffix}"

    def _copy(self, location: str, copy: Path, digest: str | None) -> None:
        try:
            with opened(location) as (file, size), replacing(copy) as temporary:
                self._reserve(size, location, temporary)
                seen, n_read = hashlib.sha256(), 0
                with temporary.open("r+b") as target:
                    while block := file.read(_BLOCK):
                        seen.update(block)
                        n_read += target.write(block)
                if n_read != size:
                    raise StagingError(f"{location} has {size} bytes, but {n_read} were read; try again")
                if digest is not None and seen.hexdigest() != digest:
                    raise StagingError(
                        f"{location} has the SHA-256 digest {seen.hexdigest()}; {digest} is needed: it is "
                        "damaged or another file"
                    )
        except StagingError:
            raise
        except OSError as error:
            raise StagingError(f"cannot copy {location} to {self.folder}: {error}") from error

    def _reserve(self, size: int, location: str, temporary: Path) -> None:
        """Remove the copies used longest ago until ``size`` more bytes fit, and take their place."""
        if size > self.max_bytes:
            raise StagingError(
                f"{location} has {size:,} bytes, and the staging folder may hold {self.max_bytes:,}; "
                "allow it more"
            )
        with FileLock(self.folder / "room.lock"):
            copies = sorted(self._copies(), key=lambda found: found[1])
            excess = sum(n_bytes for _, _, n_bytes in copies) + size - self.max_bytes
            for path, used, n_bytes in copies:
                if excess <= 0:
                    break
                if path.suffix == ".tmp" and time.time() - used < _ABANDONED_S:
                    continue  # another process is writing it
                with suppress(OSError):  # in use, on Windows
                    path.unlink()
                    excess -= n_bytes
            os.truncate(temporary, size)

    def _copies(self) -> Iterator[tuple[Path, float, int]]:
        """Path, time of last use and size of every copy, unfinished ones included."""
        for path in (self.folder / _COPIES).iterdir():
            with suppress(OSError):  # removed by another process in between
                status = path.stat()
                if path.suffix != ".lock":
                    yield path, status.st_mtime, status.st_size


@contextmanager
def opened(location: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file of a path or URL, to be read in sequence, and its size.

    Raises:
        StagingError: it does not exist, or the package for such URLs is missing.
    """
    if not is_url(location):
        path = Path(location)
        with path.open("rb") as file:
            yield file, path.stat().st_size
        return
    system, path_there = _system(location)
    size = system.size(path_there)
    if size is None:
        raise StagingError(f"the server does not say the size of {location}; copy it to a disk first")
    with system.open(path_there, "rb") as file:
        yield file, int(size)


def version_of(location: str) -> str:
    """A text that changes when a file is written again.

    Raises:
        StagingError, OSError: it does not exist, or the package for such URLs is missing.
    """
    if is_url(location):
        system, path_there = _system(location)
        return str(system.ukey(path_there))
    status = Path(location).stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def is_url(location: str) -> bool:
    """Whether a location is a URL instead of a path."""
    return "://" in location


def joined(location: str, *names: str) -> str:
    """A file below a folder that is a path or a URL."""
    return "/".join((location.rstrip("/"), *names)) if is_url(location) else str(Path(location, *names))


def listed(location: str, suffix: str) -> list[str]:
    """The files with a suffix of a folder or a pattern (``*``), path or URL, sorted."""
    if not is_url(location):
        path = Path(location)
        found = path.glob(f"*{suffix}") if path.is_dir() else path.parent.glob(path.name)
        return sorted(str(file) for file in found if file.suffix == suffix)
    system, path_there = _system(location)
    pattern = (
        path_there
        if "*" in path_there or path_there.endswith(suffix)
        else f"{path_there.rstrip('/')}/*{suffix}"
    )
    return sorted(str(system.unstrip_protocol(file)) for file in system.glob(pattern))


def _system(location: str) -> tuple[Any, str]:
    import fsspec  # with huggingface-hub

    try:
        system, path = fsspec.core.url_to_fs(location)
    except (ImportError, ValueError) as error:
        raise StagingError(f"cannot open {location}: {error}") from error
    return system, str(path)

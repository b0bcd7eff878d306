"""Debian packages as streams of files, without unpacking to the disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

from train.pool.errors import PoolError

_MAGIC = b"!<arch>\n"
_HEADER_BYTES = 60
_MAX_BYTES = 1 << 30
"""Largest file to read from a package; a file with a larger stated size is refused."""


class File(NamedTuple):
    """A file of a package.

    Attributes:
        path: installed path, such as ``/usr/share/sounds/bell.ogg``.
        data: its bytes.
    """

    path: str
    data: bytes


class _Section(io.RawIOBase):
    """A section of a file as a separate file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = self._file.read(min(len(buffer), self._left))
        self._left -= len(got)
        buffer[: len(got)] = got
        return len(got)


def files_of(deb: Path, wanted: str | None = None) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Path, entry and archive of each regular file of a package, in its order.

    Raises:
        PoolError: it is no Debian package, is damaged, or a path in it leaves its root.
    """
    try:
        with _data_archive(deb) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for entry in tar:
                if entry.isfile():
                    yield _checked_path(entry.name, deb), entry, tar
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise PoolError(f"cannot read the package {deb}: {error}") from error


def read_entry(deb: Path, entry: tarfile.TarInfo, tar: tarfile.TarFile) -> bytes:
    """The bytes of an entry of `files_of`; read them before requesting the next entry."""
    if entry.size > _MAX_BYTES:
        raise PoolError(f"{deb}: {entry.name} claims {entry.size:,} bytes; {_MAX_BYTES:,} at most are read")
    file = tar.extractfile(entry)
    data = b"" if file is None else file.read()
    if len(data) != entry.size:
        raise PoolError(f"{deb}: {entry.name} is cut short")
    return data


def version_of(deb: Path) -> str:
    """The version in a package's control file; empty if unknown."""
    try:
        with (
            _member(deb, "control.tar") as (name, stream),
            _decompressed(name, stream) as plain,
            tarfile.open(fileobj=plain, mode="r|") as tar,
        ):
            for entry in tar:
                if entry.name.removeprefix("./") == "control":
                    lines = read_entry(deb, entry, tar).decode("utf-8", "replace").splitlines()
                    return next((line[8:].strip() for line in lines if line.startswith("Version:")), "")
    except (PoolError, tarfile.TarError, lzma.LZMAError, EOFError, OSError):
        return ""
    return ""


def _checked_path(name: str, deb: Path) -> str:
    path = "/" + name.removeprefix(".").lstrip("/")
    if ".." in path.split("/") or "\0" in path:
        raise PoolError(f"{deb}: the path {name!r} leaves the package")
    return path


@contextmanager
def _data_archive(deb: Path) -> Iterator[IO[bytes]]:
    """The package's tar of files, decompressed."""
    with _member(deb, "data.tar") as (name, stream):
        if not name.endswith(".zst"):
            with _decompressed(name, stream) as plain:
                yield plain
            return
    # Zstandard is not in the standard library of every supported Python.
    if shutil.which("dpkg-deb") is None:
        raise PoolError(f"{deb} is compressed with Zstandard, which needs dpkg-deb; install dpkg")
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  # a pipe was requested
        yield process.stdout
        process.stdout.read()  # padding after the end of the archive
    if process.returncode:
        raise PoolError(f"dpkg-deb cannot read {deb}: status {process.returncode}")


@contextmanager
def _member(deb: Path, prefix: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and bytes of the first member of the package's ar archive whose name begins with a prefix."""
    with deb.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise PoolError(f"{deb} is no Debian package")
        while header := file.read(_HEADER_BYTES):
            name = header[:16].decode("ascii", "replace").rstrip().rstrip("/")
            digits = header[48:58].strip()
            if len(header) != _HEADER_BYTES or header[58:] != b"`\n" or not digits.isdigit():
                raise PoolError(f"the package {deb} is damaged: an entry's header is wrong")
            size = int(digits)
            if name.startswith(prefix):
                yield name, cast("IO[bytes]", io.BufferedReader(_Section(file, size)))
                return
            file.seek(size + size % 2, io.SEEK_CUR)
    raise PoolError(f"the package {deb} is damaged: it has no {prefix}")


@contextmanager
def _decompressed(name: str, stream: IO[bytes]) -> Iterator[IO[bytes]]:
    suffix = name.rpartition(".")[2]
    if suffix == "tar":
        yield stream
    elif suffix in ("xz", "lzma"):
        with lzma.open(stream) as plain:
            yield cast("IO[bytes]", plain)
    elif suffix == "gz":
        with gzip.open(stream) as plain:
            yield cast("IO[bytes]", plain)
    elif suffix == "bz2":
        with bz2.open(stream) as plain:
            yield cast("IO[bytes]", plain)
    else:
        raise PoolError(
            f"{name} is compressed in a way that is not supported: .xz, .gz, .bz2 or .zst is needed"
        )

"""Sources of packages and recordings: a folder, or the client of the package archive."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pannsx.weights.digests import file_digest
from train.pool.deb import File, files_of, read_entry
from train.pool.errors import PoolError
from train.pool.table import Row

_COPYRIGHT = "copyright"


class Package(NamedTuple):
    """A package's file.

    Attributes:
        path: path of the ``.deb``.
        sha256: its digest.
    """

    path: Path
    sha256: str


def find_package(row: Row, folder: Path, *, download: bool, allow_other_versions: bool) -> Package:
    """The package of a row, from a folder of ``.deb`` files, fetched into it if necessary.

    Args:
        row: row with package, version and digest.
        folder: folder of the files.
        download: whether ``apt-get download`` may fetch it.
        allow_other_versions: whether to accept a file with another digest.

    Raises:
        PoolError: it is unavailable, or its digest differs.
    """
    found = [
        Package(path, file_digest(path, "sha256")) for path in sorted(folder.glob(f"{row.package}_*.deb"))
    ]
    right = next((package for package in found if package.sha256 == row.sha256 or not row.sha256), None)
    if right is None and download and not (found and allow_other_versions):
        fetched = _download(row, folder, allow_other_versions=allow_other_versions)
        if fetched is not None:
            found.append(fetched)
            right = fetched if row.sha256 in ("", fetched.sha256) else None
    if right is not None:
        return right
    if not found:
        where = f"{folder} and the package archive" if download else str(folder)
        raise PoolError(
            f"{row.package} {row.version} is unavailable from {where}; put its .deb into {folder}, or build "
            "without it by --keep-going"
        )
    if allow_other_versions:
        return found[-1]
    others = ", ".join(f"{package.path.name} (sha256 {package.sha256})" for package in found)
    raise PoolError(
        f"{row.package}: got {others}; the table says {row.version}, sha256 {row.sha256}. Get that version, "
        "or accept another with --allow-other-versions: its clips and licences may differ"
    )


def package_files(package: Package, wanted: Callable[[str], bool]) -> Iterator[File]:
    """The wanted files of a package, read one at a time."""
    for path, entry, tar in files_of(package.path):
        if wanted(path):
            yield File(path, read_entry(package.path, entry, tar))


def is_copyright(path: str) -> bool:
    """Whether an installed file is a package's copyright file."""
    parts = path.split("/")
    return len(parts) > 3 and parts[-3] == "doc" and parts[-1] in (_COPYRIGHT, f"{_COPYRIGHT}.gz")


def recordings(name: str, folder: Path) -> list[Path]:
    """The files beneath a user's folder ``folder/name``, sorted.

    Raises:
        PoolError: it is not a folder, or is outside ``folder``.
    """
    root = folder.resolve()
    here = (root / name).resolve()
    if not here.is_relative_to(root) or not here.is_dir():
        raise PoolError(f"there is no folder {name!r} in {folder}; give its parent with --recordings")
    files = sorted(path for path in here.rglob("*") if path.is_file())
    outside = [path for path in files if not path.resolve().is_relative_to(here)]
    if outside:
        raise PoolError(f"{outside[0]} leads out of {here}; recordings must lie in their folder")
    return files


def recordings_digest(files: list[Path], folder: Path) -> str:
    """SHA-256 of names and contents of files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\t{file_digest(path, 'sha256')}\n".encode())
    return digest.hexdigest()


def _download(row: Row, folder: Path, *, allow_other_versions: bool) -> Package | None:
    """The package from the archive's client, or None if it has none."""
    client = shutil.which("apt-get")
    if client is None:
        raise PoolError(
            f"{row.package} is not in {folder}, and there is no apt-get to fetch it; put its .deb there"
        )
    exact = [f"{row.package}={row.version}"] if row.version else []
    loose = [row.package] if allow_other_versions or not row.version else []
    folder.mkdir(parents=True, exist_ok=True)
    for wanted in exact + loose:
        # Into a separate folder: its contents afterwards are this package, complete.
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            done = subprocess.run(
                [client, "download", "-qq", wanted], cwd=inner, capture_output=True, text=True, check=False
            )
            files = list(Path(inner).glob("*.deb"))
            if done.returncode == 0 and len(files) == 1:
                path = folder / files[0].name
                files[0].replace(path)
                return Package(path, file_digest(path, "sha256"))
    return None

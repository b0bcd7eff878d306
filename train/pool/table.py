"""The table of a pool: a row for each group of files of one source.

    package   a Debian package, ``synth:<name>`` for synthesis, or ``folder:<name>`` for own recordings
    version   of the package; empty for other sources
    sha256    of the package's file; empty for other sources
    bytes     of the package's file; empty for other sources
    files     patterns of paths, separated by spaces, matched at their end; for synthesis a step's name
    licence   of the audio, or ``stated``: stated for each file in the package's copyright file
    tier      ``permissive`` or ``share-alike``; ``per file`` with ``stated``; ``drop`` excludes the files
    kind      a word or more, such as ``speech``
    split     ``train`` or ``valid``
    most      largest number of files; empty: all
    cuts      largest number of clips of a file
    join      ``1``: short files of one folder are joined; ``all``: of any folder; empty: none

A file belongs to the first matching row of its package.
"""

from __future__ import annotations

import csv
import fnmatch
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from train.pool.errors import PoolError
from train.pool.licences import STATED, tier_of

COLUMNS = (
    "package", "version", "sha256", "bytes", "files", "licence", "tier", "kind", "split", "most", "cuts",
    "join",
)  # fmt: skip

# Names of packages are used in file names and on a command line.
_PACKAGE = re.compile(r"(?:(?:synth|folder):)?[A-Za-z0-9][A-Za-z0-9+._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~:-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Row:
    """A row of the table; attributes are its columns, with ``size_bytes`` for ``bytes``."""

    package: str
    version: str
    sha256: str
    size_bytes: int | None
    files: str
    licence: str
    tier: str
    kind: str
    split: str
    most: int | None
    cuts: int
    join: str

    @property
    def is_synthesis(self) -> bool:
        """Whether the row is a step of synthesis."""
        return self.package.startswith("synth:")

    @property
    def is_folder(self) -> bool:
        """Whether the row is a folder of recordings."""
        return self.package.startswith("folder:")

    def matches(self, path: str) -> bool:
        """Whether a file's path ends in one of the patterns."""
        return any(fnmatch.fnmatchcase(path, "*" + pattern) for pattern in self.files.split())

    def key(self) -> str:
        """The values of the row that determine its clips."""
        return repr((self.files, self.licence, self.tier == "drop", self.most, self.cuts, self.join))


def read_table(path: str | Path) -> list[Row]:
    """The rows of a table (``.csv``). Other columns are ignored.

    Raises:
        PoolError: a column is missing, or a row contains invalid values; the message names its line.
        OSError: it cannot be read.
    """
    path = Path(path)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise PoolError(f"{path} lacks the columns {', '.join(missing)}")
        rows = []
        for cells in reader:
            try:
                rows.append(_row({column: (cells[column] or "").strip() for column in COLUMNS}))
            except ValueError as error:
                raise PoolError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise PoolError(f"{path} has no rows")
    return rows


def write_table(path: str | Path, rows: Iterable[Row]) -> None:
    """Write a table in the format of :func:`read_table`."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(["" if cell is None else cell for cell in astuple(row)] for row in rows)


def by_package(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by package, both in the order of the table."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.package, []).append(row)
    return groups


def _row(cells: dict[str, str]) -> Row:
    row = Row(
        package=cells["package"],
        version=cells["version"],
        sha256=cells["sha256"],
        size_bytes=int(cells["bytes"]) if cells["bytes"] else None,
        files=cells["files"],
        licence=cells["licence"],
        tier=cells["tier"],
        kind=cells["kind"],
        split=cells["split"],
        most=int(cells["most"]) if cells["most"] else None,
        cuts=int(cells["cuts"] or 1),
        join=cells["join"],
    )
    if not _PACKAGE.fullmatch(row.package):
        raise ValueError(f"package {row.package!r} is neither a package's name nor synth:NAME or folder:NAME")
    if row.version and not _VERSION.fullmatch(row.version):
        raise ValueError(f"version {row.version!r} is no version of a package")
    if row.sha256 and not _SHA256.fullmatch(row.sha256):
        raise ValueError(f"sha256 {row.sha256!r} is not 64 hexadecimal digits")
    if not row.files:
        raise ValueError("files is empty; a pattern or the name of a step is needed")
    expected = "per file" if row.licence == STATED else tier_of(row.licence)
    if row.tier not in (expected, "drop") or expected == "other":
        raise ValueError(
            f"the licence {row.licence!r} is of the tier {expected!r}, the row says {row.tier!r}; "
            "'permissive', 'share-alike', 'per file' with 'stated', or 'drop' is needed"
        )
    if row.split not in ("train", "valid") or row.join not in ("", "1", "all"):
        raise ValueError(
            f"split {row.split!r} must be train or valid, join {row.join!r} must be empty, 1 or all"
        )
    if row.cuts < 1 or (row.most is not None and row.most < 1):
        raise ValueError(f"cuts {row.cuts} and most {row.most} must be at least 1; leave most empty for all")
    return row

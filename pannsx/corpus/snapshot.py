"""The rows of a run as they were at its start: a Parquet file beside the output, read in any order."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pannsx.corpus.manifest import ManifestError
from pannsx.corpus.rows import COLUMNS, Row
from pannsx.errors import printable

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS = 8192
_KEPT = tuple(name for name in COLUMNS if name != "bytes")


class Contents(NamedTuple):
    """The contents of a manifest: the number of rows, and a digest of all of them in their order."""

    n_rows: int
    sha256: str


def write_snapshot(rows: Iterable[Row], path: Path) -> Contents:
    """Write the rows, as they come, to a file; memory holds 8 bytes a row, to find ids that stand twice.

    Raises:
        ManifestError: there is no row, an id stands twice, or a row holds bytes, which stay where they are.
        OSError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    digest = hashlib.sha256()
    ids = array("Q")
    waiting = iter(rows)
    with pq.ParquetWriter(path, _schema(), compression="zstd", write_page_checksum=True) as out:
        while group := list(islice(waiting, _GROUP_ROWS)):
            for row in group:
                if row.bytes is not None:
                    raise ManifestError(
                        f"the row {row.id!r} holds the bytes of its recording; a manifest names files, or is "
                        "a Parquet file with a column of bytes"
                    )
                digest.update(_line(row))
                ids.append(_hash(row.id))
            columns = list(zip(*group, strict=True))
            arrays = [
                pa.array([_encoded(value) for value in columns[Row._fields.index(field.name)]], field.type)
                for field in _schema()
            ]
            out.write_table(pa.Table.from_arrays(arrays, schema=_schema()))
    if not ids:
        raise ManifestError("the manifest has no rows; name at least one recording")
    twice = _stand_twice(ids)
    if len(twice):
        _refuse(path, {int(each) for each in twice})
    return Contents(len(ids), digest.hexdigest())


def read_contents(rows: Iterable[Row]) -> Contents:
    """The contents as :func:`write_snapshot` returns them, without a file."""
    digest = hashlib.sha256()
    n_rows = 0
    for row in rows:
        digest.update(_line(row))
        n_rows += 1
    return Contents(n_rows, digest.hexdigest())


class Snapshot:
    """The rows of :func:`write_snapshot`, by number; one row group is held.

    Raises:
        ValueError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error
        self._group: tuple[int, Any] | None = None

    def check(self) -> None:
        """Read all of it.

        Raises:
            ValueError: the file is damaged.
        """
        for group in range(self._file.num_row_groups):
            self._rows(group)

    def batch(self, first: int, n: int) -> dict[str, list[Any]]:
        """Rows ``first`` to ``first + n`` as the columns of a batch; columns without a value are left out."""
        pieces = []
        while n > 0:
            group, start = divmod(first, _GROUP_ROWS)
            piece = self._rows(group).slice(start, n)
            pieces.append(piece)
            first, n = first + piece.num_rows, n - piece.num_rows
        columns: dict[str, list[Any]] = {}
        for name in _KEPT:
            chunks = [piece[name] for piece in pieces]
            if any(chunk.null_count < len(chunk) for chunk in chunks):
                columns[name] = [_decoded(value) for chunk in chunks for value in chunk.to_pylist()]
        return columns

    def rows(self) -> Iterator[Row]:
        """All rows, in order."""
        for group in range(self._file.num_row_groups):
            columns = self._rows(group).to_pydict()
            for values in zip(*(columns[name] for name in _KEPT), strict=True):
                yield Row(*map(_decoded, values))

    def close(self) -> None:
        """Close the file."""
        self._group = None
        self._file.close()

    def _rows(self, group: int) -> pa.Table:
        import pyarrow as pa

        if self._group is None or self._group[0] != group:
            try:
                self._group = group, self._file.read_row_group(group)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(error) from error
        return self._group[1]

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"{self._path} is damaged ({error})")


def first_difference(before: Iterable[Row], now: Iterable[Row]) -> str:
    """The first row that differs, in words; empty if none does."""
    for number, (old, new) in enumerate(zip_longest(before, now)):
        if old == new:
            continue
        if old is None or new is None:
            row, when = (new, "new") if old is None else (old, "gone")
            return f"row {number}, {printable(row.id)!r}, is {when}"
        pairs = zip(Row._fields, old, new, strict=True)
        changes = [f"{name} {a!r} then, {b!r} now" for name, a, b in pairs if a != b]
        return f"row {number}: {', '.join(changes)}"
    return ""


def _schema() -> pa.Schema:
    import pyarrow as pa

    numbers = {"offset_s": pa.float64(), "duration_s": pa.float64()}
    whole = {"channel": pa.int32(), "byte_offset": pa.int64(), "n_bytes": pa.int64(), "table_row": pa.int64()}
    return pa.schema([(name, {**numbers, **whole}.get(name, pa.string())) for name in _KEPT])


def _encoded(value: Any) -> Any:
    """Text that is not Unicode, such as a file name, as text that Parquet can hold."""
    if not isinstance(value, str):
        return value
    if not value.startswith(_MARK):
        if value.isascii():
            return value
        with suppress(UnicodeEncodeError):
            value.encode()
            return value
    return _MARK + value.encode("utf-8", "surrogatepass").hex()


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_MARK):
        return bytes.fromhex(value[len(_MARK) :]).decode("utf-8", "surrogatepass")
    return value


_MARK = "\0hex:"


def _line(row: Row) -> bytes:
    return repr(tuple(row)).encode("utf-8", "surrogatepass")


def _hash(name: str) -> int:
    """Of an id as the table has it."""
    return int.from_bytes(hashlib.blake2b(printable(name).encode(), digest_size=8).digest(), "little")


def _stand_twice(ids: array[int]) -> Any:
    values = np.frombuffer(ids, np.uint64)
    values.sort()  # in place: a copy would be of the same size
    return np.unique(values[1:][values[1:] == values[:-1]])


def _refuse(path: Path, hashes: set[int]) -> None:
    """ManifestError if ids are equal; equal hashes of different ids are no fault."""
    places: dict[str, int] = {}
    snapshot = Snapshot(path)
    try:
        for number, row in enumerate(snapshot.rows()):
            if _hash(row.id) not in hashes:
                continue
            name = printable(row.id)
            if name in places:
                raise ManifestError(
                    f"the id {name!r} stands in rows {places[name]} and {number} of the "
                    "manifest (counted from 0); give each row an id of its own, or leave one of them out"
                )
            places[name] = number
    finally:
        snapshot.close()

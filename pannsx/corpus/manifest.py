"""Manifests: from files, folders, patterns, tables and archives to rows, one after another."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pannsx.corpus.inputs import expanded, find_inputs
from pannsx.corpus.rows import COLUMNS, PART_COLUMNS, PATH_COLUMNS, Row, RowError, row_of
from pannsx.corpus.webdataset import members_of
from pannsx.types import PathLike

if TYPE_CHECKING:
    import pyarrow as pa

_LINES = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".ndjson.gz")
_TABLES = (".parquet",)
_ARCHIVES = (".tar",)
_OTHERS = {
    (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z"): "unpack it, to a folder or a .tar",
    (".csv", ".tsv", ".txt", ".lst", ".xlsx", ".arrow", ".feather", ".jsonl.zst", ".json.zst"): (
        "write it as JSON lines or as Parquet, with a column audio_filepath"
    ),
}
"""Other archives and lists, with what to do; as recordings they would only fail."""
_ROWS_AT_ONCE = 4096


class ManifestError(ValueError):
    """A manifest is invalid; the message names the place."""


def rows_from(sources: Iterable[PathLike], skipped: Counter[str] | None = None) -> Iterator[Row]:
    """The rows of manifests, tables, archives, folders, patterns and audio files, in this order.

    Patterns have wildcards (``shards/*.tar``, ``**`` for any depth) and braces (``shard-{000..127}.tar``,
    ``{train,test}/*.wav``).

    By its extension, a file is a manifest of JSON lines (``.jsonl``, ``.json``, also with ``.gz``), a table
    (``.parquet``), an archive (``.tar``), or else a recording. Relative paths in a manifest are relative to
    its folder. Rows are read as they are taken; only the files of folders are all listed at once.

    Args:
        sources: the sources.
        skipped: counts the files passed over in folders, by reason.

    Raises:
        ManifestError: a line or a table that names nothing to read, an empty source, a pattern that names a
            missing file, or a manifest that cannot be read.
    """
    plain: list[str] = []
    for source in map(os.fsdecode, sources):
        expansion = expanded(source)
        if expansion.problems:
            raise ManifestError("; ".join(expansion.problems))
        for path in expansion.paths:
            reader = _reader_of(path)
            if reader is None:
                plain.append(path)
                continue
            yield from _files(plain, skipped)
            plain = []
            try:
                yield from reader(path)
            except OSError as error:
                reason = error.strerror or error
                raise ManifestError(f"cannot read {path}: {reason}; name a manifest that is there") from error
    yield from _files(plain, skipped)


def _reader_of(path: str) -> Any:
    name = path.lower()
    if Path(path).is_dir():
        return None
    for suffixes, reader in ((_LINES, _lines), (_TABLES, _table), (_ARCHIVES, _archive)):
        if name.endswith(suffixes):
            return reader
    for others, advice in _OTHERS.items():
        if name.endswith(others):
            raise ManifestError(f"{path} is neither a recording nor a manifest that can be read; {advice}")
    return None


def _files(paths: Sequence[str], skipped: Counter[str] | None) -> Iterator[Row]:
    inputs = find_inputs(paths)
    if inputs.problems:
        raise ManifestError("; ".join(inputs.problems))
    if skipped is not None:
        skipped.update(inputs.skipped)
    for item in inputs.items:
        if isinstance(item.source, bytes):
            raise ManifestError("standard input is no corpus; name a file, a folder or a manifest")
        yield Row(item.name, item.source)


def _lines(path: str) -> Iterator[Row]:
    root = str(Path(path).parent)
    number = 0
    with _open(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                cells = _cells(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
                if cells is not None:
                    yield _below(root, row_of(cells))
        except RowError as error:
            raise ManifestError(f"{path}, line {number}: {error}") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ManifestError(
                f"{path} is truncated or damaged after line {number} ({error}); fetch or copy it again"
            ) from error


def _open(path: str) -> BinaryIO:
    return gzip.open(path) if path.lower().endswith(".gz") else Path(path).open("rb")  # type: ignore[return-value]


def _cells(line: bytes) -> dict[str, Any] | None:
    """The object in a line; None in an empty one.

    Raises:
        RowError: there is none.
    """
    if not line.strip():
        return None
    try:
        cells = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise RowError(f"it is not UTF-8 ({error.reason}); save the manifest as UTF-8") from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise RowError(f"it is not JSON ({error}); a manifest has an object in each line") from error
    if not isinstance(cells, dict):
        raise RowError(f"it is {cells!r:.60}; an object with audio_filepath is needed")
    return cells


def _below(root: str, row: Row) -> Row:
    """The row with a relative path below the folder of its manifest; its id is as the manifest has it."""
    if row.path is None or "://" in row.path or Path(row.path).is_absolute():
        return row  # what is a URL is refused where it is read
    return row._replace(path=str(Path(root) / row.path))


def _archive(path: str) -> Iterator[Row]:
    try:
        yield from members_of(path)
    except ValueError as error:
        raise ManifestError(str(error)) from error


def _table(path: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path} cannot be read as Parquet: {error}") from error
    with file:
        schema = file.schema_arrow
        content = _column_of_bytes(schema)
        # "path" stands twice in these names.
        names = [
            name
            for name in dict.fromkeys((*COLUMNS, *PATH_COLUMNS, *PART_COLUMNS))
            if name in schema.names and name != content
        ]
        if content is not None:
            names = [name for name in names if name not in PATH_COLUMNS]
        elif not set(names) & set(PATH_COLUMNS):
            raise ManifestError(
                f"{path} has the columns {', '.join(map(repr, schema.names))}; a column path, audio_filepath "
                "or bytes is needed"
            )
        number = 0
        for batch in _batches(file, path, names):
            columns = batch.to_pydict() if names else {}
            for i in range(batch.num_rows):
                cells = {name: values[i] for name, values in columns.items()}
                if content is not None:
                    cells |= {"path": path, "table_column": content, "table_row": number}
                try:
                    row = row_of(cells)
                except RowError as error:
                    raise ManifestError(f"{path}, row {number}: {error}") from error
                yield row if content is not None else _below(str(Path(path).parent), row)
                number += 1


def _batches(file: Any, path: str, names: list[str]) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from file.iter_batches(_ROWS_AT_ONCE, columns=names)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path} cannot be read as Parquet: {error}") from error


def _column_of_bytes(schema: pa.Schema) -> str | None:
    """The column with the content of files: ``bytes``, or ``audio`` with bytes, alone or in a struct."""
    import pyarrow as pa

    for name in ("bytes", "audio"):
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return name
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return name
    return None

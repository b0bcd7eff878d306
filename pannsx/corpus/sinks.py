"""Formats of the table of a corpus: writing a part, reading it back, and telling whether it is whole."""

from __future__ import annotations

import csv
import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pannsx.corpus.schema import FAILED

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_GROUP_BYTES = 1 << 26
_CSV_FIELD_BYTES = 1 << 30
_DIGITS = 9  # identify every float32


class Part(NamedTuple):
    """A part of the table: its rows, and how many of them failed."""

    n_rows: int
    n_failed: int


class Sink(ABC):
    """A format.

    Attributes:
        suffix: the extension of its files, with the dot.
    """

    suffix: str

    def check(self) -> None:  # noqa: B027 - most need nothing
        """ImportError if what the format needs is not installed."""

    @abstractmethod
    def write(self, table: pa.Table, path: Path) -> None:
        """Write a part; OSError if it cannot be written."""

    @abstractmethod
    def read(self, path: Path, schema: pa.Schema) -> pa.Table:
        """Read a part back."""

    @abstractmethod
    def look(self, path: Path) -> Part:
        """Its rows; ValueError if it is damaged."""

    def finish(self, paths: Sequence[Path]) -> None:  # noqa: B027 - most need nothing
        """Make a table of all parts, once each row is in one; most formats are a table as they are."""


class ParquetSink(Sink):
    """Parquet, with row groups of at most 64 MB."""

    suffix = ".parquet"

    def write(self, table: pa.Table, path: Path) -> None:
        """See `Sink`."""
        import pyarrow.parquet as pq

        row_bytes = max(1, table.nbytes // max(1, table.num_rows))
        group = max(1, _ROW_GROUP_BYTES // row_bytes)
        pq.write_table(table, path, compression="zstd", row_group_size=group, write_page_checksum=True)

    def read(self, path: Path, schema: pa.Schema) -> pa.Table:
        """See `Sink`."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read().cast(schema)

    def look(self, path: Path) -> Part:
        """See `Sink`."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                status = file.read(["status"])["status"]
        except (pa.ArrowException, OSError) as error:
            raise ValueError(str(error)) from error
        return Part(len(status), pc.sum(pc.equal(status, FAILED)).as_py() or 0)


class JsonLinesSink(Sink):
    """An object in each line."""

    suffix = ".jsonl"
    _failed = f'"status": "{FAILED}"'.encode()  # in text, JSON escapes the quotes

    def write(self, table: pa.Table, path: Path) -> None:
        """See `Sink`."""
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    plain = {name: _rounded(value, name) for name, value in row.items()}
                    file.write(json.dumps(plain, ensure_ascii=False) + "\n")

    def read(self, path: Path, schema: pa.Schema) -> pa.Table:
        """See `Sink`."""
        import pyarrow as pa

        with path.open(encoding="utf-8") as file:
            return pa.Table.from_pylist([json.loads(line) for line in file], schema=schema)

    def look(self, path: Path) -> Part:
        """See `Sink`."""
        n_rows = n_failed = 0
        line = b"\n"
        with path.open("rb") as file:
            for line in file:
                n_rows += 1
                n_failed += self._failed in line[:_STATUS_WITHIN]
        if not line.endswith(b"}\n"):
            raise ValueError("its last line is not complete")
        return Part(n_rows, n_failed)


class CsvSink(Sink):
    """CSV with a header; lists are JSON in a cell."""

    suffix = ".csv"

    def write(self, table: pa.Table, path: Path) -> None:
        """See `Sink`."""
        with path.open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(table.column_names)
            for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    out.writerow([_cell(value) for value in row.values()])

    def read(self, path: Path, schema: pa.Schema) -> pa.Table:
        """See `Sink`."""
        import pyarrow as pa

        plain = {pa.string()}
        rows = []
        for cells in self._rows(path):
            row = {
                field.name: (value if field.type in plain else json.loads(value)) if value else None
                for field, value in zip(schema, cells, strict=True)
            }
            rows.append(row)
        return pa.Table.from_pylist(rows, schema=schema)

    def look(self, path: Path) -> Part:
        """See `Sink`."""
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, io.SEEK_END) - 1))
            if file.read() != b"\n":
                raise ValueError("its last line is not complete")
        n_rows = n_failed = 0
        try:
            for cells in self._rows(path):
                n_rows += 1
                n_failed += cells[4] == FAILED
        except (csv.Error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(str(error)) from error
        return Part(n_rows, n_failed)

    def _rows(self, path: Path) -> Any:
        before = csv.field_size_limit(_CSV_FIELD_BYTES)
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file, strict=True)
                next(rows, None)
                yield from rows
        finally:
            csv.field_size_limit(before)


class LanceSink(Sink):
    """A Lance dataset, ``table.lance``; a part is a small file with the names of its data files there.

    Data files belong to no version of the dataset until `finish`, which makes a version of those that the
    parts name. So each row is in it once, despite interruptions; leftover files of a killed run are in no
    version.
    """

    suffix = ".lance.json"

    def check(self) -> None:
        """See `Sink`."""
        try:
            import lance  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f'the format lance needs pylance: pip install "pannsx[lance]" ({error})'
            ) from error

    def write(self, table: pa.Table, path: Path) -> None:
        """See `Sink`."""
        from lance.fragment import write_fragments

        target = path.parent / LANCE_TABLE
        mode = "append" if (target / "_versions").exists() else "create"
        try:
            fragments = write_fragments(table, str(target), schema=table.schema, mode=mode)
        except (RuntimeError, ValueError) as error:  # among Lance's errors of a full disk
            raise OSError(str(error)) from error
        content = {
            "n_rows": len(table),
            "n_failed": sum(status == FAILED for status in table["status"].to_pylist()),
            "fragments": [each.to_json() for each in fragments],
        }
        path.write_text(json.dumps(content), "utf-8")

    def read(self, path: Path, schema: pa.Schema) -> pa.Table:
        """See `Sink`."""
        import pyarrow as pa
        from lance.file import LanceFileReader

        files = self._files(path, json.loads(path.read_text("utf-8")))
        return pa.concat_tables(
            [LanceFileReader(str(each)).read_all().to_table().cast(schema) for each in files]
        )

    def look(self, path: Path) -> Part:
        """See `Sink`."""
        try:
            content = json.loads(path.read_text("utf-8"))
            self._files(path, content)
            return Part(int(content["n_rows"]), int(content["n_failed"]))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"it is no record of a part ({error})") from error

    def finish(self, paths: Sequence[Path]) -> None:
        """See `Sink`."""
        import lance
        from lance.file import LanceFileReader

        contents = [json.loads(path.read_text("utf-8")) for path in paths]
        wanted = [each for content in contents for each in content["fragments"]]
        target = paths[0].parent / LANCE_TABLE
        version = None
        if (target / "_versions").exists():
            before = lance.dataset(str(target))
            version = before.version
            names = [str(file.path) for each in before.get_fragments() for file in each.data_files()]
            if names == [file["path"] for each in wanted for file in each["files"]]:
                return
        schema = LanceFileReader(str(self._files(paths[0], contents[0])[0])).metadata().schema
        fragments = [lance.FragmentMetadata.from_json(json.dumps(each)) for each in wanted]
        operation = lance.LanceOperation.Overwrite(schema, fragments)
        lance.LanceDataset.commit(str(target), operation, read_version=version)

    def _files(self, path: Path, content: Any) -> list[Path]:
        """The data files of a part; ValueError if one is not there, or of another size."""
        found = []
        for file in (file for each in content["fragments"] for file in each["files"]):
            place = path.parent / LANCE_TABLE / "data" / Path(file["path"]).name
            size = place.stat().st_size if place.exists() else None
            if size != file["file_size_bytes"]:
                state = (
                    "not there" if size is None else f"of {size} bytes instead of {file['file_size_bytes']}"
                )
                raise ValueError(f"its data file {place.name} is {state}")
            found.append(place)
        if not found:
            raise ValueError("it names no data file")
        return found


LANCE_TABLE = "table.lance"
"""The dataset in the folder of a run."""

_ROWS_AT_ONCE = 256
_STATUS_WITHIN = 1 << 20  # bytes of a line before which the status stands, whatever is in the outputs

SINKS: dict[str, type[Sink]] = {
    "parquet": ParquetSink,
    "jsonl": JsonLinesSink,
    "csv": CsvSink,
    "lance": LanceSink,
}
"""Formats by name."""


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(_rounded(value), ensure_ascii=False) if isinstance(value, list) else value


def _rounded(value: Any, name: str = "") -> Any:
    """Numbers with the digits of float32, times with all; None for NaN, which JSON has not."""
    if isinstance(value, (float, np.floating)):
        if not math.isfinite(value):
            return None
        return float(value) if name.endswith("_s") else float(f"{value:.{_DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {key: _rounded(each, key) for key, each in value.items()}
    return value

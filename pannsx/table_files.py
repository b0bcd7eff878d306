"""Tables written row by row, as CSV, TSV, JSON, JSON lines, Parquet or an Excel sheet (XLSX).

The columns of results have the same names in every format, those of :class:`pannsx.table.Row`.
"""

from __future__ import annotations

import csv
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, TextIO, TypeVar

from pannsx.table import COLUMNS
from pannsx.types import PathLike

Self = TypeVar("Self", bound="FileWriter")

Cell = str | int | float | bool | None
Kind = Literal["text", "integer", "number", "boolean", "seconds", "probability"]

DIGITS = 6
"""Significant digits of probabilities in text, beyond which float32 networks differ from machine to machine;
and decimals of seconds: a microsecond is well below a sample."""

_CELLS_AT_ONCE = 1 << 18  # cells per row group of a Parquet file: a few megabytes
_MOST_XLSX_ROWS = 1 << 20  # of a sheet, by Excel's specification
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class Column(NamedTuple):
    """A column: its name, its kind of values, and for a column of one class the MID of the class."""

    name: str
    kind: Kind = "text"
    mid: str = ""


_KINDS: dict[str, Kind] = {"onset_s": "seconds", "offset_s": "seconds", "probability": "probability"}

EVENT_COLUMNS = tuple(Column(name, _KINDS.get(name, "text")) for name in COLUMNS)
"""Those of :class:`pannsx.table.Row`."""


def plain(column: Column, value: Cell) -> Cell:
    """The value as it is written: times to the microsecond, probabilities to six significant digits."""
    if value is None or isinstance(value, str):
        return value
    if column.kind == "seconds":
        return round(float(value), DIGITS)
    return float(f"{value:.{DIGITS}g}") if column.kind == "probability" else value


class FileWriter:
    """A context manager that writes a file piece by piece; its file is complete if it ends without error."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def finish(self) -> None:
        """Complete the file."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self.finish()


class TableWriter(FileWriter, ABC):
    """Writes a table row by row."""

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.columns = tuple(columns)

    @abstractmethod
    def write(self, row: Sequence[Cell]) -> None:
        """One row, with a value for each column; None leaves a cell empty."""

    def _plain(self, row: Sequence[Cell]) -> list[Cell]:
        return [plain(column, value) for column, value in zip(self.columns, row, strict=True)]


class DelimitedWriter(TableWriter):
    """CSV or TSV, with a header."""

    def __init__(self, file: TextIO, columns: Sequence[Column], delimiter: str) -> None:
        super().__init__(columns)
        self._rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        self._rows.writerow([column.name for column in columns])

    def write(self, row: Sequence[Cell]) -> None:
        """The line."""
        self._rows.writerow(["" if value is None else value for value in self._plain(row)])


class JsonWriter(TableWriter):
    """Objects with the columns' names as keys: a line each, in an array unless ``lines``.

    `write_object` takes any other object instead.
    """

    def __init__(self, file: TextIO, columns: Sequence[Column], *, lines: bool) -> None:
        super().__init__(columns)
        self._file = file
        self._lines = lines
        self._before = "" if lines else "[\n"

    def write(self, row: Sequence[Cell]) -> None:
        """The row's object."""
        names = [column.name for column in self.columns]
        self.write_object(dict(zip(names, self._plain(row), strict=True)))

    def write_object(self, content: dict[str, Any]) -> None:
        """One object."""
        text = json.dumps(content, ensure_ascii=False)
        if self._lines:
            self._file.write(text + "\n")
        else:
            self._file.write(self._before + text)
            self._before = ",\n"

    def finish(self) -> None:
        """End the array."""
        if not self._lines:
            self._file.write("[]\n" if self._before == "[\n" else "\n]\n")


class ParquetWriter(TableWriter):
    """Parquet by pyarrow; the MID of a column of one class is in the metadata of its field."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        super().__init__(columns)
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa = pa
        types = {
            "text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(),
            "seconds": pa.float64(), "probability": pa.float32(),
        }  # fmt: skip
        fields = [
            pa.field(column.name, types[column.kind], metadata={"mid": column.mid} if column.mid else None)
            for column in columns
        ]
        self._schema = pa.schema(fields)
        self._out = self._stack.enter_context(pq.ParquetWriter(path, self._schema))
        self._rows: list[Sequence[Cell]] = []

    def write(self, row: Sequence[Cell]) -> None:
        """Collect the row until there are enough for a row group."""
        self._rows.append(row)
        if len(self._rows) * len(self.columns) >= _CELLS_AT_ONCE:
            self._write_group()

    def finish(self) -> None:
        """Write the last rows."""
        if self._rows:
            self._write_group()

    def _write_group(self) -> None:
        cells = zip(*self._rows, strict=True)
        arrays = [self._pa.array(each, field.type) for each, field in zip(cells, self._schema, strict=True)]
        self._out.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []


class XlsxWriter(TableWriter):
    """An Excel workbook by openpyxl; the MIDs of columns of classes are in a second sheet, ``columns``."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        super().__init__(columns)
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell

        self._path = path
        self._cell = WriteOnlyCell
        self._book = Workbook(write_only=True)
        self._stack.callback(self._book.close)
        self._sheet = self._book.create_sheet("pannsx")
        self._n_rows = 0
        self._append([column.name for column in columns])

    def write(self, row: Sequence[Cell]) -> None:
        """The row; ValueError beyond the greatest number of rows of a sheet."""
        if self._n_rows == _MOST_XLSX_ROWS:
            raise ValueError(
                f"an Excel sheet holds {_MOST_XLSX_ROWS:,} rows, and there are more; write .csv or .parquet"
            )
        self._append(self._plain(row))

    def finish(self) -> None:
        """Write the workbook."""
        if any(column.mid for column in self.columns):
            self._sheet = self._book.create_sheet("columns")
            self._append(["label", "mid"])
            for column in self.columns:
                if column.mid:
                    self._append([column.name, column.mid])
        self._book.save(self._path)

    def _append(self, row: Sequence[Cell]) -> None:
        cells = []
        for value in row:
            if isinstance(value, str):
                cell = self._cell(self._sheet, _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value))
                cell.data_type = "s"  # a file may be named "=1.wav", which is no formula
                cells.append(cell)
            else:
                cells.append(value)
        self._sheet.append(cells)
        self._n_rows += 1


TEXT_FORMATS: dict[str, Callable[[TextIO, Sequence[Column]], TableWriter]] = {
    "csv": lambda file, columns: DelimitedWriter(file, columns, ","),
    "tsv": lambda file, columns: DelimitedWriter(file, columns, "\t"),
    "json": lambda file, columns: JsonWriter(file, columns, lines=False),
    "jsonl": lambda file, columns: JsonWriter(file, columns, lines=True),
}
"""Formats for any text file, standard output included, by their name, which is their extension too."""

BINARY_FORMATS: dict[str, Callable[[Path, Sequence[Column]], TableWriter]] = {
    "parquet": ParquetWriter,
    "xlsx": XlsxWriter,
}
"""Formats that need a file of their own."""

_LIBRARIES = {"parquet": "pyarrow", "xlsx": "openpyxl"}  # the extras have the names of the formats


def open_table(path: PathLike, form: str, columns: Sequence[Column]) -> TableWriter:
    """A writer to a new file in one of the formats.

    Raises:
        OSError: the file cannot be written.
        ValueError: the library of the format is missing.
    """
    check_library(form)
    path = Path(path)
    if form in BINARY_FORMATS:
        return BINARY_FORMATS[form](path, columns)
    file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    writer = TEXT_FORMATS[form](file, columns)
    writer._stack.enter_context(file)
    return writer


def check_library(form: str) -> None:
    """ValueError, with the extra to install, if the library of a format is missing."""
    library = _LIBRARIES.get(form)
    if library is not None and find_spec(library) is None:
        raise ValueError(f'writing .{form} needs {library}: pip install "pannsx[{form}]"')

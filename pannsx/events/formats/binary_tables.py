"""Events as a Parquet or Excel table: ``file, onset_s, offset_s, label, mid, probability, duration_s``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pannsx.events.event import Event
from pannsx.events.formats.recording import CERTAIN, Recording, event, gathered
from pannsx.table_files import BINARY_FORMATS, EVENT_COLUMNS, Column, check_library, open_table

NAMES = tuple(BINARY_FORMATS)
"""Names of the formats, which are their extensions too."""

_COLUMNS = (*EVENT_COLUMNS, Column("duration_s", "seconds"))
_NEEDED = ("file", "onset_s", "offset_s", "label")


def write_binary_table(recordings: Iterable[Recording], path: Path, form: str) -> None:
    """One row per event; a recording without events has one row with only its name and length."""
    with open_table(path, form, _COLUMNS) as table:
        for recording in recordings:
            for each in recording.events:
                times = each.onset_s, each.offset_s
                mid = recording.mids.get(each.label)
                table.write((recording.name, *times, each.label, mid, each.probability, recording.duration_s))
            if not recording.events:
                table.write((recording.name, *[None] * 5, recording.duration_s))


def read_binary_table(path: Path, form: str) -> list[Recording]:
    """Such a table; ``mid``, ``probability`` and ``duration_s`` are optional."""
    check_library(form)
    header, rows = _read_parquet(path) if form == "parquet" else _read_xlsx(path)
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise ValueError(f"{path}: the columns are {header}; {', '.join(missing)} missing")

    def each() -> Iterator[tuple[str, Event | None]]:
        for number, row in enumerate(rows):
            if row["label"] is None:
                yield str(row["file"]), None
            else:
                likely = row.get("probability")
                where = f"{path}, row {number}"
                times = row["onset_s"], row["offset_s"]
                if None in times:
                    raise ValueError(f"{where}: onset {times[0]!r} and offset {times[1]!r} are not numbers")
                found = event(str(row["label"]), *times, where, CERTAIN if likely is None else likely)
                yield str(row["file"]), found

    durations = {str(row["file"]): row["duration_s"] for row in rows if row.get("duration_s") is not None}
    mids = {str(row["label"]): str(row["mid"]) for row in rows if row.get("mid") is not None}
    return gathered(each(), durations, mids)


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error
    return table.column_names, table.to_pylist()


def _read_xlsx(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    from zipfile import BadZipFile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with path.open("rb") as file:  # an open file may have any name
            book = load_workbook(file, read_only=True, data_only=True)
            first, *cells = book.worksheets[0].iter_rows(values_only=True) or [()]
    except (BadZipFile, InvalidFileException, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not an Excel workbook with a table: {error!r}") from error
    header = [str(name) for name in first]
    # A row ends with its last cell that is not empty.
    rows = [dict(zip_longest(header, row[: len(header)])) for row in cells]
    return header, rows

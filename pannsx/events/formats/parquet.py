"""Events as a Parquet table: ``file, onset_s, offset_s, label, probability, duration_s``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pannsx.events.event import Event
from pannsx.events.formats.recording import CERTAIN, Recording, event, gathered

_COLUMNS = ("file", "onset_s", "offset_s", "label", "probability", "duration_s")


def write_parquet(recordings: Sequence[Recording], path: Path) -> None:
    """One row per event; a recording without events has one row with only its name and length."""
    pa, pq = _pyarrow()
    kinds = (pa.string(), pa.float64(), pa.float64(), pa.string(), pa.float32(), pa.float64())
    schema = pa.schema(list(zip(_COLUMNS, kinds, strict=True)))
    rows: list[tuple[object, ...]] = [
        (recording.name, each.onset_s, each.offset_s, each.label, each.probability, recording.duration_s)
        for recording in recordings
        for each in recording.events
    ]
    rows += [
        (recording.name, None, None, None, None, recording.duration_s)
        for recording in recordings
        if not recording.events
    ]
    cells = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    columns = [pa.array(column, kind) for column, kind in zip(cells, kinds, strict=True)]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path)


def read_parquet(path: Path) -> list[Recording]:
    """Such a table; ``probability`` and ``duration_s`` are optional."""
    pa, pq = _pyarrow()
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error
    missing = [name for name in _COLUMNS[:4] if name not in table.column_names]
    if missing:
        raise ValueError(f"{path}: the columns are {table.column_names}; {', '.join(missing)} missing")
    rows = table.to_pylist()

    def each() -> Iterator[tuple[str, Event | None]]:
        for number, row in enumerate(rows):
            if row["label"] is None:
                yield row["file"], None
            else:
                likely = row.get("probability")
                where = f"{path}, row {number}"
                times = row["onset_s"], row["offset_s"]
                yield row["file"], event(row["label"], *times, where, CERTAIN if likely is None else likely)

    durations = {row["file"]: row["duration_s"] for row in rows if row.get("duration_s") is not None}
    return gathered(each(), durations)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ValueError('Parquet needs pyarrow: pip install "pannsx[parquet]"') from error
    return pa, pq

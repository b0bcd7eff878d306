"""A row of a corpus: one recording, or a part of one, and where its bytes are."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

COLUMNS = (
    "id", "path", "offset_s", "duration_s", "channel", "member", "byte_offset", "n_bytes", "table_column",
    "table_row", "bytes",
)  # fmt: skip
"""Columns of a batch, which needs ``path`` or ``bytes``; without ``id``, a row is named by path and part.

``member``, ``byte_offset`` and ``n_bytes`` are for a recording within an archive at ``path``;
``table_column`` and ``table_row`` for one in a column of bytes of the Parquet file at ``path``.
"""

_OTHER_NAMES = {
    "path": ("audio_filepath", "file"),
    "offset_s": ("offset", "start"),
    "duration_s": ("duration",),
}
"""Names of NeMo's and Lhotse's manifests for the same columns."""

PATH_COLUMNS = ("path", "recording", "sources", "audio", *_OTHER_NAMES["path"])
"""Columns that can name a recording."""
PART_COLUMNS = ("type", *_OTHER_NAMES["offset_s"], *_OTHER_NAMES["duration_s"])
"""Other names of columns for the part of it."""

_LATEST_S = 1e12
"""No recording is so long."""
_GREATEST, _GREATEST_CHANNEL = 2**63 - 1, 2**31 - 1
"""That the snapshot of a manifest can hold."""


class RowError(ValueError):
    """A row names nothing to read; the message says why."""


class Row(NamedTuple):
    """One recording, or a part of one.

    Attributes:
        id: its name in results, unique within a corpus.
        path: the file to open, or None if ``bytes`` holds the content.
        offset_s: start of the part, in seconds.
        duration_s: length of the part in seconds; None: to the end.
        channel: the channel to read; None: as the stage is set.
        member: name of the recording within the archive ``path``.
        byte_offset: its first byte there.
        n_bytes: its number of bytes there.
        table_column: column of bytes in the Parquet file ``path``.
        table_row: row there.
        bytes: the content of the file.
    """

    id: str
    path: str | None
    offset_s: float = 0.0
    duration_s: float | None = None
    channel: int | None = None
    member: str | None = None
    byte_offset: int | None = None
    n_bytes: int | None = None
    table_column: str | None = None
    table_row: int | None = None
    bytes: bytes | None = None

    @property
    def place(self) -> str | None:
        """The path, with the member of an archive behind ``::``."""
        return self.path if self.member is None else f"{self.path}::{self.member}"


def row_of(cells: Mapping[str, Any]) -> Row:
    """A row from its cells by column name; NeMo's and Lhotse's names are known, other columns are ignored.

    Raises:
        RowError: it names no recording, or a cell is not of its kind.
    """
    found = {name: _first(cells, name) for name in COLUMNS}
    _add_audio(found, _value(cells.get("audio")))
    if isinstance(recording := cells.get("recording"), Mapping):
        found["path"], found["channel"] = _of_lhotse(cells, recording)
    elif "sources" in cells and found["path"] is None:  # a recording of Lhotse itself
        found["path"], found["channel"] = _of_lhotse({}, cells)
    elif cells.get("type") in ("MixedCut", "MultiCut", "PaddingCut"):
        raise RowError(f"it is a {cells['type']} of Lhotse, and a MonoCut is needed")
    path, content = found["path"], found["bytes"]
    if path is None and content is None:
        raise RowError("it names no recording; give its path as path or audio_filepath, or its bytes")
    if isinstance(path, os.PathLike):
        path = os.fsdecode(path)
    if path is not None and not isinstance(path, str):
        raise RowError(f"its path is {path!r}; text is needed")
    if content is not None and not isinstance(content, bytes):
        content = _as_bytes(content)
    row = Row(
        "",
        path,
        _number(found["offset_s"], "offset") or 0.0,
        _number(found["duration_s"], "duration"),
        _whole(found["channel"], "channel"),
        None if found["member"] is None else str(found["member"]),
        _whole(found["byte_offset"], "byte_offset"),
        _whole(found["n_bytes"], "n_bytes"),
        None if found["table_column"] is None else str(found["table_column"]),
        _whole(found["table_row"], "table_row"),
        content,
    )
    if found["id"] is not None:
        return row._replace(id=_name(found["id"]))
    if path is None:
        raise RowError("it has bytes and no id; give each row an id")
    return row._replace(id=named(row))


def named(row: Row) -> str:
    """The id of a row without one: its place, and its part as a media fragment, ``a.wav#t=1.5,4``."""
    place = row.place or ""
    if row.table_row is not None:
        place += f"::{row.table_row}"
    if row.channel is not None:
        place += f"#channel={row.channel}"
    if not row.offset_s and row.duration_s is None:
        return place
    stop = "" if row.duration_s is None else f",{row.offset_s + row.duration_s:.9g}"
    return f"{place}#t={row.offset_s:.9g}{stop}"


def rows_of(batch: Mapping[str, Sequence[Any]]) -> Iterator[Row | tuple[str, RowError]]:
    """The rows of a batch of columns; for a row that names nothing to read, its id and the reason.

    Raises:
        ValueError: no column names the recordings, or the columns are of different lengths.
    """
    known = {*COLUMNS, *PATH_COLUMNS, *PART_COLUMNS}
    columns = {name: values for name, values in batch.items() if name in known}
    if not {"bytes", *PATH_COLUMNS} & columns.keys():
        raise ValueError(
            f"the batch has the columns {', '.join(map(repr, batch)) or 'none'}; a column path, "
            "audio_filepath or bytes is needed"
        )
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"the columns of the batch have {sorted(lengths)} rows; as many of each are needed")
    for i in range(lengths.pop()):
        cells = {name: values[i] for name, values in columns.items()}
        try:
            yield row_of(cells)
        except RowError as error:
            name = _first(cells, "id")
            yield ("" if name is None else _text(name)), error


def _first(cells: Mapping[str, Any], name: str) -> Any:
    for each in (name, *_OTHER_NAMES.get(name, ())):
        if (value := _value(cells.get(each))) is not None:
            return value
    return None


def _add_audio(found: dict[str, Any], audio: Any) -> None:
    """Add a cell ``audio``: a path, bytes, or both as Hugging Face datasets have them."""
    if isinstance(audio, Mapping):
        found["path"] = found["path"] or _value(audio.get("path"))
        found["bytes"] = found["bytes"] or _value(audio.get("bytes"))
    elif isinstance(audio, (str, os.PathLike)):
        found["path"] = found["path"] or audio
    elif audio is not None:
        found["bytes"] = found["bytes"] or audio


def _value(value: Any) -> Any:
    """A plain value: None for missing values of tables, Python's types for NumPy's."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, str):
        return value or None
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def _name(value: Any) -> str:
    """An id as text: that of text, of a number, or of what tables have besides, such as UUIDs."""
    if isinstance(value, (bool, Mapping, Sequence)) and not isinstance(value, (str, bytes)):
        raise RowError(f"its id is {value!r:.60}; text or a number is needed")
    return _text(value)


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _number(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, Decimal):  # as SQL has 0.5
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LATEST_S:
        raise RowError(f"its {what} is {value!r:.60}; a number of seconds from 0 up is needed")
    return float(value)


def _whole(value: Any, what: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        value = int(value)  # tables with missing values make floats of them
    most = _GREATEST_CHANNEL if what == "channel" else _GREATEST
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise RowError(f"its {what} is {value!r:.60}; a whole number from 0 up is needed")
    return value


def _as_bytes(value: Any) -> bytes:
    try:
        return bytes(memoryview(value))
    except TypeError as error:
        raise RowError(f"its bytes are a {type(value).__name__}; the bytes of a file are needed") from error


def _of_lhotse(cells: Mapping[str, Any], recording: Mapping[str, Any]) -> tuple[Any, Any]:
    """Path and channel of a cut of Lhotse."""
    sources = recording.get("sources")
    if not isinstance(sources, Sequence) or len(sources) != 1 or not isinstance(sources[0], Mapping):
        raise RowError("its recording has not exactly one source; one file is needed")
    if sources[0].get("type") != "file":
        raise RowError(f"its recording is a {sources[0].get('type')!r} of Lhotse; a file is needed")
    if recording.get("transforms"):
        raise RowError("its recording has transforms of Lhotse; save the recordings with them first")
    return sources[0].get("source"), cells.get("channel")

"""Tags or events of a stream, each line written at once: for people, as JSON lines, or as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TextIO

from pannsx.table_files import EVENT_COLUMNS, TEXT_FORMATS, Cell, plain

if TYPE_CHECKING:
    from pannsx.events import Event
    from pannsx.results import Tag


class Streaming(NamedTuple):
    """Facts shared by all lines: name of the stream, name of the model, MIDs by label."""

    name: str
    model: str
    mids: dict[str, str]

    def row(self, onset_s: float, offset_s: float, label: str, probability: float) -> dict[str, Cell]:
        """The cells of a tag or an event by their columns."""
        cells = (self.name, onset_s, offset_s, label, self.mids.get(label), probability)
        return {column.name: plain(column, cell) for column, cell in zip(EVENT_COLUMNS, cells, strict=True)}


class StreamWriter(Protocol):
    """Writes final tags and events."""

    def tags(self, onset_s: float, offset_s: float, tags: Sequence[Tag]) -> None:
        """The tags of a step."""

    def event(self, event: Event) -> None:
        """One event."""


def stream_writer(form: str, file: TextIO, streaming: Streaming) -> StreamWriter:
    """The writer of a format; a table begins with its header."""
    if form == "table":
        return _TextWriter(file)
    return _JsonWriter(file, streaming) if form in ("json", "jsonl") else _RowWriter(file, streaming, form)


class _TextWriter:
    """A line per step or event."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def tags(self, onset_s: float, offset_s: float, tags: Sequence[Tag]) -> None:
        shown = "  ".join(f"{tag.label} {tag.probability:.2f}" for tag in tags)
        self._line(onset_s, offset_s, shown or "-")

    def event(self, event: Event) -> None:
        self._line(event.onset_s, event.offset_s, f"{event.label} {event.probability:.2f}")

    def _line(self, onset_s: float, offset_s: float, text: str) -> None:
        # The reader at the other end of a pipe needs the line now.
        print(f"{onset_s:9.2f} - {offset_s:.2f} s  {text}", file=self._file, flush=True)


class _JsonWriter:
    """An object per step, ``file, onset_s, offset_s, model, tags``, or per event."""

    def __init__(self, file: TextIO, streaming: Streaming) -> None:
        self._file = file
        self._streaming = streaming

    def tags(self, onset_s: float, offset_s: float, tags: Sequence[Tag]) -> None:
        rows = [self._streaming.row(onset_s, offset_s, *tag) for tag in tags]
        found = [{name: row[name] for name in ("label", "mid", "probability")} for row in rows]
        times = {"onset_s": round(onset_s, 6), "offset_s": round(offset_s, 6)}
        self._line({"file": self._streaming.name, **times, "model": self._streaming.model, "tags": found})

    def event(self, event: Event) -> None:
        row = self._streaming.row(event.onset_s, event.offset_s, event.label, event.probability)
        self._line({**row, "model": self._streaming.model})

    def _line(self, content: dict[str, Any]) -> None:
        print(json.dumps(content, ensure_ascii=False), file=self._file, flush=True)


class _RowWriter:
    """A row per tag of a step, or per event."""

    def __init__(self, file: TextIO, streaming: Streaming, form: str) -> None:
        self._file = file
        self._streaming = streaming
        self._table = TEXT_FORMATS[form](file, EVENT_COLUMNS)

    def tags(self, onset_s: float, offset_s: float, tags: Sequence[Tag]) -> None:
        for tag in tags:
            self._table.write(tuple(self._streaming.row(onset_s, offset_s, *tag).values()))
        self._file.flush()

    def event(self, event: Event) -> None:
        row = self._streaming.row(event.onset_s, event.offset_s, event.label, event.probability)
        self._table.write(tuple(row.values()))
        self._file.flush()

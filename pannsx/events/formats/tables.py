"""Tables with a header: DESED's TSV, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from pannsx.events.event import Event
from pannsx.events.formats.recording import (
    CERTAIN,
    Recording,
    event,
    gathered,
    in_one_cell,
    probability,
    seconds,
)
from pannsx.events.formats.rows import table_rows
from pannsx.events.formats.selections import read_birdnet_csv
from pannsx.table import COLUMNS

DESED_HEADER = "filename\tonset\toffset\tevent_label\n"
CSV_HEADER = ",".join(COLUMNS) + "\n"


def desed_lines(recording: Recording) -> Iterator[str]:
    """One line per event; a recording without events has one line with only its name."""
    name = in_one_cell(recording.name, "file name")
    for each in recording.events:
        label = in_one_cell(each.label, "label")
        yield f"{name}\t{seconds(each.onset_s)}\t{seconds(each.offset_s)}\t{label}\n"
    if not recording.events:
        yield f"{name}\t\t\t\n"


def read_desed(text: str, source: str) -> list[Recording]:
    """Ground truth of DCASE and DESED: ``filename onset offset event_label``, with or without a header.

    A table with the columns of :func:`read_csv` is read too.
    """
    first = text.split("\n", 1)[0].rstrip("\r")
    if {"file", "onset_s"} <= set(first.split("\t")):
        return _house_table(text, source, "\t")
    if "filename" not in first.split("\t"):
        text = DESED_HEADER + text
    rows = table_rows(text, source, ("filename", "onset", "offset", "event_label"), "\t")

    def each() -> Iterator[tuple[str, Event | None]]:
        for where, row in rows:
            if not (row["onset"] or row["offset"] or row["event_label"]):
                yield row["filename"], None
            else:
                yield row["filename"], event(row["event_label"], row["onset"], row["offset"], where)

    return gathered(each())


def csv_lines(recording: Recording) -> Iterator[str]:
    """One line per event; a recording without events has one line with only its name."""
    for each in recording.events:
        times = seconds(each.onset_s), seconds(each.offset_s)
        mid = recording.mids.get(each.label, "")
        yield _csv_line(recording.name, *times, each.label, mid, probability(each.probability))
    if not recording.events:
        yield _csv_line(recording.name, *[""] * (len(COLUMNS) - 1))


def read_csv(text: str, source: str) -> list[Recording]:
    """A table with the columns ``file, onset_s, offset_s, label``, and optionally ``mid, probability``.

    BirdNET's results as CSV are read too.
    """
    birdnet = read_birdnet_csv(text, source)
    return _house_table(text, source, ",") if birdnet is None else birdnet


def _house_table(text: str, source: str, delimiter: str) -> list[Recording]:
    rows = list(table_rows(text, source, ("file", "onset_s", "offset_s", "label"), delimiter))

    def each() -> Iterator[tuple[str, Event | None]]:
        for where, row in rows:
            if not (row["onset_s"] or row["offset_s"] or row["label"]):
                yield row["file"], None
            else:
                likely = row.get("probability") or CERTAIN
                yield row["file"], event(row["label"], row["onset_s"], row["offset_s"], where, likely)

    return gathered(each(), mids={row["label"]: row["mid"] for _, row in rows if row.get("mid")})


def _csv_line(*cells: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()

"""Raven's selection tables, and the tables of BirdNET-Analyzer."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from pannsx.events.event import Event
from pannsx.events.formats.recording import (
    CERTAIN,
    Recording,
    base_name,
    event,
    gathered,
    in_one_cell,
    probability,
    seconds,
)
from pannsx.events.formats.rows import table_rows

_COLUMNS = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
    "Begin File", "Begin Path", "Annotation", "Score",
)  # fmt: skip
RAVEN_HEADER = "\t".join(_COLUMNS) + "\n"
_NEEDED = ("Selection", "Begin Time (s)", "End Time (s)")
_HIGHEST_HZ = 16_000.0  # selections have a frequency range, events do not: they get the full range
# The column of labels has no fixed name; "Common Name" and "Species Code" are BirdNET's.
_LABELS = ("Annotation", "Species", "Common Name", "Label", "Tags", "Species Code")
_SCORES = ("Score", "Confidence")
_NO_EVENT = "nocall"  # BirdNET's label in a row for a recording without events

# BirdNET's tables for spreadsheets and for R: file, onset, offset, label, probability.
_BIRDNET_CSV = (
    ("File", "Start (s)", "End (s)", "Common name", "Confidence"),
    ("filepath", "start", "end", "common_name", "confidence"),
)

# Endings that Raven and BirdNET add to the name of a recording.
_ENDINGS = re.compile(
    r"(\.Table\.\d+)?\.selections?\.txt$|(\.GPU)?\.BirdNET\.(selection\.table|results)\.(txt|csv)$",
    re.IGNORECASE,
)


def recording_of(source: str) -> str:
    """The name of the recording of a table, from that of its file: ``a.Table.1.selections.txt`` -> ``a``."""
    return _ENDINGS.sub("", source)


def is_raven(first_line: str) -> bool:
    """Whether a table is Raven's, by its header: Raven's and BirdNET's end in ``.txt``, like label tracks."""
    return set(_NEEDED) <= set(first_line.rstrip("\r\n").split("\t"))


def raven_lines(recording: Recording) -> Iterator[str]:
    """One selection per event, over all frequencies, numbered from 1."""
    path = in_one_cell(recording.name, "file name")
    for number, each in enumerate(recording.events, start=1):
        yield "\t".join(
            (
                str(number), "Spectrogram 1", "1", seconds(each.onset_s), seconds(each.offset_s), "0.0",
                str(_HIGHEST_HZ), base_name(path), path, in_one_cell(each.label, "label"),
                probability(each.probability),
            )
        ) + "\n"  # fmt: skip


def read_raven(text: str, source: str) -> list[Recording]:
    """A selection table of Raven or BirdNET; a selection listed once per view is taken once.

    The recording is that of ``Begin Path``, ``Begin File`` or the name of the table. A table of several
    recordings needs the column ``File Offset (s)``, the time within each.
    """
    rows = list(table_rows(text, source, _NEEDED, "\t"))
    header = next(csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE), [])
    column = next((name for name in _LABELS if name in header), None)
    if column is None:
        raise ValueError(f"{source}: a column of labels is needed: one of {', '.join(_LABELS)}")
    taken: dict[tuple[str, ...], tuple[str, Event | None]] = {}
    for where, row in rows:
        name = row.get("Begin Path") or row.get("Begin File") or recording_of(source)
        key = (row["Selection"], name, *(row[each] for each in (*_NEEDED, column)))
        if row[column].casefold() == _NO_EVENT:
            taken[key] = name, None
        else:
            taken.setdefault(key, (name, _selection(row, row[column], where)))
    several = len({name for name, _ in taken.values()}) > 1
    if several and not all(row.get("File Offset (s)") for _, row in rows):
        raise ValueError(
            f"{source} covers several files in sequence, with times from the start of the first; "
            "export one table per file, or add Raven's column File Offset (s)"
        )
    return gathered(taken.values()) or [Recording(recording_of(source), [])]


def read_birdnet_csv(text: str, source: str) -> list[Recording] | None:
    """BirdNET's results as CSV, or None for another table."""
    header = next(csv.reader(io.StringIO(text)), [])
    columns = next((each for each in _BIRDNET_CSV if set(each[1:]) <= set(header)), None)
    if columns is None:
        return None
    file, onset, offset, label, likely = columns
    found: list[tuple[str, Event | None]] = []
    for where, row in table_rows(text, source, (onset, offset, label), ","):
        name = row.get(file) or recording_of(source)
        is_event = row[label].casefold() != _NO_EVENT
        found.append(
            (name, event(row[label], row[onset], row[offset], where, row[likely]) if is_event else None)
        )
    return gathered(found) or [Recording(recording_of(source), [])]


def _selection(row: dict[str, str], label: str, where: str) -> Event:
    likely = next((row[name] for name in _SCORES if row.get(name)), CERTAIN)
    found = event(label, row["Begin Time (s)"], row["End Time (s)"], where, likely)
    if not row.get("File Offset (s)"):
        return found
    length_s = found.offset_s - found.onset_s
    within = event(label, row["File Offset (s)"], row["File Offset (s)"], where, likely)
    return within._replace(offset_s=within.onset_s + length_s)

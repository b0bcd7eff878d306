"""Tables with a header: DESED's TSV, Raven's selection table, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

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
from pannsx.table import COLUMNS

DESED_HEADER = "filename\tonset\toffset\tevent_label\n"
CSV_HEADER = ",".join(COLUMNS) + "\n"
_RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
    "Begin File", "Annotation", "Score",
)  # fmt: skip
RAVEN_HEADER = "\t".join(_RAVEN) + "\n"
_RAVEN_HIGHEST_HZ = 16_000.0  # selections have a frequency range, events do not: they get the full range
_RAVEN_LABELS = ("Annotation", "Species", "Label", "Tags")  # the column of labels has no fixed name


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
    rows = _rows(text, source, ("filename", "onset", "offset", "event_label"), "\t")

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
    """A table with the columns ``file, onset_s, offset_s, label``, and optionally ``mid, probability``."""
    return _house_table(text, source, ",")


def _house_table(text: str, source: str, delimiter: str) -> list[Recording]:
    rows = list(_rows(text, source, ("file", "onset_s", "offset_s", "label"), delimiter))

    def each() -> Iterator[tuple[str, Event | None]]:
        for where, row in rows:
            if not (row["onset_s"] or row["offset_s"] or row["label"]):
                yield row["file"], None
            else:
                likely = row.get("probability") or CERTAIN
                yield row["file"], event(row["label"], row["onset_s"], row["offset_s"], where, likely)

    return gathered(each(), mids={row["label"]: row["mid"] for _, row in rows if row.get("mid")})


def raven_lines(recording: Recording) -> Iterator[str]:
    """One selection per event, over all frequencies, numbered from 1."""
    name = in_one_cell(recording.name, "file name")
    for number, each in enumerate(recording.events, start=1):
        yield "\t".join(
            (
                str(number), "Spectrogram 1", "1", seconds(each.onset_s), seconds(each.offset_s), "0.0",
                str(_RAVEN_HIGHEST_HZ), name, in_one_cell(each.label, "label"), probability(each.probability),
            )
        ) + "\n"  # fmt: skip


def read_raven(text: str, source: str) -> list[Recording]:
    """A selection table of one sound; a selection listed once per view is taken once."""
    rows = list(_rows(text, source, ("Selection", "Begin Time (s)", "End Time (s)"), "\t"))
    header = next(csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE), [])
    column = next((name for name in _RAVEN_LABELS if name in header), None)
    if column is None:
        raise ValueError(f"{source}: a column of labels is needed: one of {', '.join(_RAVEN_LABELS)}")
    taken: dict[str, tuple[str, Event]] = {}
    for where, row in rows:
        name = row.get("Begin File") or source
        likely = row.get("Score") or CERTAIN
        found = event(row[column], row["Begin Time (s)"], row["End Time (s)"], where, likely)
        taken.setdefault(row["Selection"], (name, found))
    if len({name for name, _ in taken.values()}) > 1:
        raise ValueError(
            f"{source} covers several files in sequence, with times from the start of the first; "
            "export one table per file"
        )
    return gathered(taken.values()) or [Recording(source, [])]


def _rows(
    text: str, source: str, needed: Sequence[str], delimiter: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """File and line of each row, and its cells by column, stripped of white space."""
    file = io.StringIO(text)
    if delimiter == ",":
        reader = csv.DictReader(file)
    else:  # no quoting: a quotation mark is an ordinary character
        reader = csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f"{source}: the header is {list(reader.fieldnames or ())}; {', '.join(missing)} missing"
        )

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        for row in reader:
            where = f"{source}, line {reader.line_num}"
            if None in row:
                raise ValueError(f"{where}: more cells than the header has columns")
            if row[needed[0]] is None or not row[needed[0]].strip():
                raise ValueError(f"{where}: the column {needed[0]!r} is empty")
            yield where, {name: (cell or "").strip() for name, cell in row.items()}

    return rows()


def _csv_line(*cells: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()

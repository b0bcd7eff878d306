"""Tables with a header: DESED's TSV, Raven's selection table, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from pannsx.events.detector import Event
from pannsx.events.formats.recording import (
    CERTAIN,
    Recording,
    event,
    gathered,
    in_one_cell,
    probability,
    seconds,
)

DESED_HEADER = "filename\tonset\toffset\tevent_label\n"
CSV_HEADER = "file,onset_s,offset_s,label,probability\n"
_RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
    "Begin File", "Annotation", "Score",
)  # fmt: skip
RAVEN_HEADER = "\t".join(_RAVEN) + "\n"
_RAVEN_HIGHEST_HZ = 16_000.0  # selections have two frequencies; events have none, so they take it all
_RAVEN_LABELS = ("Annotation", "Species", "Label", "Tags")  # a column of labels has no fixed name


def desed_lines(recording: Recording) -> Iterator[str]:
    """A line an event; a recording without one has a line with its name alone."""
    name = in_one_cell(recording.name, "file name")
    for each in recording.events:
        label = in_one_cell(each.label, "label")
        yield f"{name}\t{seconds(each.onset_s)}\t{seconds(each.offset_s)}\t{label}\n"
    if not recording.events:
        yield f"{name}\t\t\t\n"


def read_desed(text: str, source: str) -> list[Recording]:
    """Truth of DCASE and DESED: ``filename onset offset event_label``, with or without a header."""
    first = text.split("\n", 1)[0].rstrip("\r")
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
    """A line an event; a recording without one has a line with its name alone."""
    for each in recording.events:
        times = seconds(each.onset_s), seconds(each.offset_s)
        yield _csv_line(recording.name, *times, each.label, probability(each.probability))
    if not recording.events:
        yield _csv_line(recording.name, "", "", "", "")


def read_csv(text: str, source: str) -> list[Recording]:
    """A table with the columns ``file, onset_s, offset_s, label``, and ``probability`` if it has one."""
    rows = _rows(text, source, ("file", "onset_s", "offset_s", "label"), ",")

    def each() -> Iterator[tuple[str, Event | None]]:
        for where, row in rows:
            if not (row["onset_s"] or row["offset_s"] or row["label"]):
                yield row["file"], None
            else:
                likely = row.get("probability") or CERTAIN
                yield row["file"], event(row["label"], row["onset_s"], row["offset_s"], where, likely)

    return gathered(each())


def raven_lines(recording: Recording) -> Iterator[str]:
    """A selection an event, over all frequencies, numbered from 1."""
    name = in_one_cell(recording.name, "file name")
    for number, each in enumerate(recording.events, start=1):
        yield "\t".join(
            (
                str(number), "Spectrogram 1", "1", seconds(each.onset_s), seconds(each.offset_s), "0.0",
                str(_RAVEN_HIGHEST_HZ), name, in_one_cell(each.label, "label"), probability(each.probability),
            )
        ) + "\n"  # fmt: skip


def read_raven(text: str, source: str) -> list[Recording]:
    """A selection table of one sound; of a selection that is listed once for each view, one is taken."""
    rows = list(_rows(text, source, ("Selection", "Begin Time (s)", "End Time (s)"), "\t"))
    header = next(csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE), [])
    column = next((name for name in _RAVEN_LABELS if name in header), None)
    if column is None:
        raise ValueError(
            f"{source}: none of the columns {', '.join(_RAVEN_LABELS)}, which hold labels, is there"
        )
    taken: dict[str, tuple[str, Event]] = {}
    for where, row in rows:
        name = row.get("Begin File") or source
        likely = row.get("Score") or CERTAIN
        found = event(row[column], row["Begin Time (s)"], row["End Time (s)"], where, likely)
        taken.setdefault(row["Selection"], (name, found))
    if len({name for name, _ in taken.values()}) > 1:
        raise ValueError(
            f"{source} is of several files in a row, whose times count from the first; export a table a file"
        )
    return gathered(taken.values()) or [Recording(source, [])]


def _rows(
    text: str, source: str, needed: Sequence[str], delimiter: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Where a row stands, and its cells by column, without white space around them."""
    file = io.StringIO(text)
    if delimiter == ",":
        reader = csv.DictReader(file)
    else:  # where a quotation mark is a character as any other
        reader = csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f"{source}: the header is {list(reader.fieldnames or ())}; it lacks {', '.join(missing)}"
        )

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        for row in reader:
            where = f"{source}, line {reader.line_num}"
            if None in row:
                raise ValueError(f"{where}: more cells than the header has columns")
            if row[needed[0]] is None or not row[needed[0]].strip():
                raise ValueError(f"{where}: nothing stands in the column {needed[0]!r}")
            yield where, {name: (cell or "").strip() for name, cell in row.items()}

    return rows()


def _csv_line(*cells: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()

"""Weak labels, the classes of a recording without times, in DESED's tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from pannsx.labels import LabelSet
from pannsx.types import PathLike

HEADER = ("filename", "event_labels")


def are_weak(path: PathLike) -> bool:
    """Whether a file begins with the header of such a table.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        first = file.readline().decode("utf-8-sig", "replace")
    return set(HEADER) <= set(first.rstrip("\r\n").split("\t"))


def read_weak_labels(path: PathLike, labels: LabelSet) -> dict[str, tuple[str, ...]]:
    """The labels of each recording, from a table ``filename event_labels`` with commas between labels.

    A label with a comma is written as its id.

    Raises:
        OSError: the file cannot be read.
        ValueError: not such a table, an unknown label, or a repeated recording.
    """
    path = Path(path)
    rows = csv.DictReader(
        io.StringIO(path.read_text(encoding="utf-8-sig")), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    if not set(HEADER) <= set(rows.fieldnames or ()):
        raise ValueError(f"{path}: the header is {rows.fieldnames}; {' and '.join(HEADER)} are needed")
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        name, cell = row["filename"], (row["event_labels"] or "").strip()
        if name in found:
            raise ValueError(
                f"{path}, line {rows.line_num}: {name!r} is repeated; one line per recording is needed"
            )
        try:
            found[name] = _labels(cell, labels)
        except ValueError as error:
            raise ValueError(f"{path}, line {rows.line_num}: {error}") from error
    return found


def _labels(cell: str, labels: LabelSet) -> tuple[str, ...]:
    if not cell:
        return ()
    try:
        return (labels[labels.index(cell)],)  # one label, possibly with a comma
    except ValueError:
        names = [name.strip() for name in cell.split(",")]
        return tuple(labels[labels.index(name.replace("_", " "))] for name in names)

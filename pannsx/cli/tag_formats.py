"""Tags as a table for people, or as JSON or CSV for programs, written file by file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from pannsx.results import Tag

_BAR_CELLS = 20
_DIGITS = 6  # significant digits; beyond them, float32 networks differ from machine to machine


class TagWriter(Protocol):
    """Takes the tags of one file after another."""

    def write(self, name: str, duration_s: float, tags: Sequence[Tag]) -> None:
        """One file's tags."""

    def close(self) -> None:
        """There are no more files."""


class TableWriter:
    """One paragraph per file: name and length, then a line for each tag with its probability and a bar."""

    def __init__(self, file: TextIO, model: str, threshold: float) -> None:
        self._file = file
        self._threshold = threshold
        self._between = ""
        self._block = "█" if _can_print("█", file) else "#"

    def write(self, name: str, duration_s: float, tags: Sequence[Tag]) -> None:
        """The file's paragraph."""
        print(f"{self._between}{name}  ({duration_s:.1f} s)", file=self._file)
        self._between = "\n"
        if not tags:
            print(f"  no tag reaches {self._threshold:g}", file=self._file)
        for tag in tags:
            bar = (self._block * round(tag.probability * _BAR_CELLS)).ljust(_BAR_CELLS)
            print(f"  {tag.probability:.3f}  {bar}  {tag.label}", file=self._file)

    def close(self) -> None:
        """Nothing is left to write."""


class JsonWriter:
    """A JSON array with one object per file and line: ``file, duration_s, model, tags``."""

    def __init__(self, file: TextIO, model: str, threshold: float) -> None:
        self._file = file
        self._model = model
        self._before = "[\n"

    def write(self, name: str, duration_s: float, tags: Sequence[Tag]) -> None:
        """The file's object."""
        answer = {
            "file": name,
            "duration_s": duration_s,
            "model": self._model,
            "tags": [{"label": tag.label, "probability": float(_digits(tag.probability))} for tag in tags],
        }
        self._file.write(self._before + json.dumps(answer))
        self._before = ",\n"

    def close(self) -> None:
        """End the array; it is empty if no file could be read."""
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")


class CsvWriter:
    """One line per tag, under the header ``file,rank,label,probability``; rank 1 is the most probable."""

    def __init__(self, file: TextIO, model: str, threshold: float) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(["file", "rank", "label", "probability"])

    def write(self, name: str, duration_s: float, tags: Sequence[Tag]) -> None:
        """The file's lines."""
        for rank, tag in enumerate(tags, start=1):
            self._rows.writerow([name, rank, tag.label, _digits(tag.probability)])

    def close(self) -> None:
        """Nothing is left to write."""


WRITERS: dict[str, Callable[[TextIO, str, float], TagWriter]] = {
    "table": TableWriter,
    "json": JsonWriter,
    "csv": CsvWriter,
}


def _digits(probability: float) -> str:
    return f"{probability:.{_DIGITS}g}"


def _can_print(text: str, file: TextIO) -> bool:
    try:
        text.encode(file.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

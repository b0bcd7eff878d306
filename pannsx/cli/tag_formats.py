"""Tags file by file: a text for people, JSON with an object per file, or a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TextIO

from pannsx.cli.class_options import in_tree
from pannsx.cli.colours import coloured
from pannsx.cli.output import Output, table_output, text_output
from pannsx.readable import duration
from pannsx.table_files import EVENT_COLUMNS, Column, JsonWriter, TableWriter, plain

if TYPE_CHECKING:
    from pannsx.results import Tag, TaggingResult

_BAR_CELLS = 20
_PROBABILITY = Column("probability", "probability")
_NESTED = ("json", "jsonl")


class Tagging(NamedTuple):
    """Facts shared by all files.

    Attributes:
        model: name of the checkpoint.
        threshold: least probability of a tag.
        labels: the labels asked for.
        mids: machine ids by label.
        window_s: length of a window of long files.
        is_grouped: whether tags are arranged as in AudioSet's tree.
        start_s: start of the part that is read.
    """

    model: str
    threshold: float
    labels: Sequence[str]
    mids: dict[str, str]
    window_s: float
    is_grouped: bool
    start_s: float


class TaskTags(NamedTuple):
    """A further task of the network: its name, its result for a file, and the tags to write."""

    name: str
    result: TaggingResult
    tags: Sequence[Tag]


def qualified(task: str, label: str) -> str:
    """The label of a further task in a table."""
    return f"{task}/{label}"


class TagWriter(Protocol):
    """Takes the tags of one file after another."""

    def write(self, name: str, result: TaggingResult, tags: Sequence[Tag], tasks: Sequence[TaskTags]) -> None:
        """One file's tags, and those of further tasks."""


@contextmanager
def tag_writer(output: Output, tagging: Tagging, *, wide: bool) -> Iterator[TagWriter]:
    """The writer of an output; with ``wide`` a table with a row for each file and a column for each label."""
    if wide:
        labels = [Column(label, "probability", tagging.mids.get(label, "")) for label in tagging.labels]
        with table_output(output, [EVENT_COLUMNS[0], *labels]) as table:
            yield _WideWriter(table)
    elif output.form in _NESTED:
        with table_output(output, ()) as table:
            if not isinstance(table, JsonWriter):
                raise TypeError(f"{output.form} is written by {type(table).__name__}, not as objects")
            yield _ObjectWriter(table, tagging)
    elif output.form == "table":
        with text_output(output) as file:
            yield _TextWriter(file, tagging)
    else:
        with table_output(output, EVENT_COLUMNS) as table:
            yield _RowWriter(table, tagging)


class _TextWriter:
    """One paragraph per file: name and length, then a line for each tag with its probability and a bar.

    For a long file, the greatest probability of a window stands beside the mean. Further tasks follow, each
    under its name.
    """

    def __init__(self, file: TextIO, tagging: Tagging) -> None:
        self._file = file
        self._tagging = tagging
        self._between = ""
        self._block = "█" if _can_print("█", file) else "#"

    def write(self, name: str, result: TaggingResult, tags: Sequence[Tag], tasks: Sequence[TaskTags]) -> None:
        """The file's paragraph."""
        heading = coloured(name, "bold", self._file)
        print(f"{self._between}{heading}  ({duration(result.duration_s)})", file=self._file)
        self._between = "\n"
        if not tags and not any(task.tags for task in tasks):
            print(f"  no tag reaches {self._tagging.threshold:g}", file=self._file)
        elif result.clipwise_max is not None:
            print(f"   mean    max  of windows of {self._tagging.window_s:g} s", file=self._file)
        by_label = {tag.label: tag for tag in tags}
        lines = in_tree(by_label) if self._tagging.is_grouped else zip(by_label, by_label, strict=True)
        for label, text in lines:
            print(self._figures(result, by_label[label] if label else None) + text, file=self._file)
        for task in tasks:
            if task.tags:
                print(f"  {coloured(task.name, 'bold', self._file)}", file=self._file)
            for tag in task.tags:
                print(self._figures(task.result, tag) + tag.label, file=self._file)

    def _figures(self, result: TaggingResult, tag: Tag | None) -> str:
        """The numbers and the bar before a tag's label; before a heading of the tree, as many spaces."""
        if tag is None:
            n_numbers = 1 if result.clipwise_max is None else 2
            return " " * (n_numbers * len("  0.000") + len("  ") + _BAR_CELLS + len("  "))
        bar = (self._block * round(tag.probability * _BAR_CELLS)).ljust(_BAR_CELLS)
        greatest = _greatest(result, tag)
        beside = "" if greatest is None else f"  {greatest:.3f}"
        return f"  {tag.probability:.3f}{beside}  {coloured(bar, 'cyan', self._file)}  "


class _ObjectWriter:
    """An object per file, ``file, duration_s, model, tags``, with ``label, mid, probability`` of each tag.

    In a file of several windows a tag also has ``max``, the greatest probability of a window. With further
    tasks there is ``tasks``, with the tags of each by its name.
    """

    def __init__(self, table: JsonWriter, tagging: Tagging) -> None:
        self._table = table
        self._tagging = tagging

    def write(self, name: str, result: TaggingResult, tags: Sequence[Tag], tasks: Sequence[TaskTags]) -> None:
        """The file's object."""
        content: dict[str, Any] = {
            "file": name,
            "duration_s": result.duration_s,
            "model": self._tagging.model,
            "tags": [self._tag(result, tag, self._tagging.mids) for tag in tags],
        }
        if tasks:
            content["tasks"] = {
                task.name: [self._tag(task.result, tag, task.result.grid.mids()) for tag in task.tags]
                for task in tasks
            }
        self._table.write_object(content)

    def _tag(self, result: TaggingResult, tag: Tag, mids: dict[str, str]) -> dict[str, Any]:
        found = {
            "label": tag.label,
            "mid": mids.get(tag.label),
            "probability": plain(_PROBABILITY, tag.probability),
        }
        greatest = _greatest(result, tag)
        return found if greatest is None else {**found, "max": plain(_PROBABILITY, greatest)}


class _RowWriter:
    """A row per tag, the most probable of a file first; for a file without tags a row with its name.

    Those of further tasks follow, as ``TASK/LABEL``.
    """

    def __init__(self, table: TableWriter, tagging: Tagging) -> None:
        self._table = table
        self._tagging = tagging

    def write(self, name: str, result: TaggingResult, tags: Sequence[Tag], tasks: Sequence[TaskTags]) -> None:
        """The file's rows."""
        start_s = self._tagging.start_s
        times = start_s, start_s + result.duration_s
        for tag in tags:
            mid = self._tagging.mids.get(tag.label)
            self._table.write((name, *times, tag.label, mid, tag.probability))
        for task in tasks:
            mids = task.result.grid.mids()
            for tag in task.tags:
                label = qualified(task.name, tag.label)
                self._table.write((name, *times, label, mids.get(tag.label), tag.probability))
        if not tags and not any(task.tags for task in tasks):
            self._table.write((name, *times, None, None, None))


class _WideWriter:
    """A row per file, with the probability of every label, or of those that are among its tags."""

    def __init__(self, table: TableWriter) -> None:
        self._table = table

    def write(self, name: str, result: TaggingResult, tags: Sequence[Tag], tasks: Sequence[TaskTags]) -> None:
        """The file's row."""
        likely: dict[str, float] = dict(tags)
        for task in tasks:
            likely |= {qualified(task.name, tag.label): tag.probability for tag in task.tags}
        self._table.write((name, *(likely.get(column.name) for column in self._table.columns[1:])))


def _greatest(result: TaggingResult, tag: Tag) -> float | None:
    """The greatest probability of the tag in a window; None for a file of one window."""
    if result.clipwise_max is None:
        return None
    return float(result.clipwise_max[result.labels.index(tag.label)])


def _can_print(text: str, file: TextIO) -> bool:
    try:
        text.encode(file.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

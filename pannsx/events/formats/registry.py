"""The formats by name and file extension, and the functions to write and read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pannsx.atomic import replacing
from pannsx.errors import did_you_mean, printable
from pannsx.events.event import Event
from pannsx.events.event_list import EventList
from pannsx.events.formats import binary_tables
from pannsx.events.formats.binary_tables import read_binary_table, write_binary_table
from pannsx.events.formats.jams import jams_lines, read_jams
from pannsx.events.formats.lines import (
    audacity_lines,
    json_lines,
    json_object,
    read_audacity,
    read_json,
    read_json_lines,
    read_rttm,
    rttm_lines,
)
from pannsx.events.formats.recording import Recording
from pannsx.events.formats.selections import RAVEN_HEADER, is_raven, raven_lines, read_raven, recording_of
from pannsx.events.formats.tables import (
    CSV_HEADER,
    DESED_HEADER,
    csv_lines,
    desed_lines,
    read_csv,
    read_desed,
)
from pannsx.types import PathLike


@dataclass(frozen=True, slots=True)
class Format:
    """A text format: a header, and lines for each recording.

    Attributes:
        name: its name.
        suffix: extension of its files.
        one_each: whether a file holds only one recording.
        header: first lines of a file.
        lines: recording -> lines of text.
        read: text and its source -> recordings.
        between, footer: text between two recordings, and last lines of a file.
    """

    name: str
    suffix: str
    one_each: bool
    header: str
    lines: Callable[[Recording], Iterator[str]]
    read: Callable[[str, str], list[Recording]]
    between: str = ""
    footer: str = ""

    def text(self, recordings: Iterable[Recording]) -> Iterator[str]:
        """A whole file, piece by piece."""
        yield self.header
        for number, recording in enumerate(recordings):
            yield self.between if number else ""
            yield from self.lines(recording)
        yield self.footer


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format("tsv", ".tsv", False, DESED_HEADER, desed_lines, read_desed),
        Format("csv", ".csv", False, CSV_HEADER, csv_lines, read_csv),
        Format("json", ".json", False, "[\n", json_object, read_json, ",\n", "\n]\n"),
        Format("jsonl", ".jsonl", False, "", json_lines, read_json_lines),
        Format("rttm", ".rttm", False, "", rttm_lines, read_rttm),
        Format("audacity", ".txt", True, "", audacity_lines, read_audacity),
        Format("raven", ".selections.txt", True, RAVEN_HEADER, raven_lines, read_raven),
        Format("jams", ".jams", True, "", jams_lines, read_jams),
    )
}
"""Text formats by name; those of :mod:`pannsx.events.formats.binary_tables` are handled separately."""

NAMES = (*FORMATS, *binary_tables.NAMES)

_BIRDNET_SUMMARIES = "BirdNET_"  # begins the names of files that repeat or explain those of single recordings


def format_of(path: PathLike) -> str:
    """The name of the format with a file's extension.

    Raises:
        ValueError: an unknown extension.
    """
    name = Path(path).name.lower()
    endings = {suffix_of(each): each for each in NAMES}
    for suffix in sorted(endings, key=len, reverse=True):  # .selections.txt before .txt
        if name.endswith(suffix):
            return endings[suffix]
    raise ValueError(
        f"{str(path)!r} has none of the extensions {', '.join(endings)}; give the format: {', '.join(NAMES)}"
    )


def suffix_of(name: str) -> str:
    """The extension of a format's files.

    Raises:
        ValueError: an unknown format.
    """
    name = _known(name)
    return FORMATS[name].suffix if name in FORMATS else f".{name}"


def check_representable(recording: Recording, name: str) -> None:
    """Check that a text format can hold a recording's name and labels; other formats hold all.

    Raises:
        ValueError: a tab or a line break where the format has no way to write one.
    """
    if name in FORMATS:
        for _ in FORMATS[name].lines(recording):
            pass


def write_events(recordings: Iterable[Recording], path: PathLike, format: str | None = None) -> list[Path]:
    """Write recordings with their events, atomically.

    Args:
        recordings: recordings to write.
        path: a file. In a format with one recording per file, several recordings need a folder instead, in
            which every file is named after its recording.
        format: one of ``tsv`` (DESED, DCASE), ``csv``, ``json``, ``jsonl``, ``rttm``, ``audacity``,
            ``raven``, ``jams``, ``parquet`` and ``xlsx``; None: by the extension of ``path``.

    Returns:
        the files written.

    Raises:
        ValueError: an unknown format, several recordings for a file that holds one, or names or labels that
            the format cannot represent.
        OSError: a file cannot be written.
    """
    path = Path(path)
    recordings = [replace(each, name=printable(each.name)) for each in recordings]
    name = _known(format) if format is not None else format_of(path)
    if name not in FORMATS:
        with replacing(path) as temporary:
            write_binary_table(recordings, temporary, name)
        return [path]
    kind = FORMATS[name]
    if not kind.one_each or (len(recordings) == 1 and not path.is_dir()):
        _write(kind, recordings, path)
        return [path]
    if path.suffix and not path.is_dir():
        raise ValueError(
            f"{len(recordings)} recordings cannot be written to {str(path)!r}, as a file of {kind.name} "
            "holds one; give a folder"
        )
    places: dict[Path, Recording] = {}
    for recording in recordings:
        place = path / (recording.stem + kind.suffix)
        if place in places:
            raise ValueError(
                f"{places[place].name!r} and {recording.name!r} would both be written to {place}; "
                "rename one, or write them to different folders"
            )
        places[place] = recording
    for place, recording in places.items():
        _write(kind, [recording], place)
    return list(places)


def read_events(
    path: PathLike, format: str | None = None, *, labels: Sequence[str] | None = None
) -> list[Recording]:
    """Read recordings with their events.

    Args:
        path: a file; in a format without names, its recording is named after the file. Or a folder of files
            with one recording each: label tracks, selection tables of Raven or BirdNET, JAMS.
        format: as in :func:`write_events`; None: by the extension, and for ``.txt`` by the header.
        labels: correct spelling of the labels; those of the file may differ in case, or have ``_`` for a
            space.

    Raises:
        OSError: the file cannot be read.
        ValueError: not this format, invalid values, or a label that is not in ``labels``.
    """
    path = Path(path)
    name = None if format is None else _known(format)
    found = _read_folder(path, name) if path.is_dir() else _read_file(path, name or format_of(path))
    if labels is None:
        return found
    spelled = {_folded(label): label for label in labels}

    def known(event: Event) -> Event:
        label = spelled.get(_folded(event.label))
        if label is None:
            raise ValueError(
                f"{path}: unknown label {event.label!r} among {len(labels)} labels"
                f"{did_you_mean(event.label, labels)}"
            )
        return event._replace(label=label)

    return [
        replace(each, events=EventList(map(known, each.events), file=each.name, mids=each.mids))
        for each in found
    ]


def _read_file(path: Path, name: str) -> list[Recording]:
    if name not in FORMATS:
        return read_binary_table(path, name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    if name == "audacity" and is_raven(text.split("\n", 1)[0]):
        name = "raven"
    return FORMATS[name].read(text, path.name)


def _read_folder(folder: Path, name: str | None) -> list[Recording]:
    """The recordings of all files below a folder that describe one each."""
    found: dict[str, tuple[Recording, Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith((".", _BIRDNET_SUMMARIES)) or not path.is_file():
            continue
        form = _form_of_one(path)
        if form is None or (name is not None and name != form):
            continue
        for recording in _read_file(path, form):
            if recording.name in found:
                raise ValueError(
                    f"{recording.name} is described by both {found[recording.name][1]} and {path}; keep one "
                    "of them in the folder, or give the format"
                )
            found[recording.name] = recording, path
    if not found:
        raise ValueError(
            f"{folder} holds no files of one recording each: label tracks or selection tables (.txt), .jams"
        )
    return [recording for recording, _ in found.values()]


def _form_of_one(path: Path) -> str | None:
    """The format of a file that describes one recording, or None."""
    if recording_of(path.name) != path.name and path.suffix.lower() == ".csv":
        return "csv"  # BirdNET's results
    try:
        form = format_of(path)
    except ValueError:
        return None
    if form == "audacity":
        with path.open("rb") as file:
            is_table = is_raven(file.readline().decode("utf-8-sig", "replace"))
        return "raven" if is_table else form
    return form if form in FORMATS and FORMATS[form].one_each else None


def _write(kind: Format, recordings: Sequence[Recording], path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(kind.text(recordings))


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(
            f"unknown format {name!r}{did_you_mean(name, NAMES)}; the known ones are {', '.join(NAMES)}"
        )
    return name


def _folded(label: str) -> str:
    return label.casefold().replace("_", " ")

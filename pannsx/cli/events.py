"""``pannsx events``: sound events of each file, with onset and offset."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pannsx.cli.class_options import check_group, in_tree
from pannsx.cli.colours import coloured
from pannsx.cli.console import FAILED, CommandError, remark
from pannsx.cli.event_journal import journal_path, open_journal
from pannsx.cli.event_options import add_event_options, settings_of, thresholds_in_words
from pannsx.cli.options import (
    add_files,
    add_model_options,
    add_selection_options,
    add_verbosity,
    build,
    new_command,
    selection_of,
)
from pannsx.cli.outcome import Outcome
from pannsx.cli.parser import Commands
from pannsx.cli.progress import Progress
from pannsx.corpus.inputs import Item, find_inputs
from pannsx.corpus.outputs import OutputError, check_output, check_outputs, output_files
from pannsx.errors import AudioError
from pannsx.readable import CLOCK_FROM_S, clock, duration
from pannsx.table_files import BINARY_FORMATS, check_library
from pannsx.weights.manifest import labels_of

if TYPE_CHECKING:
    from pannsx.corpus.recordings import RecordingReader
    from pannsx.events import Event, EventDetector
    from pannsx.events.formats import Recording
    from pannsx.inference.fine_frames import FrameReader
    from pannsx.tagger import AudioTagger

FORMAT_NAMES = (
    "table", "tsv", "csv", "json", "jsonl", "rttm", "audacity", "raven", "jams", "parquet", "xlsx",
)  # fmt: skip
_BEFORE_TEXT = 34  # columns of an event's times and probability in the table

_DESCRIPTION = """\
Finds the sound events of each file, with onset and offset.

Without --output, a table goes to standard output. With it, the extension selects the format:
  .csv .parquet .xlsx  file, onset_s, offset_s, label, mid, probability; also duration_s in the last two
  .tsv             filename, onset, offset, event_label: the table of DESED and DCASE
  .json .jsonl     one object per file
  .rttm            as pyannote and NIST's tools read it; _ replaces spaces
  .txt             an Audacity label track
  .selections.txt  a Raven selection table
  .jams            JAMS
The last three hold one recording per file; for several recordings, give a folder as --output, and
--format. With --keep-folders, each recording has a file of its own in any format, in folders like
those of the recordings.

Memory does not grow with the length of a recording. With --output, finished work is saved in
OUT.journal; after an interruption, the same command resumes there. The journal knows a file by path,
size, modification time and a digest of its content: a file that has changed is done again. OUT
itself is written when everything is done, always complete. A file that cannot be read is reported on
standard error and left out; the exit status is then 1, and the journal stays, so that the same
command tries only such files again."""

_EXAMPLES = """\
  pannsx events street.mp3
  pannsx events night.flac --class 'all birds' --class Dog --threshold 0.3 -o night.txt
  pannsx events street.mp3 --leaves --group
  pannsx events recordings/ --hop 0.04 --off 0.2 --gap 0.3 --shortest 0.1 -o events.tsv
  pannsx events clips/*.wav --format audacity -o labels/
  pannsx events site1/ site2/ --format raven -o tables/ --keep-folders"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``events`` to the parser."""
    parser = new_command(
        commands,
        "events",
        run,
        summary="find sound events with onset and offset",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    add_files(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="file or folder to write; missing folders are created",
    )
    parser.add_argument(
        "--format",
        choices=FORMAT_NAMES,
        help="output format (default: by the extension of OUT; table without OUT)",
    )
    parser.add_argument(
        "--keep-folders",
        action="store_true",
        help="a file for each recording, in folders like those of the recordings; OUT is then a folder",
    )
    parser.add_argument(
        "--digest",
        choices=("parts", "full"),
        default="parts",
        help="how a resumed run recognises a file, besides path, size and modification time: by a digest of "
        "its head, middle and tail, or of all of it (default: parts)",
    )
    add_verbosity(parser)
    add_event_options(parser)
    add_selection_options(parser)
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Find the events in the files; returns the exit status."""
    inputs = find_inputs(arguments.files)
    outcome = Outcome(inputs, "analysed", quiet=arguments.quiet)
    if not inputs.items:
        return outcome.close()
    form = _format(arguments)
    check_group(arguments, form)
    files = _output_files(arguments, form, inputs.items)

    from pannsx.corpus.recordings import RecordingReader
    from pannsx.events import EventDetector
    from pannsx.inference.fine_frames import FrameReader
    from pannsx.tagger import AudioTagger

    tagger = build(AudioTagger, arguments)
    settings = settings_of(arguments, tagger)
    try:
        reader = FrameReader(tagger, arguments.hop)
    except ValueError as error:
        raise CommandError(str(error)) from error
    detector = EventDetector(labels_of(tagger.record), reader.hop_s, settings, offset_s=reader.offset_s)
    if (thresholds := thresholds_in_words(arguments, tagger)) and not arguments.quiet:
        remark(thresholds)
    items = _representable(inputs.items, form, detector.labels, outcome)
    if arguments.output is None:
        recordings = RecordingReader(
            reader, detector, leaves=arguments.leaves, selection=selection_of(arguments)
        )
        _print(items, recordings, form, outcome, arguments)
        return outcome.close()
    return _write(items, reader, detector, form, files, tagger, outcome, arguments)


def _format(arguments: argparse.Namespace) -> str:
    """The name of the format; CommandError for one that does not suit the output."""
    from pannsx.events.formats import format_of

    form: str | None = arguments.format
    output: Path | None = arguments.output
    try:
        form = form or ("table" if output is None else format_of(output))
    except ValueError as error:
        raise CommandError(str(error)) from error
    if output is not None and form == "table":
        raise CommandError(
            "the table format goes to standard output only; choose another --format for --output"
        )
    if output is None and form in BINARY_FORMATS:
        raise CommandError(f"{form} is a binary format; name a file with --output")
    try:
        check_library(form)
    except ValueError as error:
        raise CommandError(str(error), FAILED) from error
    if output is None and arguments.keep_folders:
        raise CommandError("--keep-folders is for files in a folder; name the folder with --output")
    return form


def _output_files(arguments: argparse.Namespace, form: str, items: list[Item]) -> dict[Item, Path] | None:
    """The file of each item, or None if all are written to one; CommandError if one cannot be written."""
    from pannsx.events.formats import FORMATS, suffix_of

    output: Path | None = arguments.output
    one_each = form in FORMATS and FORMATS[form].one_each
    several = one_each and len(items) > 1
    if several and (output is None or (output.suffix and not output.is_dir())):
        raise CommandError(
            f"the format {form} is a file for each recording; name a folder with --output for {len(items)}"
        )
    if output is None:
        return None
    try:
        check_output(journal_path(output), [])
        if not (several or arguments.keep_folders or (one_each and output.is_dir())):
            check_output(output, items)
            return None
        files = output_files(items, output, suffix_of(form), keep_folders=arguments.keep_folders)
        check_outputs(files, output)
    except OutputError as error:
        raise CommandError(str(error), FAILED) from error
    return files


def _representable(items: list[Item], form: str, labels: Sequence[str], outcome: Outcome) -> list[Item]:
    """The items whose names the format can hold; others have failed. CommandError for an impossible label."""
    from pannsx.events import Event
    from pannsx.events.formats import Recording, check_representable

    try:
        check_representable(Recording("", [Event(label, 0.0, 0.0, 1.0) for label in labels]), form)
    except ValueError as error:
        raise CommandError(str(error)) from error
    fitting = []
    for item in items:
        try:
            check_representable(Recording(item.name, []), form)
        except ValueError as error:
            outcome.failed(item.name, error)
        else:
            fitting.append(item)
    return fitting


def _print(
    items: list[Item],
    recordings: RecordingReader,
    form: str,
    outcome: Outcome,
    arguments: argparse.Namespace,
) -> None:
    """Print the events of each file as soon as it is done."""
    from pannsx.events.formats import FORMATS

    kind = FORMATS.get(form)
    sys.stdout.write(kind.header if kind else "")
    between = kind.between if kind else "\n"
    with Progress(
        items, quiet=arguments.quiet, start_s=arguments.start, duration_s=arguments.duration
    ) as progress:
        for item in items:
            recording = _read(item, recordings, progress, outcome)
            if recording is None:
                continue
            with progress.writing():
                sys.stdout.write(between if outcome.n_done > 1 else "")
                if kind is None:
                    sys.stdout.write(_table(recording, is_grouped=arguments.group))
                else:
                    sys.stdout.writelines(kind.lines(recording))
    sys.stdout.write(kind.footer if kind else "")


def _write(
    items: list[Item],
    reader: FrameReader,
    detector: EventDetector,
    form: str,
    files: dict[Item, Path] | None,
    tagger: AudioTagger,
    outcome: Outcome,
    arguments: argparse.Namespace,
) -> int:
    """Write the events of all files; returns the exit status."""
    from pannsx.corpus.recordings import RecordingReader
    from pannsx.events.formats import write_events

    output: Path = arguments.output
    place = journal_path(output)
    found: dict[Item, Recording] = {}
    with open_journal(arguments, tagger, detector) as journal:
        if journal.is_begun and not arguments.quiet:
            n_done = sum(each.duration_s is not None for each in journal.files.values())
            remark(f"resuming from {place}: {n_done} of {len(items)} files are done")
        with Progress(
            items, quiet=arguments.quiet, start_s=arguments.start, duration_s=arguments.duration
        ) as progress:

            def changed(item: Item, differences: list[str]) -> None:
                with progress.writing():
                    if not arguments.quiet:
                        remark(f"{item.name} has changed ({', '.join(differences)}) and is done again")

            recordings = RecordingReader(
                reader,
                detector,
                journal,
                digest=arguments.digest,
                on_change=changed,
                leaves=arguments.leaves,
                selection=selection_of(arguments),
            )
            for item in items:
                recording = _read(item, recordings, progress, outcome)
                if recording is not None:
                    found[item] = recording
        if not found:
            raise CommandError(f"no file could be read; {output} is not written", FAILED)
        try:
            if files is None:
                write_events(found.values(), output, form)
            else:
                for item, recording in found.items():
                    write_events([recording], files[item], form)
        except ValueError as error:
            raise CommandError(str(error), FAILED) from error
        except OSError as error:
            raise CommandError(f"cannot write {output}: {error}", FAILED) from error
        if outcome.n_failed:
            journal.output_written()
        else:
            journal.remove()
    if outcome.n_failed and place.exists() and not arguments.quiet:
        remark(f"{place} keeps the finished work; the same command tries only the failed files again")
    n_events = sum(len(recording.events) for recording in found.values())
    written = [] if files is None else [files[item] for item in found]
    return outcome.close(output, written, "1 event" if n_events == 1 else f"{n_events} events")


def _read(item: Item, recordings: RecordingReader, progress: Progress, outcome: Outcome) -> Recording | None:
    """The events of a file, or None, after a message, if it cannot be read."""
    try:
        recording = recordings.read(item, partial(progress.reached, item))
    except AudioError as error:
        with progress.writing():
            outcome.failed(item.name, error)
        return None
    finally:
        progress.finished(item)
    outcome.n_done += 1
    return recording


def _table(recording: Recording, *, is_grouped: bool) -> str:
    """A paragraph for people; grouped, each class stands in its place of the tree."""
    lines = [f"{coloured(recording.name, 'bold', sys.stdout)}  ({duration(recording.duration_s or 0.0)})"]
    is_long = (recording.duration_s or 0.0) >= CLOCK_FROM_S
    if is_grouped:
        for label, text in in_tree(event.label for event in recording.events):
            events = [event for event in recording.events if event.label == label]
            lines += [_line(event, text, is_long) for event in events] or [" " * _BEFORE_TEXT + text]
    else:
        lines += [_line(event, event.label, is_long) for event in recording.events]
    return "\n".join(lines if recording.events else [*lines, "  no events"]) + "\n"


def _line(event: Event, text: str, is_long: bool) -> str:
    if is_long:
        begin, end = (clock(time_s, 2) for time_s in (event.onset_s, event.offset_s))
        return f"  {begin:>10} - {end:>10}  {event.probability:.3f}  {text}"
    return f"  {event.onset_s:9.2f} - {event.offset_s:9.2f} s  {event.probability:.3f}  {text}"

"""``pannsx events``: sound events of each file, with onset and offset."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pannsx.cli.console import FAILED, CommandError, complain, complain_of, remark
from pannsx.cli.event_options import add_event_options, settings_of
from pannsx.cli.options import add_files, add_model_options, add_quiet, build, named, new_command
from pannsx.cli.parser import Commands
from pannsx.cli.progress import Progress
from pannsx.corpus.inputs import STANDARD_INPUT, Item, find_inputs
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.corpus.journal import Journal
    from pannsx.events import Event, EventDetector
    from pannsx.events.formats import Recording
    from pannsx.inference.fine_frames import FrameReader
    from pannsx.tagger import AudioTagger

FORMAT_NAMES = ("table", "tsv", "csv", "jsonl", "rttm", "audacity", "raven", "jams", "parquet")
_BINARY = "parquet"
_JOURNAL = ".journal"

SAVE_EVERY_S = 5.0
"""Seconds of work lost at most when the command is killed."""

_DESCRIPTION = """\
Finds the sound events of each file, with onset and offset.

Without --output, a table goes to standard output. With it, the extension selects the format:
  .tsv             filename, onset, offset, event_label, as in DESED and DCASE
  .csv .parquet    file, onset_s, offset_s, label, probability
  .jsonl           one object per file
  .rttm            as pyannote and NIST's tools read it; _ replaces spaces
  .txt             an Audacity label track
  .selections.txt  a Raven selection table
  .jams            JAMS
The last three hold one recording per file; for several recordings, give a folder as --output, and
--format.

Memory does not grow with the length of a recording. With --output, finished work is saved in
OUT.journal; after an interruption, the same command resumes there. OUT itself is written when
everything is done, always complete. A file that cannot be read is reported on standard error and
left out; the exit status is then 1."""

_EXAMPLES = """\
  pannsx events street.mp3
  pannsx events night.flac --class Crow --class Dog --threshold 0.3 -o night.txt
  pannsx events recordings/ --hop 0.04 --off 0.2 --gap 0.3 --shortest 0.1 -o events.tsv
  pannsx events clips/*.wav --format audacity -o labels/"""


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
    add_quiet(parser)
    add_event_options(parser)
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Find the events in the files; returns the exit status."""
    if arguments.model is not None:
        named(arguments.model)  # a mistyped name fails before torch is loaded
    items, problems = find_inputs(arguments.files)
    for problem in problems:
        complain(problem)
    if not items:
        return FAILED
    form = _format(arguments, len(items))

    from pannsx.events import EventDetector
    from pannsx.inference.fine_frames import FrameReader
    from pannsx.tagger import AudioTagger

    tagger = build(AudioTagger, arguments)
    settings = settings_of(arguments, tagger)
    try:
        reader = FrameReader(tagger, arguments.hop)
    except ValueError as error:
        raise CommandError(str(error)) from error
    detector = EventDetector(tagger.labels, reader.hop_s, settings, offset_s=reader.offset_s)
    output: Path | None = arguments.output
    if output is None:
        n_failed = _print(items, reader, detector, form, quiet=arguments.quiet)
    else:
        n_failed = _write(items, reader, detector, form, tagger, arguments)
    return FAILED if n_failed or problems else 0


def _format(arguments: argparse.Namespace, n_items: int) -> str:
    """The name of the format; CommandError for one that cannot hold the results."""
    from pannsx.events.formats import FORMATS, format_of

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
    if output is None and form == _BINARY:
        raise CommandError("parquet is a binary format; name a file with --output")
    if form in FORMATS and FORMATS[form].one_each and n_items > 1:
        if output is None:
            raise CommandError(
                f"a {form} file holds one recording; name a folder with --output for {n_items}"
            )
        if output.suffix and not output.is_dir():
            raise CommandError(
                f"a {form} file holds one recording; name a folder with --output for {n_items}"
            )
    return form


def _print(items: list[Item], reader: FrameReader, detector: EventDetector, form: str, *, quiet: bool) -> int:
    """Print the events of each file as soon as it is done; returns the number of failed files."""
    from pannsx.events.formats import FORMATS

    n_failed = 0
    kind = FORMATS.get(form)
    sys.stdout.write(kind.header if kind else "")
    with Progress(items, quiet=quiet) as progress:
        for number, item in enumerate(items):
            try:
                recording = _found(item, reader, detector, progress, None)
            except AudioError as error:
                n_failed += 1
                with progress.writing():
                    complain_of(item.name, error)
                continue
            finally:
                progress.finished(item)
            with progress.writing():
                if kind is None:
                    sys.stdout.write(("\n" if number else "") + _table(recording))
                else:
                    sys.stdout.writelines(kind.lines(recording))
    return n_failed


def _write(
    items: list[Item],
    reader: FrameReader,
    detector: EventDetector,
    form: str,
    tagger: AudioTagger,
    arguments: argparse.Namespace,
) -> int:
    """Write the events of all files; returns the number of failed files."""
    from pannsx.events.formats import write_events

    output: Path = arguments.output
    recordings = []
    n_failed = 0
    place = output.with_name(output.name + _JOURNAL)
    with _journal(place, _settings(arguments, tagger, detector)) as journal:
        if journal.is_begun and not arguments.quiet:
            n_done = sum(each.duration_s is not None for each in journal.files.values())
            remark(f"resuming from {place}: {n_done} of {len(items)} files are done")
        with Progress(items, quiet=arguments.quiet) as progress:
            for item in items:
                try:
                    recordings.append(_found(item, reader, detector, progress, journal))
                except AudioError as error:
                    n_failed += 1
                    with progress.writing():
                        complain_of(item.name, error)
                finally:
                    progress.finished(item)
        if not recordings:
            raise CommandError(f"no file could be read; {output} is not written", FAILED)
        try:
            write_events(recordings, output, form)
        except ValueError as error:
            raise CommandError(str(error), FAILED) from error
        except OSError as error:
            raise CommandError(f"cannot write {output}: {error}", FAILED) from error
        journal.remove()
    if not arguments.quiet:
        n_events = sum(len(recording.events) for recording in recordings)
        remark(f"wrote {output}: {n_events} events in {len(recordings)} of {len(items)} files")
    return n_failed


def _journal(place: Path, settings: dict[str, Any]) -> Journal:
    """The journal beside the output, resumed if its settings are the same."""
    from pannsx.corpus.journal import Journal, JournalError

    try:
        return Journal(place, settings)
    except JournalError as error:
        raise CommandError(str(error), FAILED) from error


def _found(
    item: Item, reader: FrameReader, detector: EventDetector, progress: Progress, journal: Journal | None
) -> Recording:
    """The events of one file, resumed from the journal."""
    from pannsx.events import Event
    from pannsx.events.formats import Recording
    from pannsx.inference.fine_frames import Position

    if item.name == STANDARD_INPUT:
        journal = None  # standard input differs from run to run
    detector.reset()
    position = None
    found: list[Event] = []
    begun = None if journal is None else journal.files.get(item.name)
    if journal is not None and begun is not None and begun.size_bytes != item.size_bytes:
        journal.restart(item.name)
        begun = None
    if begun is not None:
        found = [Event(*each) for each in begun.events]
        if begun.duration_s is not None:
            return Recording(item.name, detector.in_order(found), begun.duration_s)
        state = dict(begun.state or {})
        position = Position(**{name: state.pop(f"position_{name}") for name in Position.__slots__})
        detector.restore(state)
    save = _saver(item, detector, journal) if journal is not None else lambda *_: None
    duration_s = None
    for block in reader.blocks(progress.source(item), position=position):
        new = detector.push(block.framewise)
        if block.duration_s is not None:
            duration_s = block.duration_s
            new += detector.close(duration_s)
        found += new
        save(new, block)
    return Recording(item.name, detector.in_order(found), duration_s)


def _saver(item: Item, detector: EventDetector, journal: Journal) -> Callable[[list[Event], Any], None]:
    """A function that saves new events and the state to resume from, every few seconds and at the end."""
    waiting: list[list[Any]] = []
    saved_at = time.monotonic()

    def save(new: list[Event], block: Any) -> None:
        nonlocal saved_at
        waiting.extend(list(event) for event in new)
        is_done = block.duration_s is not None
        if not is_done and time.monotonic() - saved_at < SAVE_EVERY_S:
            return
        position = {f"position_{name}": getattr(block.position, name) for name in block.position.__slots__}
        state = None if is_done else {**position, **detector.state()}
        journal.add(item.name, item.size_bytes, waiting.copy(), state=state, duration_s=block.duration_s)
        waiting.clear()
        saved_at = time.monotonic()

    return save


def _settings(arguments: argparse.Namespace, tagger: AudioTagger, detector: EventDetector) -> dict[str, Any]:
    """Everything the events depend on, apart from the files."""
    from pannsx.version import __version__

    thresholds = hashlib.sha256(b"".join(each.tobytes() for each in detector.thresholds)).hexdigest()
    record = tagger.record
    return {
        "version": __version__,
        "model": record.name,
        "weights": record.sha256 or record.md5,
        "checkpoint": arguments.checkpoint,
        "precision": arguments.precision,
        "window": arguments.window,
        "overlap": arguments.overlap,
        "hop": detector.hop_s,
        "classes": list(detector.labels),
        "super-classes": arguments.super_classes,
        "thresholds": thresholds,
        "top-k": arguments.top_k,
        "median": arguments.median,
        "gap": arguments.gap,
        "shortest": arguments.shortest,
    }


def _table(recording: Recording) -> str:
    """A paragraph for people."""
    lines = [f"{recording.name}  ({recording.duration_s:.1f} s)"]
    lines += [
        f"  {event.onset_s:9.2f} - {event.offset_s:9.2f} s  {event.probability:.3f}  {event.label}"
        for event in recording.events
    ]
    return "\n".join(lines if recording.events else [*lines, "  no events"]) + "\n"

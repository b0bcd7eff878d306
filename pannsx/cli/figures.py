"""``pannsx plot`` and ``pannsx report``: a figure or a page of each file."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pannsx.cli.console import FAILED, CommandError, complain, reason
from pannsx.cli.event_options import add_hop, add_joining, add_thresholds
from pannsx.cli.options import (
    add_files,
    add_model_options,
    add_selection_options,
    add_verbosity,
    build,
    count,
    new_command,
    selection_of,
)
from pannsx.cli.outcome import Outcome
from pannsx.cli.parser import Commands
from pannsx.cli.progress import Progress
from pannsx.corpus.inputs import STANDARD_INPUT, Item, find_inputs
from pannsx.corpus.outputs import OutputError, check_output, check_outputs, output_files
from pannsx.errors import AudioError
from pannsx.readable import duration

if TYPE_CHECKING:
    from pannsx.audio import Selection
    from pannsx.events import EventSettings
    from pannsx.inference.fine_frames import FrameReader
    from pannsx.report import Sound
    from pannsx.report.index import Entry
    from pannsx.results import TaggingResult
    from pannsx.tagger import AudioTagger
    from pannsx.types import FloatArray

_CLASSES = 8
_PAGES = (".html", ".htm")
_FIGURES = ("png", "svg", "pdf")
_TAGS = 3  # of each recording, in the index page
_NAMED = 3  # of the arguments, in its heading
_STANDARD_INPUT = "standard input"

_PLOT = """\
Draws recordings: waveform, log-mel, the most probable classes over time, and the events. The
extension of OUT selects the format (.png, .svg, .pdf).

For a folder or several files, OUT is a folder: it gets a figure of each recording and index.html
with all of them. Memory does not grow with the length of a recording.

Needs matplotlib: pip install 'pannsx[plot]'."""

_PLOT_EXAMPLES = """\
  pannsx plot street.mp3 -o street.png
  pannsx plot street.mp3 -o street.svg --classes 12 --threshold 0.3
  pannsx plot recordings/ -o figures/"""

_REPORT = """\
Writes an HTML page with a recording and its events. The page plays the sound, with a cursor over
log-mel and events; a slider sets the threshold; the table of events can be sorted, filtered and
downloaded for other programs. It opens in any browser and loads nothing from elsewhere.

For a folder or several files, OUT is a folder: it gets a page of each recording and index.html
with links to them. Memory does not grow with the length of a recording."""

_REPORT_EXAMPLES = """\
  pannsx report street.mp3 -o street.html
  pannsx report street.mp3 -o street.html --model Cnn14_DecisionLevelMax --threshold 0.3
  pannsx report night.flac -o night.html --audio link
  pannsx report recordings/ -o pages/"""


class _Maker(Protocol):
    """Makes the page or figure of one recording."""

    def push(self, framewise: FloatArray) -> None: ...

    def write(self, result: TaggingResult, path: Path, sound: Sound, *, title: str) -> None: ...


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``plot`` and ``report`` to the parser."""
    plot = new_command(
        commands,
        "plot",
        _plot,
        summary="draw recordings and their events",
        description=_PLOT,
        examples=_PLOT_EXAMPLES,
    )
    _add_output(plot, "figure")
    plot.add_argument(
        "--format", choices=_FIGURES, default="png", help="format of the figures of a folder (default: png)"
    )
    plot.add_argument(
        "--classes",
        type=count,
        default=_CLASSES,
        metavar="N",
        help=f"number of classes to draw (default: {_CLASSES})",
    )
    report = new_command(
        commands,
        "report",
        _report,
        summary="make pages that play recordings and show their events",
        description=_REPORT,
        examples=_REPORT_EXAMPLES,
    )
    _add_output(report, "page")
    report.add_argument(
        "--audio",
        choices=("embed", "link", "none"),
        default="embed",
        help="embed: the page holds a compressed mono copy, 0.4 MB a minute; link: it plays the file from "
        "where that is, and must be moved together with it; none: no player (default: embed)",
    )
    report.add_argument(
        "--codec",
        choices=("opus", "mp3"),
        default="opus",
        help="codec of the copy; mp3 for browsers without Opus, such as Safari before 18.4 (default: opus)",
    )
    report.add_argument(
        "--groups",
        metavar="PATH",
        help='colour classes by groups of a JSON file such as {"Pet": ["Dog", "Cat"]}, or of an ontology '
        "(default: the top of AudioSet's tree)",
    )
    for parser in (plot, report):
        _add_events(parser)
        add_selection_options(parser)
        add_verbosity(parser)
        add_model_options(parser)


def _add_output(parser: argparse.ArgumentParser, what: str) -> None:
    add_files(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help=f"the {what} to write, or a folder of {what}s; missing folders are created",
    )


def _add_events(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("events")
    add_thresholds(group)
    add_joining(group)
    add_hop(group)


def _plot(arguments: argparse.Namespace) -> int:
    try:
        from pannsx.report.plot import check_extension

        check_extension(Path(f"figure.{arguments.format}"))
        if not _is_folder(arguments):
            check_extension(Path(arguments.output))
    except ImportError as error:
        complain(str(error))
        return FAILED
    except ValueError as error:
        raise CommandError(str(error)) from error

    def makers(tagger: AudioTagger, reader: FrameReader, settings: EventSettings) -> Callable[[], _Maker]:
        from pannsx.report import FigureMaker

        return lambda: FigureMaker(reader, settings, tagger.operating_points, n_classes=arguments.classes)

    return _make(arguments, f".{arguments.format}", "Figures", makers)


def _report(arguments: argparse.Namespace) -> int:
    named_as_page = Path(arguments.output).suffix.lower() in _PAGES
    if not _is_folder(arguments) and not named_as_page:
        raise CommandError(f"{arguments.output!r} is no page; give a name that ends in .html, or a folder")
    if _is_folder(arguments) and named_as_page and not Path(arguments.output).exists():
        raise CommandError(
            f"{arguments.output!r} is named as a page, and pages of a folder or of several files are written "
            "to a folder; give its name"
        )

    if arguments.audio == "link" and STANDARD_INPUT in arguments.files:
        raise CommandError("standard input cannot be linked; give --audio embed or none")

    def makers(tagger: AudioTagger, reader: FrameReader, settings: EventSettings) -> Callable[[], _Maker]:
        from pannsx.report import PageMaker
        from pannsx.report.groups import groups_of

        groups = groups_of(tagger.labels, arguments.groups)
        return lambda: PageMaker(
            reader,
            settings,
            tagger.operating_points,
            player=arguments.audio,
            codec=arguments.codec,
            groups=groups,
        )

    return _make(arguments, ".html", "Pages", makers)


def _make(
    arguments: argparse.Namespace,
    suffix: str,
    what: str,
    makers: Callable[[AudioTagger, FrameReader, EventSettings], Callable[[], _Maker]],
) -> int:
    """Tag the files and write a figure or page of each; returns the exit status."""
    inputs = find_inputs(arguments.files)
    outcome = Outcome(inputs, "done", quiet=arguments.quiet)
    if not inputs.items:
        return outcome.close()
    places, folder = _places(arguments, inputs.items, suffix)

    from pannsx.events import EventSettings
    from pannsx.inference.fine_frames import FrameReader
    from pannsx.tagger import AudioTagger

    tagger = build(AudioTagger, arguments)
    try:
        settings = EventSettings(
            threshold=arguments.operating_points if arguments.threshold is None else arguments.threshold,
            max_gap_s=arguments.gap,
            min_duration_s=arguments.shortest,
        )
        reader = FrameReader(tagger, arguments.hop)
        new_maker = makers(tagger, reader, settings)
        new_maker()  # invalid settings fail before the work
    except ValueError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"cannot read {error.filename}: {error.strerror}", FAILED) from error
    made, failures = _make_each(
        places, new_maker, reader, selection_of(arguments), outcome, quiet=arguments.quiet
    )
    written = [entry.path for entry in made]
    if folder is None:
        return outcome.close(written[0] if written else None, content=_content(made))
    if made:
        from pannsx.report.index import write_index

        of = ", ".join(arguments.files[:_NAMED]) + (", ..." if len(arguments.files) > _NAMED else "")
        entries = [entry._replace(name=_below(entry.path, folder, suffix)) for entry in made]
        title = f"{what} of {of}"
        written.append(write_index(folder, entries, failures, title=title, model=reader.model))
    return outcome.close(folder if made else None, written)


def _make_each(
    places: dict[Item, Path],
    new_maker: Callable[[], _Maker],
    reader: FrameReader,
    selection: Selection,
    outcome: Outcome,
    *,
    quiet: bool,
) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Make each page or figure; returns their entries, and names and reasons of those that failed."""
    from pannsx.report import Sound
    from pannsx.report.index import Entry

    made: list[Entry] = []
    failures: list[tuple[str, str]] = []
    with Progress(list(places), quiet=quiet) as progress:
        for item, place in places.items():
            maker, sound = new_maker(), Sound(item.source, selection)
            try:
                result = reader.tag(
                    item.source,
                    **asdict(selection),
                    on_progress=partial(progress.reached, item),
                    on_frames=maker.push,
                )
                maker.write(result, place, sound, title=sound.name or _STANDARD_INPUT)
            except (AudioError, ValueError) as error:
                failures.append((item.name, reason(item.name, error)))
                with progress.writing():
                    outcome.failed(item.name, error)
            else:
                made.append(Entry(item.name, place, result.duration_s, result.top(_TAGS)))
                outcome.n_done += 1
            finally:
                progress.finished(item)
    return made, failures


def _content(made: list[Entry]) -> str:

    return f"{duration(made[0].duration_s)} of audio" if made else ""


def _below(path: Path, folder: Path, suffix: str) -> str:
    """The name of a recording in the index: its path from the folder that is common to all."""
    from pannsx.report.sound import printable

    return printable(str(path.relative_to(folder)).removesuffix(suffix))


def _is_folder(arguments: argparse.Namespace) -> bool:
    """Whether the output is a folder: it is one, or a folder, a pattern or several files were given."""
    sources: list[str] = arguments.files
    output: str = arguments.output
    return (
        len(sources) > 1
        or Path(sources[0]).is_dir()
        or (not Path(sources[0]).exists() and glob.has_magic(sources[0]))
        or output.endswith(("/", os.sep))
        or Path(output).is_dir()
    )


def _places(
    arguments: argparse.Namespace, items: list[Item], suffix: str
) -> tuple[dict[Item, Path], Path | None]:
    """The file to write for each item, and their folder, None for a single file; checked before the work."""
    output = Path(arguments.output)
    try:
        if not _is_folder(arguments):
            check_output(output, items)
            return {items[0]: output}, None
        places = output_files(items, output, suffix, keep_folders=True, keep_extensions=True)
        check_outputs(places, output)
    except OutputError as error:
        raise CommandError(str(error)) from error
    for item, place in places.items():
        if place == output / "index.html":
            raise CommandError(
                f"the {suffix[1:]} of {item.name} would be index.html, the list of all; rename it"
            )
    return places, output

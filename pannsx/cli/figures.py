"""``pannsx plot`` and ``pannsx report``: a figure or a page of one file."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from pannsx.cli.console import FAILED, CommandError, complain, complain_of
from pannsx.cli.options import (
    add_model_options,
    add_verbosity,
    build,
    count,
    named,
    new_command,
    probability,
)
from pannsx.cli.parser import Commands
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.results import TaggingResult

_CLASSES = 8
_THRESHOLD = 0.5

_PLOT = """\
Draws a recording: waveform, log-mel, the most probable classes over time, and the events at a
threshold. The extension of OUT selects the format (.png, .svg, .pdf).

Needs matplotlib: pip install 'pannsx[plot]'."""

_PLOT_EXAMPLES = """\
  pannsx plot street.mp3 -o street.png
  pannsx plot street.mp3 -o street.svg --classes 12 --threshold 0.3"""

_REPORT = """\
Writes one HTML page with a recording and its events. The page plays the sound, with a cursor over
log-mel and events; a slider sets the threshold; the table of events can be sorted, filtered and
downloaded as TSV. It opens in any browser and loads nothing from elsewhere."""

_REPORT_EXAMPLES = """\
  pannsx report street.mp3 -o street.html
  pannsx report street.mp3 -o street.html --model Cnn14_DecisionLevelMax --threshold 0.3"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``plot`` and ``report`` to the parser."""
    plot = new_command(
        commands,
        "plot",
        _plot,
        summary="draw a recording and its events",
        description=_PLOT,
        examples=_PLOT_EXAMPLES,
    )
    _add_options(plot, "figure", f"the checkpoint's operating points, else {_THRESHOLD}")
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
        summary="make a page that plays a recording and shows its events",
        description=_REPORT,
        examples=_REPORT_EXAMPLES,
    )
    _add_options(report, "page", str(_THRESHOLD))
    report.set_defaults(threshold=_THRESHOLD)
    for parser in (plot, report):
        add_verbosity(parser)
        add_model_options(parser)


def _add_options(parser: argparse.ArgumentParser, what: str, default: str) -> None:
    parser.add_argument("file", metavar="FILE", help="an audio file")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help=f"the {what} to write")
    parser.add_argument(
        "-t",
        "--threshold",
        type=probability,
        metavar="P",
        help=f"probability at which an event begins (default: {default})",
    )


def _plot(arguments: argparse.Namespace) -> int:
    def write(result: TaggingResult) -> None:
        result.plot(
            arguments.output,
            arguments.file,
            threshold=arguments.threshold,
            n_classes=arguments.classes,
        )

    return _make(arguments, write)


def _report(arguments: argparse.Namespace) -> int:
    def write(result: TaggingResult) -> None:
        result.report(arguments.output, arguments.file, threshold=arguments.threshold)

    return _make(arguments, write)


def _make(arguments: argparse.Namespace, write: Callable[[TaggingResult], None]) -> int:
    """Tag the file and write the figure or page; returns the exit status."""
    if arguments.model is not None:
        named(arguments.model)  # a mistyped name fails before torch is loaded

    from pannsx.tagger import AudioTagger

    tagger = build(AudioTagger, arguments)
    try:
        write(tagger.inference(arguments.file))
    except AudioError as error:
        complain_of(arguments.file, error)
        return FAILED
    except ImportError as error:
        complain(str(error))
        return FAILED
    except ValueError as error:
        raise CommandError(str(error)) from error
    return 0

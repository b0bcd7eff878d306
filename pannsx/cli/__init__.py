"""The ``pannsx`` command: parses the arguments, runs one command and returns its exit status.

0: success.  1: a failure, explained on standard error.  2: invalid arguments.  130: interrupted.  143: ended
by SIGTERM.  No command module imports torch before it needs it.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from pannsx.cli import (
    calibrate,
    completion,
    corpus,
    embed,
    events,
    export,
    fetch,
    figures,
    finetune,
    help,
    info,
    labels,
    models,
    quantise,
    score,
    stream,
    tag,
    verify,
)
from pannsx.cli.console import BROKEN_PIPE, FAILED, INTERRUPTED, USAGE, CommandError, complain
from pannsx.cli.options import model_as_named
from pannsx.cli.parser import Parser
from pannsx.cli.process import ending_in_order, replace_closed_streams
from pannsx.cli.verbosity import speaking
from pannsx.cli.words import in_options
from pannsx.errors import AudioError, WeightsError
from pannsx.version import __version__

__all__ = ["main"]

_COMMANDS = (
    tag, events, embed, corpus, stream, figures, calibrate, score, finetune, models, labels, info, fetch,
    verify, export, quantise,
)  # fmt: skip
_ABOUT_ITSELF = (help, completion)  # they need the whole parser

_DESCRIPTION = """\
Audio tagging with pretrained audio neural networks (PANNs): tags, sound events, embeddings, and
the checkpoints behind them.

The default checkpoint is part of the package and needs no network. A published one, such as
--model Cnn14, is fetched on first use and checked against its published digest."""

_EPILOG = """\
examples:
  pannsx tag street.mp3                      the five most probable tags of a recording
  pannsx tag recordings/ --format csv        every audio file in a folder, as a table for other programs
  pannsx events night.flac -o night.tsv      sound events with onset and offset
  pannsx embed clips/*.wav -o clips.npz      an embedding of each clip, for a classifier of your own
  pannsx corpus archive/ -o archive-table    a table of any number of recordings, resumable
  ffmpeg -i film.mkv -f wav - | pannsx stream -    live tags, one line a second
  pannsx models                              the list of checkpoints
  pannsx labels dog                          the labels with this word, and their MIDs

`pannsx help COMMAND` explains a command. Results go to standard output, everything else to
standard error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` is without the program's name, None is the process's own.

    Returns:
        the exit status, for ``sys.exit``.
    """
    lost = replace_closed_streams()
    _never_fail_to_print()
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed the help, the version or the error
        return stop.code if isinstance(stop.code, int) else 0
    if arguments.run is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        with (
            ending_in_order(),
            speaking(quiet=getattr(arguments, "quiet", False), verbose=getattr(arguments, "verbose", 0)),
            model_as_named(arguments),
        ):
            status: int = arguments.run(arguments)
        sys.stdout.flush()  # a closed pipe shows here, not when the interpreter exits
        if lost is not None and lost.n_bytes:
            raise CommandError("standard output is closed, and the results are lost", FAILED)
    except CommandError as error:
        complain(str(error))
        return error.status
    except (AudioError, WeightsError) as error:
        complain(in_options(str(error)))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _let_go_of_stdout()
        return BROKEN_PIPE
    except OSError as error:
        complain(str(error))
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="pannsx",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"pannsx {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add_command(commands)
    for command_about in _ABOUT_ITSELF:
        command_about.add_command(commands, parser)
    return parser


def _never_fail_to_print() -> None:
    """Print characters missing from the terminal's encoding as escapes, where Python would raise an error."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")


def _let_go_of_stdout() -> None:
    """Send standard output to the null device; otherwise the interpreter's last flush reports an error."""
    with suppress(OSError, ValueError):  # a replaced standard output may have no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

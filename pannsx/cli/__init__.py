"""The ``pannsx`` command: reads the arguments, runs one command, says by its exit status how it went.

0: all went well.  1: something failed, and standard error says what.  2: the arguments cannot be used.
130: interrupted.  No command module imports torch before it needs it.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from pannsx.cli import calibrate, embed, events, fetch, figures, info, models, score, stream, tag, verify
from pannsx.cli.console import BROKEN_PIPE, FAILED, INTERRUPTED, USAGE, CommandError, complain
from pannsx.errors import WeightsError
from pannsx.version import __version__

__all__ = ["main"]

_COMMANDS = (tag, events, embed, stream, figures, calibrate, score, models, info, fetch, verify)

_DESCRIPTION = """\
What is in a sound, by pretrained audio neural networks (PANNs): tags, embeddings, and their
checkpoints.

A small checkpoint comes with the package, so that the first two commands need no network; a
published one (--model Cnn14, say) is fetched on first use and checked against its published
digest."""

_EPILOG = """\
examples:
  pannsx tag street.mp3                      the five most probable tags of a recording
  pannsx tag recordings/ --format csv        every audio file in a folder, as a table for other programs
  pannsx events night.flac -o night.tsv      what is heard from when to when
  pannsx embed clips/*.wav -o clips.npz      an embedding of each clip, for a classifier of your own
  ffmpeg -i film.mkv -f wav - | pannsx stream -    a line a second, while it comes
  pannsx models                              which checkpoints there are

`pannsx COMMAND --help` teaches each command. Results go to standard output, all else to standard
error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` is without the program's name, None is the process's own.

    Returns:
        the exit status, for ``sys.exit``.
    """
    _never_fail_to_print()
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed help, version or what is wrong
        return stop.code if isinstance(stop.code, int) else 0
    if arguments.run is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()  # a reader that has gone away shows here, not when the interpreter ends
    except CommandError as error:
        complain(str(error))
        return error.status
    except WeightsError as error:
        complain(str(error))
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
    parser = argparse.ArgumentParser(
        prog="pannsx",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pannsx {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add_command(commands)
    return parser


def _never_fail_to_print() -> None:
    """Show characters that the terminal's encoding lacks by their codes, where Python would raise."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")


def _let_go_of_stdout() -> None:
    """Point standard output at nothing, else the interpreter complains when it flushes at its end."""
    with suppress(OSError, ValueError):  # a replaced standard output may have no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

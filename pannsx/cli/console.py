"""Exit statuses, error messages and aligned columns, shared by all commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from pannsx.cli.colours import Colour, coloured
from pannsx.cli.words import in_options

logger = logging.getLogger("pannsx")

FAILED = 1
USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT and 128 + SIGPIPE, as a shell reports them
BROKEN_PIPE = 141


class CommandError(Exception):
    """Ends a command with one message, in the words of the command line, and an exit status."""

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(in_options(message))
        self.status = status


def complain(message: str) -> None:
    """Print a problem on standard error."""
    _say(message, "red")


def remark(message: str) -> None:
    """Print a remark on standard error, so that standard output holds the results alone."""
    _say(message, "cyan")


def caution(message: str) -> None:
    """Print a warning on standard error: something is probably not as meant."""
    _say(message, "yellow")


def complain_of(name: str, error: BaseException) -> None:
    """Print a problem with one file on standard error, naming the file once.

    Verbose, the errors behind it are printed too.
    """
    complain(f"{_on_one_line(name)}: {in_options(reason(name, error))}")
    logger.debug("%s", name, exc_info=error)
    while (cause := error.__cause__ or error.__context__) is not None:
        logger.info("%s: because of %s: %s", name, type(cause).__name__, cause)
        error = cause


def reason(name: str, error: BaseException) -> str:
    """The fault of a file, without its name, for a line that begins with the name."""
    why = str(error)
    for subject in (f"{name!r} ", f"the file object {name!r} "):
        why = why.removeprefix(subject)
    return why


def _on_one_line(name: str) -> str:
    """A name with its control characters as escapes: a terminal would obey them."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in name
    )


def _say(message: str, colour: Colour) -> None:
    print(f"{coloured('pannsx:', colour, sys.stderr)} {message}", file=sys.stderr)


def columns(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows of equally many cells -> lines with aligned columns; those in ``right`` are set flush right."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines

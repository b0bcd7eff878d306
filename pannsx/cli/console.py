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
    """What is wrong with a file, without its name, for a line that begins with the name."""
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


def file_size(n_bytes: int) -> str:
    """A readable file size, such as ``"9.7 MB"``; 1 MB is a million bytes."""
    size, unit = float(n_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{n_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


CLOCK_FROM_S = 60.0
"""Times of people's watches are used in recordings of a minute and more."""


def clock(time_s: float) -> str:
    """A length for people: ``8.6 s``, from a minute on ``1:02:09``."""
    return f"{time_s:.1f} s" if time_s < CLOCK_FROM_S else _h_mm_ss(int(time_s))


def clock_fine(time_s: float) -> str:
    """A time within a long recording: ``1:02:09.35``."""
    hundredths = round(100 * time_s)
    return f"{_h_mm_ss(hundredths // 100)}.{hundredths % 100:02}"


def _h_mm_ss(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

"""How much a command says on standard error: its warnings and log, in the form of its other messages."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from pannsx.cli.console import caution, logger, remark
from pannsx.cli.words import in_options

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


@contextmanager
def speaking(*, quiet: bool, verbose: int) -> Iterator[None]:
    """Within it, warnings and the log of the package are lines on standard error.

    Args:
        quiet: errors and warnings of Python only.
        verbose: 1 also reports loading and the causes of failures, 2 also where in the code they arose.
    """
    level = logging.ERROR if quiet else _LEVELS[min(verbose, len(_LEVELS) - 1)]
    handler = _Lines()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Lines(logging.Handler):
    """Prints records like other messages, to whatever standard error is at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        say = caution if record.levelno >= logging.WARNING else remark
        say(record.getMessage())
        if record.exc_info:
            say("".join(traceback.format_exception(*record.exc_info)).rstrip())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    kind = "" if issubclass(category, UserWarning) else f"{category.__name__}: "
    caution(f"warning: {kind}{in_options(str(message))}")

"""Colour on a terminal, unless the environment variable ``NO_COLOR`` is set."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Literal, TextIO

Colour = Literal["bold", "red", "yellow", "cyan"]

_CODES: dict[Colour, str] = {"bold": "1", "red": "1;31", "yellow": "1;33", "cyan": "36"}


def coloured(text: str, colour: Colour, file: TextIO) -> str:
    """The text in this colour on a terminal; unchanged in a file or a pipe, and where none is wanted."""
    if not text or not _has_colours(file):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def _has_colours(file: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return file.isatty() and (sys.platform != "win32" or _console_understands(file.fileno()))
    except (AttributeError, OSError, ValueError):  # a closed or replaced file
        return False


@cache
def _console_understands(descriptor: int) -> bool:
    """Whether Windows' console takes escape sequences, once asked to; before Windows 10 none does."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        enable_processing = 0x0004
        kernel = ctypes.windll.kernel32
        handle = msvcrt.get_osfhandle(descriptor)
        mode = ctypes.c_ulong()
        return bool(
            kernel.GetConsoleMode(handle, ctypes.byref(mode))
            and kernel.SetConsoleMode(handle, mode.value | enable_processing)
        )
    return True

"""Command-line arguments -> audio sources: files, patterns, folders, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pannsx.audio.formats import AUDIO_SUFFIXES

STANDARD_INPUT = "-"


class Item(NamedTuple):
    """One source: its name in results, the source for :mod:`pannsx.audio`, and its size."""

    name: str
    source: str | bytes
    size_bytes: int


class Inputs(NamedTuple):
    """Sources in the order of the arguments, and a message for each argument without files."""

    items: list[Item]
    problems: list[str]


def find_inputs(arguments: Iterable[str]) -> Inputs:
    """Files, folders (recursively, sorted), patterns (``**`` for any depth) and ``-`` -> `Inputs`.

    A path given twice, in whatever way, appears once.
    """
    items: list[Item] = []
    problems: list[str] = []
    seen: set[str] = set()
    for argument in arguments:
        if argument == STANDARD_INPUT:
            if sys.stdin.isatty():
                problems.append(
                    "standard input is a terminal; pipe audio into it, or name a file instead of -"
                )
            elif STANDARD_INPUT not in seen:
                seen.add(STANDARD_INPUT)
                audio = sys.stdin.buffer.read()
                items.append(Item(STANDARD_INPUT, audio, len(audio)))
            continue
        n_found = 0
        for path in _paths(argument):
            n_found += 1
            identity = os.path.normcase(Path(path).absolute())
            if identity not in seen:
                seen.add(identity)
                items.append(Item(_printable(path), path, _size(path)))
        if n_found == 0:
            problems.append(_nothing_found(argument))
    return Inputs(items, problems)


def _paths(argument: str) -> Iterator[str]:
    if not _is_pattern(argument):
        yield from _files_of(argument)
        return
    # glob, not Path.glob: it leaves hidden files out, like a shell and on every system.
    for match in sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207
        yield from _files_of(match)


def _is_pattern(argument: str) -> bool:
    """Whether to expand it: Windows' shell does not, and a file may be named ``a[1].wav``."""
    return glob.has_magic(argument) and not Path(argument).exists()


def _files_of(path: str) -> Iterator[str]:
    """The path itself, or the audio files in and below a folder, without hidden ones (macOS creates some)."""
    if not Path(path).is_dir():
        yield path
        return
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield str(Path(folder) / name)


def _nothing_found(argument: str) -> str:
    if _is_pattern(argument):
        return f"no file matches the pattern {argument!r}"
    suffixes = " ".join(sorted(AUDIO_SUFFIXES))
    return f"the folder {argument!r} has no audio files in it (looked for {suffixes})"


def _size(path: str) -> int:
    """Bytes of a file, or 0 if unknown; reading the file will report the error."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0


def _printable(path: str) -> str:
    """The path with invalid UTF-8 escaped: Linux allows file names that are not text."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")

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

    A path given twice, in whatever way, appears once. Links to folders are followed after the folders
    themselves, and no folder is searched twice. A folder that cannot be read is a problem.
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
        n_found, n_problems = 0, len(problems)
        for path in _paths(argument, problems):
            n_found += 1
            identity = os.path.normcase(Path(path).absolute())
            if identity not in seen:
                seen.add(identity)
                items.append(Item(_printable(path), path, _size(path)))
        if n_found == 0 and len(problems) == n_problems:
            problems.append(_nothing_found(argument))
    return Inputs(items, problems)


def _paths(argument: str, problems: list[str]) -> Iterator[str]:
    if not _is_pattern(argument):
        yield from _files_of(argument, problems)
        return
    # glob, not Path.glob: it leaves hidden files out, like a shell and on every system.
    for match in sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207
        yield from _files_of(match, problems)


def _is_pattern(argument: str) -> bool:
    """Whether to expand it: Windows' shell does not, and a file may be named ``a[1].wav``."""
    return glob.has_magic(argument) and not Path(argument).exists()


def _files_of(path: str, problems: list[str]) -> Iterator[str]:
    """The path itself, or the audio files in and below a folder, without hidden ones (macOS creates some)."""
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises the errors of a failing disk
        yield path
        return

    def unreadable(error: OSError) -> None:
        problems.append(f"cannot read the folder {_printable(error.filename)!r}: {error.strerror}")

    searched: set[str] = set()
    places = [path]
    for place in places:
        links: list[str] = []
        for folder, subfolders, names in os.walk(place, onerror=unreadable):
            identity = os.path.realpath(folder)
            if identity in searched:
                subfolders.clear()
                continue
            searched.add(identity)
            shown = sorted(name for name in subfolders if not name.startswith("."))
            links += [str(Path(folder) / name) for name in shown if (Path(folder) / name).is_symlink()]
            subfolders[:] = [name for name in shown if not (Path(folder) / name).is_symlink()]
            for name in sorted(names):
                if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                    yield str(Path(folder) / name)
        # Afterwards, so that a file has the name of its own place where that is searched, too.
        places += links


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

"""Command-line arguments -> audio sources: files, patterns, folders, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pannsx.audio.formats import AUDIO_SUFFIXES
from pannsx.errors import printable

STANDARD_INPUT = "-"

HIDDEN = "hidden"
NOT_AUDIO = "not named as audio"
GIVEN_TWICE = "given twice"
LINKED_TWICE = "linked twice"
UNREADABLE = "not readable"
EMPTY = "without audio files"


class Item(NamedTuple):
    """One source.

    Attributes:
        name: its name in results: the path as given, with invalid UTF-8 escaped.
        source: the source for :mod:`pannsx.audio`.
        size_bytes: its size, 0 if unknown.
        root: absolute folder of the argument that it was found by, empty for standard input.
    """

    name: str
    source: str | bytes
    size_bytes: int
    root: str = ""


class Inputs(NamedTuple):
    """Sources in the order of the arguments, and everything that was passed over.

    Attributes:
        items: the sources.
        problems: a message for each argument without files and each folder that cannot be read.
        skipped: number of files or folders passed over, by reason.
    """

    items: list[Item]
    problems: list[str]
    skipped: Counter[str]


def find_inputs(arguments: Iterable[str]) -> Inputs:
    """Files, folders (recursively, sorted), patterns (``**`` for any depth) and ``-`` -> `Inputs`.

    A path given twice, in whatever way, appears once. Links to folders are followed after the folders
    themselves, and no folder is searched twice. A folder that cannot be read is a problem.
    """
    found = Inputs([], [], Counter())
    seen: set[str] = set()
    for argument in arguments:
        if argument == STANDARD_INPUT:
            _add_standard_input(found, seen)
            continue
        n_found, n_problems = 0, len(found.problems)
        root = _root(argument)
        for path in _paths(argument, found):
            n_found += 1
            identity = os.path.normcase(Path(path).absolute())
            if identity in seen:
                found.skipped[GIVEN_TWICE] += 1
                continue
            seen.add(identity)
            found.items.append(Item(printable(path), path, _size(path), root))
        if n_found == 0 and len(found.problems) == n_problems:
            found.problems.append(_nothing_found(argument))
            found.skipped[EMPTY] += 1
    return found


def expanded(argument: str) -> list[str]:
    """The matches of a pattern, sorted; the argument itself if it is none, or nothing matches."""
    # glob, not Path.glob: it leaves hidden files out, like a shell and on every system.
    matches = sorted(glob.glob(argument, recursive=True)) if _is_pattern(argument) else []  # noqa: PTH207
    return matches or [argument]


def _add_standard_input(found: Inputs, seen: set[str]) -> None:
    if sys.stdin.isatty():
        found.problems.append("standard input is a terminal; pipe audio into it, or name a file instead of -")
        found.skipped[EMPTY] += 1
    elif STANDARD_INPUT in seen:
        found.skipped[GIVEN_TWICE] += 1
    else:
        seen.add(STANDARD_INPUT)
        audio = sys.stdin.buffer.read()
        found.items.append(Item(STANDARD_INPUT, audio, len(audio)))


def _paths(argument: str, found: Inputs) -> Iterator[str]:
    matches = expanded(argument)
    if _is_pattern(argument) and matches == [argument]:
        return
    for match in matches:
        yield from _files_of(match, found)


def _is_pattern(argument: str) -> bool:
    """Whether to expand it: Windows' shell does not, and a file may be named ``a[1].wav``."""
    return glob.has_magic(argument) and not Path(argument).exists()


def _root(argument: str) -> str:
    """The folder an argument searches: itself, that of a file, or that above a pattern's first wildcard."""
    path = Path(os.path.abspath(argument))  # noqa: PTH100 - without "..", and links as they are
    if _is_pattern(argument):
        while glob.has_magic(str(path)):
            path = path.parent
        return str(path)
    return str(path if os.path.isdir(path) else path.parent)  # noqa: PTH112 - as in _files_of


def _files_of(path: str, found: Inputs) -> Iterator[str]:
    """The path itself, or the audio files in and below a folder, without hidden ones (macOS creates some)."""
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises the errors of a failing disk
        yield path
        return

    def unreadable(error: OSError) -> None:
        found.problems.append(f"cannot read the folder {printable(error.filename)!r}: {error.strerror}")
        found.skipped[UNREADABLE] += 1

    searched: set[str] = set()
    places = [path]
    for place in places:
        links: list[str] = []
        for folder, subfolders, names in os.walk(place, onerror=unreadable):
            identity = os.path.realpath(folder)
            if identity in searched:
                found.skipped[LINKED_TWICE] += 1
                subfolders.clear()
                continue
            searched.add(identity)
            shown = sorted(name for name in subfolders if not name.startswith("."))
            if n_hidden := len(subfolders) - len(shown):
                found.skipped[HIDDEN] += n_hidden
            links += [str(Path(folder) / name) for name in shown if (Path(folder) / name).is_symlink()]
            subfolders[:] = [name for name in shown if not (Path(folder) / name).is_symlink()]
            for name in sorted(names):
                if name.startswith("."):
                    found.skipped[HIDDEN] += 1
                elif Path(name).suffix.lower() not in AUDIO_SUFFIXES:
                    found.skipped[NOT_AUDIO] += 1
                else:
                    yield str(Path(folder) / name)
        # Afterwards, so that a file has the name of its own place where that is searched, too.
        places += links


def _nothing_found(argument: str) -> str:
    if _is_pattern(argument):
        return f"no file matches the pattern {printable(argument)!r}"
    suffixes = " ".join(sorted(AUDIO_SUFFIXES))
    return f"the folder {printable(argument)!r} has no audio files in it (looked for {suffixes})"


def _size(path: str) -> int:
    """Bytes of a file, or 0 if unknown; reading the file will report the error."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0

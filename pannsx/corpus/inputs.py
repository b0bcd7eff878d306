"""Command-line arguments -> audio sources: files, patterns, folders, standard input."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pannsx.audio.formats import AUDIO_SUFFIXES
from pannsx.corpus.braces import BracesError, expand_braces
from pannsx.errors import printable

STANDARD_INPUT = "-"

HIDDEN = "hidden"
NOT_AUDIO = "not named as audio"
GIVEN_TWICE = "given twice"
LINKED_TWICE = "linked twice"
UNREADABLE = "not readable"
EMPTY = "without audio files"

_MOST_SHOWN = 3
_NUMBERS = re.compile(r"\[\d\d+-\d+\]")
"""A range of numbers in brackets, which to a shell are single letters."""


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
    """Files, folders (recursively, sorted), patterns (see `expanded`) and ``-`` -> `Inputs`.

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


class Expansion(NamedTuple):
    """The files that an argument names.

    Attributes:
        paths: files and folders, in order; the argument itself if it is no pattern.
        problems: a message for a pattern that is invalid, matches nothing, or names a missing file.
    """

    paths: list[str]
    problems: list[str]


def expanded(argument: str) -> Expansion:
    """The matches of a pattern: wildcards (``**``: any depth), sorted; lists and ranges in braces, in order.

    A path that is there is itself, whatever letters are in it. Each name that braces alone give has to be
    there: a shard that is missing among ``{000..127}`` is a problem.
    """
    if not _is_pattern(argument):
        return Expansion([argument], [])
    if matches := _matches(argument):
        return Expansion(matches, [])
    try:
        names = expand_braces(argument)
    except BracesError as error:
        return Expansion([], [str(error)])
    if names == [argument]:  # braces around no list and no range
        is_glob = glob.has_magic(argument)
        return Expansion([], [_nothing_found(argument)]) if is_glob else Expansion(names, [])
    paths: list[str] = []
    problems: list[str] = []
    missing: list[str] = []
    for name in names:
        if Path(name).exists():
            paths.append(name)
        elif not glob.has_magic(name):
            missing.append(name)
        elif matches := _matches(name):
            paths += matches
        else:
            problems.append(_nothing_found(name))
    if missing:
        shown = ", ".join(map(printable, missing[:_MOST_SHOWN]))
        more = ", ..." if len(missing) > _MOST_SHOWN else ""
        problems.append(
            f"of the {len(names):,} names of the pattern {printable(argument)!r} {len(missing):,} are not "
            f"there: {shown}{more}; write the pattern without these, or fetch them"
        )
    return Expansion(paths, problems)


def _matches(pattern: str) -> list[str]:
    # glob, not Path.glob: it leaves hidden files out, like a shell and on every system.
    return sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []  # noqa: PTH207


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
    expansion = expanded(argument)
    found.problems.extend(expansion.problems)
    found.skipped.update({EMPTY: len(expansion.problems)} if expansion.problems else {})
    for path in expansion.paths:
        yield from _files_of(path, found)


def _is_pattern(argument: str) -> bool:
    """Whether to expand it: Windows' shell does not, and a file may be named ``a[1].wav``."""
    return _has_wildcard(argument) and not Path(argument).exists()


def _has_wildcard(text: str) -> bool:
    return glob.has_magic(text) or "{" in text or "}" in text


def _root(argument: str) -> str:
    """The folder an argument searches: itself, that of a file, or that above a pattern's first wildcard."""
    path = Path(os.path.abspath(argument))  # noqa: PTH100 - without "..", and links as they are
    if _is_pattern(argument):
        while _has_wildcard(str(path)):
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
        hint = "; a range of numbers is written {000..127}" if _NUMBERS.search(argument) else ""
        return f"no file matches the pattern {printable(argument)!r}{hint}"
    suffixes = " ".join(sorted(AUDIO_SUFFIXES))
    return f"the folder {printable(argument)!r} has no audio files in it (looked for {suffixes})"


def _size(path: str) -> int:
    """Bytes of a file, or 0 if unknown; reading the file will report the error."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0

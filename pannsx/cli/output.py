"""The options ``-o`` and ``--format``: where results go and in which format, and writing them there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from pannsx.atomic import replacing
from pannsx.cli.console import FAILED, CommandError, remark
from pannsx.corpus.inputs import Item
from pannsx.corpus.outputs import OutputError, check_output
from pannsx.readable import file_size
from pannsx.table_files import BINARY_FORMATS, TEXT_FORMATS, Column, TableWriter, check_library, open_table

TABLE_FORMATS = (*TEXT_FORMATS, *BINARY_FORMATS)


class Output(NamedTuple):
    """Where results go: a file, or with None standard output; and the name of their format."""

    path: Path | None
    form: str


def add_output(parser: argparse.ArgumentParser, *formats: str, is_live: bool = False) -> None:
    """Add ``--output`` and ``--format``; the first format is the one for people, on standard output.

    ``is_live``: results are written to the file as they come, where `live_output` is used.
    """
    when = "at the start" if is_live else "when all is done"
    extensions = " ".join(f".{form}" for form in formats[1:])
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help=f"file to write instead of standard output; the extension selects the format ({extensions}). "
        f"Missing folders are created, and an existing file is replaced {when}",
    )
    parser.add_argument(
        "--format",
        choices=formats,
        help=f"output format (default: by the extension of OUT; {formats[0]} without OUT)",
    )
    parser.set_defaults(formats=formats)


def output_of(arguments: argparse.Namespace, items: Sequence[Item] = ()) -> Output:
    """The output that the options name, checked before the work on the items.

    Raises:
        CommandError: no format has this extension, or it cannot be written here.
    """
    path: Path | None = arguments.output
    form: str | None = arguments.format
    formats: Sequence[str] = arguments.formats
    if form is None:
        form = formats[0] if path is None else path.suffix[1:].lower()
        if path is not None and form not in formats[1:]:
            extensions = ", ".join(f".{each}" for each in formats[1:])
            raise CommandError(
                f"{str(path)!r} has none of the extensions {extensions}; choose one, or give --format"
            )
    if path is None and form in BINARY_FORMATS:
        raise CommandError(f"{form} is a binary format; name a file with --output")
    try:
        check_library(form)
        if path is not None:
            check_output(path, items)
    except (OutputError, ValueError) as error:
        raise CommandError(str(error), FAILED) from error
    return Output(path, form)


@contextmanager
def text_output(output: Output) -> Iterator[TextIO]:
    """The text file of the results, whole or not at all; or standard output."""
    if output.path is None:
        yield sys.stdout
        return
    with (
        _whole(output.path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        yield file


@contextmanager
def live_output(output: Output, *, quiet: bool) -> Iterator[TextIO]:
    """A text file for results without a foreseen end, which keeps every line; or standard output."""
    if output.path is None:
        yield sys.stdout
        return
    try:
        output.path.parent.mkdir(parents=True, exist_ok=True)
        file = output.path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise CommandError(f"cannot write {output.path}: {error}", FAILED) from error
    try:
        with file:
            yield file
    finally:  # most streams end by Ctrl-C
        if not quiet:
            remark(written(output.path))


@contextmanager
def table_output(output: Output, columns: Sequence[Column]) -> Iterator[TableWriter]:
    """A table of results, whole or not at all; or on standard output."""
    if output.path is None:
        with TEXT_FORMATS[output.form](sys.stdout, columns) as writer:
            yield writer
        return
    with _whole(output.path) as temporary, open_table(temporary, output.form, columns) as writer:
        yield writer


def written(path: Path, files: Sequence[Path] = (), content: str = "") -> str:
    """``"wrote tags.csv (4.1 kB)"``; for a folder, the files written in it, or all of its files.

    ``content`` is the content in words, such as ``"12 events"``.
    """
    what = f"{path}, {len(files)} files" if files else str(path)
    if not files:
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    size = file_size(sum(each.stat().st_size for each in files))
    return f"wrote {what} ({', '.join(filter(None, (size, content)))})"


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    try:
        with replacing(path) as temporary:
            temporary.touch()  # an unwritable place fails before the work, not after it
            yield temporary
    except CommandError:
        raise
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error}", FAILED) from error

"""The options for classes: which ones, without parents, in the tree."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from pannsx.class_tree import audioset_tree
from pannsx.cli.console import CommandError
from pannsx.labels import LabelSet

_INDENT = "  "


def add_class_options(parser: argparse._ActionsContainer, *, with_group: bool = True) -> None:
    """Add ``--class``, ``--leaves`` and, if asked for, ``--group``."""
    parser.add_argument(
        "-c",
        "--class",
        dest="classes",
        action="append",
        metavar="LABEL",
        help="only this class, by name or MID (`pannsx labels`), or with all below it in AudioSet's tree: "
        "'all birds'; may be given several times",
    )
    parser.add_argument(
        "--leaves",
        action="store_true",
        help="show only the most specific classes: of Animal, Dog and Bark only Bark",
    )
    if with_group:
        add_group(parser)


def add_group(parser: argparse._ActionsContainer) -> None:
    """Add ``--group``."""
    parser.add_argument(
        "--group", action="store_true", help="arrange the classes as in AudioSet's tree (table format only)"
    )


def check_classes(arguments: argparse.Namespace, labels: LabelSet) -> None:
    """CommandError for an unknown class, and for ``--leaves`` with labels outside the tree."""
    try:
        labels.select(arguments.classes or ())
        if arguments.leaves:
            labels.tree  # noqa: B018  raises it
    except ValueError as error:
        raise CommandError(str(error)) from error


def check_group(arguments: argparse.Namespace, form: str) -> None:
    """CommandError for ``--group`` with a format for programs."""
    if arguments.group and form != "table":
        raise CommandError(f"--group is for the table format; leave it out for {form}")


def in_tree(labels: Iterable[str]) -> Iterator[tuple[str | None, str]]:
    """The lines of AudioSet's tree that hold the labels: each label, or None for a heading, and its text."""
    for line in audioset_tree().outline(labels):
        yield line.label, _INDENT * line.depth + (line.label or " > ".join(line.heading))

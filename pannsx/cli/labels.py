"""``pannsx labels``: the labels of a checkpoint, with their machine ids."""

from __future__ import annotations

import argparse

from pannsx.cli.class_options import add_group, check_group, in_tree
from pannsx.cli.console import FAILED, CommandError, columns, remark
from pannsx.cli.options import MODEL_HELP, add_hub_options, add_verbosity, new_command, record_named
from pannsx.cli.output import TABLE_FORMATS, add_output, output_of, table_output, text_output, written
from pannsx.cli.parser import Commands
from pannsx.labels import LabelSet
from pannsx.table_files import Column
from pannsx.weights.manifest import labels_of

_COLUMNS = (Column("index", "integer"), Column("mid"), Column("label"))

_DESCRIPTION = """\
Lists labels on standard output: index in the network's output, MID (the machine id in AudioSet's
files) and name. Wherever a class is asked for, its name in upper or lower case or its MID will do."""

_EXAMPLES = """\
  pannsx labels                  all 527 of AudioSet
  pannsx labels guitar dog       those with one of these words
  pannsx labels /m/0bt9lr        the one with this MID
  pannsx labels 'all birds'      those below a class of AudioSet's tree
  pannsx labels 'all birds' --group
  pannsx labels -o labels.csv"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``labels`` to the parser."""
    parser = new_command(
        commands,
        "labels",
        run,
        summary="list labels with their MIDs",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="part of a name, a MID, or a class of AudioSet's tree (default: all labels)",
    )
    parser.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help=f"labels of this model: {MODEL_HELP} (default: AudioSet's)",
    )
    add_hub_options(parser)
    add_group(parser)
    add_output(parser, "table", *TABLE_FORMATS)
    add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list; returns the exit status."""
    output = output_of(arguments)
    check_group(arguments, output.form)
    try:
        labels = labels_of(record_named(arguments))
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read the labels of {arguments.model}: {error}", FAILED) from error
    found = _matching(labels, arguments.words)
    ids = labels.ids or ("",) * len(labels)
    if output.form == "table":
        place = {labels[i]: i for i in found}
        lines = in_tree(place) if arguments.group else [(label, label) for label in place]
        rows = [
            ("", "", text) if label is None else (str(place[label]), ids[place[label]], text)
            for label, text in lines
        ]
        with text_output(output) as file:
            header = tuple(column.name for column in _COLUMNS)
            print("\n".join(columns([header, *rows], right=frozenset({0}))), file=file)
    else:
        with table_output(output, _COLUMNS) as table:
            for i in found:
                table.write((i, ids[i] or None, labels[i]))
    if output.path is not None and not arguments.quiet:
        remark(f"{written(output.path)}: {len(found)} labels")
    return 0


def _matching(labels: LabelSet, words: list[str]) -> list[int]:
    """Positions of the labels that the words are in or ask for; of all labels if there are none.

    Raises:
        CommandError: a word is in no label and asks for none.
    """
    if not words:
        return list(range(len(labels)))
    found: set[int] = set()
    for word in words:
        matching = {i for i, name in enumerate(labels) if word.casefold() in name.casefold()}
        try:
            found |= matching or set(labels.matches(word))
        except ValueError as error:
            raise CommandError(str(error), FAILED) from error
    return sorted(found)

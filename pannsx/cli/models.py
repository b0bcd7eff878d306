"""``pannsx models``: the list of checkpoints."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from pannsx.cli.availability import MEANINGS, availability
from pannsx.cli.console import columns, remark
from pannsx.cli.options import add_cache_dir, add_verbosity, new_command
from pannsx.cli.output import TABLE_FORMATS, add_output, output_of, table_output, text_output, written
from pannsx.cli.parser import Commands
from pannsx.table_files import Cell, Column
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, load_manifest
from pannsx.weights.record import Checkpoint

_DESCRIPTION = """\
Lists every checkpoint on standard output: its name for --model, architecture, sample rate, size,
published mAP on AudioSet, and the availability of its weights."""

_EXAMPLES = """\
  pannsx models
  pannsx models -o models.csv
  pannsx info Cnn14              everything known about one of them"""

_HEADER = ("name", "architecture", "rate", "parameters", "mAP", "weights")
_NUMBERS = frozenset({2, 3, 4})
_COLUMNS = (
    Column("name"),
    Column("architecture"),
    Column("sample_rate", "integer"),
    Column("parameters", "integer"),
    Column("mAP", "number"),
    Column("size_bytes", "integer"),
    Column("weights"),
    Column("default", "boolean"),
)


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``models`` to the parser."""
    parser = new_command(
        commands,
        "models",
        run,
        summary="list the checkpoints",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    add_output(parser, "table", *TABLE_FORMATS)
    add_verbosity(parser)
    add_cache_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list; returns the exit status."""
    states = {record.name: availability(record, arguments.cache_dir) for record in load_manifest().values()}
    output = output_of(arguments)
    if output.form == "table":
        with text_output(output) as file:
            print("\n".join(_text(states)), file=file)
    else:
        with table_output(output, _COLUMNS) as table:
            for record in load_manifest().values():
                table.write(_cells(record, states[record.name]))
    if output.path is not None and not arguments.quiet:
        remark(written(output.path, content=f"{len(states)} checkpoints"))
    return 0


def _text(states: dict[str, str]) -> Iterator[str]:
    """The lines for people."""
    rows = [_row(record, states[record.name]) for record in load_manifest().values()]
    yield from columns([_HEADER, *rows], right=_NUMBERS)
    yield ""
    for state, meaning in MEANINGS.items():
        if state in states.values():
            yield f"{state}: {meaning}"
    yield f"default: {DEFAULT_CHECKPOINT}"


def _row(record: Checkpoint, state: str) -> tuple[str, ...]:
    scores = record.scores
    return (
        record.name,
        record.architecture,
        f"{record.sample_rate / 1000:g} kHz",
        "-" if record.parameters is None else f"{record.parameters / 1e6:.1f} M",
        "-" if scores is None or scores.mAP is None else f"{scores.mAP:.3f}",
        state,
    )


def _cells(record: Checkpoint, state: str) -> tuple[Cell, ...]:
    """The cells of its row."""
    return (
        record.name,
        record.architecture,
        record.sample_rate,
        record.parameters,
        None if record.scores is None else record.scores.mAP,
        record.size_bytes,
        state,
        record.name == DEFAULT_CHECKPOINT,
    )

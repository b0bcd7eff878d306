"""``pannsx models``: the list of checkpoints."""

from __future__ import annotations

import argparse
import json

from pannsx.cli.availability import MEANINGS, availability
from pannsx.cli.console import columns
from pannsx.cli.options import add_cache_dir, add_format, new_command
from pannsx.cli.parser import Commands
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, load_manifest
from pannsx.weights.record import Checkpoint

_DESCRIPTION = """\
Lists every checkpoint on standard output: its name for --model, architecture, sample rate, size,
published mAP on AudioSet, and the availability of its weights."""

_EXAMPLES = """\
  pannsx models
  pannsx models --format json
  pannsx info Cnn14              everything known about one of them"""

_HEADER = ("name", "architecture", "rate", "parameters", "mAP", "weights")
_NUMBERS = frozenset({2, 3, 4})


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
    add_format(parser, "table", "json")
    add_cache_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list; returns the exit status."""
    states = {record.name: availability(record, arguments.cache_dir) for record in load_manifest().values()}
    if arguments.format == "json":
        listed = [_as_json(record, states[record.name]) for record in load_manifest().values()]
        print(json.dumps(listed, indent=1))
        return 0
    rows = [_row(record, states[record.name]) for record in load_manifest().values()]
    print("\n".join(columns([_HEADER, *rows], right=_NUMBERS)))
    print()
    for state, meaning in MEANINGS.items():
        if state in states.values():
            print(f"{state}: {meaning}")
    print(f"default: {DEFAULT_CHECKPOINT}")
    return 0


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


def _as_json(record: Checkpoint, state: str) -> dict[str, object]:
    return {
        "name": record.name,
        "architecture": record.architecture,
        "sample_rate": record.sample_rate,
        "parameters": record.parameters,
        "mAP": None if record.scores is None else record.scores.mAP,
        "size_bytes": record.size_bytes,
        "weights": state,
        "default": record.name == DEFAULT_CHECKPOINT,
    }

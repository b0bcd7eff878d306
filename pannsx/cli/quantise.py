"""``pannsx quantise``: a checkpoint with its products in 8 bits, calibrated on clips."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pannsx.cli.console import FAILED, CommandError, columns
from pannsx.cli.options import (
    MODEL_HELP,
    add_verbosity,
    add_weights_options,
    count,
    new_command,
    record_named,
)
from pannsx.cli.outcome import Outcome
from pannsx.cli.parser import Commands
from pannsx.cli.progress import Progress
from pannsx.corpus.inputs import Item, find_inputs
from pannsx.corpus.outputs import OutputError, check_output
from pannsx.errors import AudioError
from pannsx.readable import file_size

if TYPE_CHECKING:
    from pannsx.export.int8_file import Agreement
    from pannsx.types import FloatArray

_CLIP_S = 10.0  # as the networks hear a recording

_DESCRIPTION = """\
Writes a MobileNetV1 with the weights of its pointwise convolutions in 8 bits, and finds the ranges
of their inputs on recordings like those that will be tagged. The file is smaller, and loads
wherever a checkpoint does. With --precision int8, these products are computed in 8 bits on
processors with VNNI instructions; everywhere else, and without the option, in float32.

Clips of 10 s are read from FOLDER, spread evenly over its files and over long recordings. The
record FILE.json is written beside FILE, and so are labels of its own and calibrated thresholds.
Then every clip is tagged by both networks, and the differences are printed."""

_EXAMPLES = """\
  pannsx quantise MobileNetV1_distilled --calibrate recordings/ -o small.safetensors
  pannsx tag street.mp3 -m small.safetensors --precision int8
  pannsx quantise mine.safetensors --calibrate recordings/ --clips 500 -o mine_int8.safetensors"""


class _Part(NamedTuple):
    """Clips of a file, by where they begin."""

    item: Item
    starts_s: list[float]


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``quantise`` to the parser."""
    parser = new_command(
        commands,
        "quantise",
        run,
        summary="write a MobileNetV1 with products in 8 bits, calibrated on recordings",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("model", metavar="NAME", help=MODEL_HELP)
    parser.add_argument(
        "--calibrate",
        required=True,
        metavar="FOLDER",
        help="recordings to calibrate on: a folder (searched recursively), a file or a pattern",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="file to write, FILE.safetensors"
    )
    parser.add_argument(
        "--clips", type=count, default=200, metavar="N", help="use at most this many clips (default: 200)"
    )
    add_weights_options(parser)
    add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, write and compare; returns the exit status."""
    inputs = find_inputs([arguments.calibrate])
    outcome = Outcome(inputs, "used", quiet=arguments.quiet)
    if inputs.problems and not inputs.items:
        return FAILED
    output: Path = arguments.output
    try:
        check_output(output, inputs.items)
    except OutputError as error:
        raise CommandError(f"{error}; choose another path with --output", FAILED) from error
    try:
        found = _quantised(arguments, inputs.items, outcome)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if found is None:
        return FAILED
    print("\n".join(columns(found)))
    return outcome.close(output)


def _quantised(
    arguments: argparse.Namespace, items: list[Item], outcome: Outcome
) -> list[tuple[str, str]] | None:
    """Write the file -> what to print; None, after messages, if no clip can be read."""
    from pannsx.export.int8_file import agreement, write_int8
    from pannsx.inference.quantisation import int8_steps, products_in_8_bits, rounded_module
    from pannsx.models import ARCHITECTURES
    from pannsx.weights.loading import open_checkpoint
    from pannsx.weights.saving import check_path

    output: Path = arguments.output
    check_path(output)
    architecture = record_named(arguments).architecture  # before weights are fetched
    products_in_8_bits(ARCHITECTURES[architecture].trunk, architecture)
    opened = open_checkpoint(
        arguments.model,
        cache_dir=arguments.cache_dir,
        allow_unverified=arguments.allow_unverified,
        progress=not arguments.quiet,
    )
    source = None if opened.origin is None else opened.origin.path
    if source is not None and output.with_suffix("").resolve() == source.with_suffix("").resolve():
        raise ValueError(
            f"the record of {output} would replace that of {source}; choose another name with --output"
        )
    module = opened.model.as_module()
    clips = _Clips(_parts(items, arguments.clips, outcome), module.sample_rate, outcome, arguments.quiet)
    steps: dict[str, float] = {}
    try:
        steps = int8_steps(module, clips)
    except ValueError:
        if clips.n_read:
            raise
    if not clips.n_read:
        outcome.close()
        return None
    outcome.n_done = len(clips.parts)
    data = f"{clips.n_read} clips of {Path(arguments.calibrate).absolute().name}"
    record = write_int8(opened, output, steps, data)
    written = open_checkpoint(checkpoint=output).model.as_module()
    # By the rounded module, not by the engine: processors without the instructions compute in float32.
    agreed = agreement(module, rounded_module(written, written.int8_steps), clips)
    return _summary(None if source is None else source.stat().st_size, record.size_bytes or 0, agreed)


class _Clips:
    """Clips of the parts at a rate, to be iterated several times; files that cannot be read leave them."""

    def __init__(self, parts: list[_Part], sample_rate: int, outcome: Outcome, quiet: bool) -> None:
        self.parts = parts
        self.n_read = 0
        self._sample_rate, self._outcome, self._quiet = sample_rate, outcome, quiet

    def __iter__(self) -> Iterator[FloatArray]:
        from pannsx import audio

        self.n_read = 0
        most_s = _CLIP_S * max((len(part.starts_s) for part in self.parts), default=1)
        with Progress([part.item for part in self.parts], quiet=self._quiet, duration_s=most_s) as progress:
            for item, starts_s in list(self.parts):
                try:
                    for start_s in starts_s:
                        clip = audio.load(item.source, self._sample_rate, start_s=start_s, duration_s=_CLIP_S)
                        self.n_read += 1
                        yield clip.waveform
                except AudioError as error:
                    with progress.writing():
                        self._outcome.failed(item.name, error)
                    self.parts = [part for part in self.parts if part.item is not item]
                progress.finished(item)


def _parts(items: list[Item], n_clips: int, outcome: Outcome) -> list[_Part]:
    """At most so many clips, spread evenly over the files and over each of them."""
    from pannsx import audio

    chosen = [items[i] for i in _spread(len(items), n_clips)]
    found = []
    for item in chosen:
        try:
            duration_s = audio.info(item.source).duration_s
        except AudioError as error:
            outcome.failed(item.name, error)
            continue
        n_whole = max(1, int((duration_s or 0) // _CLIP_S))
        found.append(_Part(item, [_CLIP_S * i for i in _spread(n_whole, n_clips // len(chosen))]))
    return found


def _spread(n: int, n_chosen: int) -> list[int]:
    """At most so many of ``n`` numbers from 0, evenly spaced, none of them at an end if possible."""
    n_chosen = min(n, n_chosen)
    return [(2 * i + 1) * n // (2 * n_chosen) for i in range(n_chosen)]


def _summary(before: int | None, after: int, agreed: Agreement) -> list[tuple[str, str]]:
    return [
        ("size", file_size(after) + ("" if before is None else f", before: {file_size(before)}")),
        ("clips", f"{agreed.n_clips}"),
        ("first tags kept", f"{agreed.first_tags:.1%}"),
        ("mean change of a probability", f"{agreed.mean_change:.1e}"),
        ("largest change", f"{agreed.largest_change:.2g}"),
    ]

"""``pannsx info``: the record of a checkpoint, the properties of an audio file, or the installation."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from pannsx.cli.availability import MEANINGS, availability
from pannsx.cli.console import FAILED, complain_of, remark
from pannsx.cli.installation import installation, installation_facts
from pannsx.cli.options import (
    MODEL_HELP,
    add_cache_dir,
    add_hub_options,
    add_verbosity,
    new_command,
    record_named,
)
from pannsx.cli.output import add_output, output_of, text_output, written
from pannsx.cli.parser import Commands
from pannsx.readable import CLOCK_FROM_S, duration, file_size
from pannsx.weights import local
from pannsx.weights.naming import OWN_SUFFIXES, kind_of
from pannsx.weights.record import Checkpoint
from pannsx.weights.record_json import record_to_json

_DESCRIPTION = """\
Prints everything known about a checkpoint on standard output: its description, the sources,
digests and licence of its weights, its training data and its scores. For an audio file: format,
sample rate, channels and length. Without a name: versions, processors and folders of this
installation."""

_EXAMPLES = """\
  pannsx info Cnn14
  pannsx info Cnn14 --format json
  pannsx info mine.safetensors     a checkpoint of your own, by the record beside it
  pannsx info owner/name           a repository on the Hub
  pannsx info street.mp3
  pannsx info                      this installation"""

_KEY_WIDTH = 16
_LINE_WIDTH = 100


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``info`` to the parser."""
    parser = new_command(
        commands,
        "info",
        run,
        summary="show everything known about a checkpoint, or this installation",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "model",
        metavar="NAME",
        nargs="?",
        help=f"{MODEL_HELP}; or an audio file; none: the installation",
    )
    add_output(parser, "text", "json")
    add_verbosity(parser)
    add_cache_dir(parser)
    add_hub_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the facts; returns the exit status."""
    output = output_of(arguments)
    as_json = output.form == "json"
    lines: Iterable[str] | None
    if arguments.model is None:
        lines = _installation_lines(as_json=as_json)
    elif _is_audio(arguments.model):
        lines = _audio_lines(arguments.model, as_json=as_json)
    else:
        lines = _record_lines(record_named(arguments), arguments.cache_dir, as_json=as_json)
    if lines is None:
        return FAILED
    with text_output(output) as file:
        for line in lines:
            print(line, file=file)
    if output.path is not None and not arguments.quiet:
        remark(written(output.path))
    return 0


def _is_audio(name: str) -> bool:
    """Whether this is a file, but none of a checkpoint."""
    path = Path(name)
    return kind_of(name) == "own" and path.is_file() and path.suffix.lower() not in OWN_SUFFIXES


def _installation_lines(*, as_json: bool) -> Iterator[str]:
    if as_json:
        yield json.dumps(installation(), indent=1)
        return
    for key, value in installation_facts():
        yield f"{key:{_KEY_WIDTH}}{value}"


def _record_lines(record: Checkpoint, cache_dir: str | None, *, as_json: bool) -> Iterator[str]:
    if as_json:
        yield json.dumps(record_to_json(record), indent=1)
        return
    yield record.name
    for key, value in _facts(record, cache_dir):
        lines = textwrap.wrap(
            value,
            _LINE_WIDTH - _KEY_WIDTH - 2,
            break_long_words=False,  # digests and addresses stay whole
            break_on_hyphens=False,
        )
        for i, line in enumerate(lines):
            yield f"  {key if i == 0 else '':{_KEY_WIDTH}}{line}"


def _audio_lines(path: str, *, as_json: bool) -> list[str] | None:
    """The lines on an audio file; None, after a message, if it cannot be read."""
    from pannsx import audio
    from pannsx.errors import AudioError

    try:
        found = audio.info(path)
    except AudioError as error:
        complain_of(path, error)
        return None
    if as_json:
        return [json.dumps({"file": path, **found._asdict()}, indent=1)]
    seconds = "not given by the file"
    if found.duration_s is not None:
        in_hours = f" ({duration(found.duration_s)})" if found.duration_s >= CLOCK_FROM_S else ""
        seconds = f"{found.duration_s:.3f} s{in_hours}"
    facts = (
        ("format", found.format),
        ("sample rate", f"{found.sample_rate} Hz"),
        ("channels", str(found.n_channels)),
        ("length", seconds),
    )
    return [path, *(f"  {key:{_KEY_WIDTH}}{value}" for key, value in facts)]


def _facts(record: Checkpoint, cache_dir: str | None) -> Iterator[tuple[str, str]]:
    """Key and text of every known fact, in reading order."""
    if record.description:
        yield "description", record.description
    yield "architecture", record.architecture
    yield "sample rate", f"{record.sample_rate} Hz"
    if (front := record.frontend) is None:
        yield "front end", "none: the network takes the waveform"
    else:
        yield (
            "front end",
            f"log-mel: n_fft {front.n_fft}, hop {front.hop_length} samples, {front.n_mels} mel bands from "
            f"{front.fmin:g} to {front.fmax:g} Hz",
        )
    yield "labels", f"{record.labels}, {record.n_classes} classes"
    if record.parameters is not None:
        unused = f", {record.unused_parameters:,} of them never used" if record.unused_parameters else ""
        yield "parameters", f"{record.parameters:,}{unused}"
    if record.paper_operations_per_10s is not None:
        yield (
            "operations",
            f"{record.paper_operations_per_10s / 1e9:.2f} G for 10 s, as the paper counts them: "
            "two for each multiply-accumulate",
        )
    if record.int8_steps is not None:
        yield "8 bits", "calibrated, for --precision int8"
    yield from _scores(record)
    if record.trained_on:
        yield "trained on", record.trained_on
    if record.recipe:
        yield "recipe", record.recipe
    yield from _weights(record, cache_dir)
    if record.licence:
        yield "licence", record.licence
    if record.example is not None:
        published = "; ".join(f"{label} {score:.3f}" for label, score in record.example.top.items())
        yield "example", f"{record.example.file}: {published}"
    if record.notes:
        yield "notes", record.notes


def _scores(record: Checkpoint) -> Iterator[tuple[str, str]]:
    if (scores := record.scores) is None:
        return
    measured = {"mAP": scores.mAP, "AUC": scores.auc, "d-prime": scores.d_prime, **scores.other}
    known = [f"{measure} {value:g}" for measure, value in measured.items() if value is not None]
    if known:
        yield "scores", ", ".join(known) + (f" ({scores.source})" if scores.source else "")


def _weights(record: Checkpoint, cache_dir: str | None) -> Iterator[tuple[str, str]]:
    path = local.find(record, cache_dir)
    yield "weights", MEANINGS[availability(record, cache_dir)] + ("" if path is None else f": {path}")
    if record.filename:
        size = (
            ""
            if record.size_bytes is None
            else f", {file_size(record.size_bytes)} ({record.size_bytes:,} bytes)"
        )
        yield "file", record.filename + size
    if record.sha256:
        yield "sha256", record.sha256
    if record.md5:
        yield "md5", record.md5
    if (base := record.base) is not None:
        yield "delta on", f"{base.name}, {base.filename}, sha256 {base.sha256}"
    for number, source in enumerate(record.sources, start=1):
        yield f"source {number}", str(source)

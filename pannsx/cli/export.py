"""``pannsx export``: a checkpoint as a file for other runtimes, with its contract."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from pannsx.cli.console import FAILED, CommandError, remark
from pannsx.cli.options import MODEL_HELP, add_verbosity, add_weights_options, new_command, positive
from pannsx.cli.parser import Commands
from pannsx.readable import file_size

_DESCRIPTION = """\
Writes a checkpoint as an ONNX file, for ONNX Runtime on computers, phones and in browsers, or as a
torch.export program. The front end is part of the file: samples at the checkpoint's rate go in,
probabilities, embedding and probabilities of frames come out. Nothing in the file resamples.

The file is run and compared with the network in torch before it is kept. Its contract is written
beside it, as FILE.json and FILE.md: sample rate, shapes, labels in order with their MIDs, digest of
the weights, and the largest difference measured."""

_EXAMPLES = """\
  pannsx export MobileNetV1_distilled -o exported
  pannsx export Cnn14 -o exported --float16
  pannsx export Cnn14 -o exported --input log_mel --window 10
  pannsx export mine.safetensors -o exported --format torch"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``export`` to the parser."""
    parser = new_command(
        commands,
        "export",
        run,
        summary="write a checkpoint for ONNX Runtime, phones and browsers, or torch.export",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("model", metavar="NAME", help=MODEL_HELP)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to write to; created if missing",
    )
    parser.add_argument(
        "--format", choices=("onnx", "torch"), default="onnx", help="kind of file (default: onnx)"
    )
    parser.add_argument(
        "--input",
        choices=("waveform", "log_mel"),
        default="waveform",
        help="what the file takes: samples, or a log-mel computed outside (default: waveform)",
    )
    parser.add_argument(
        "--window",
        type=_window,
        default="dynamic",
        metavar="S",
        help="fixed length of the sound in seconds, for runtimes that need one, or dynamic: any length "
        "(default: dynamic)",
    )
    parser.add_argument(
        "--float16",
        action="store_true",
        help="weights and products in float16: half the size; input, front end and outputs stay float32",
    )
    add_weights_options(parser)
    add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the files; returns the exit status."""
    from pannsx.export.writing import export
    from pannsx.weights.loading import load

    if arguments.output.exists() and not arguments.output.is_dir():
        raise CommandError(f"{arguments.output} is a file; --output names a folder")
    try:
        loaded = load(
            arguments.model,
            cache_dir=arguments.cache_dir,
            allow_unverified=arguments.allow_unverified,
            progress=not arguments.quiet,
        )
        found = export(
            loaded,
            arguments.output,
            form=arguments.format,
            input_name=arguments.input,
            window_s=None if arguments.window == "dynamic" else arguments.window,
            float16=arguments.float16,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"cannot write to {arguments.output}: {error}", FAILED) from error
    print(found.path)
    if not arguments.quiet:
        measured = found.contract.measured
        remark(
            f"{file_size(found.contract.size_bytes)}; largest difference of a probability from torch: "
            f"{measured.probabilities:.1e}; contract: {found.page_path}"
        )
    return 0


def _window(text: str) -> float | Literal["dynamic"]:
    return "dynamic" if text == "dynamic" else positive(text)

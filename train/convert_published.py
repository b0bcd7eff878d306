"""Convert a published checkpoint to safetensors, with record and model card.

python -m train.convert_published NAME FILE.pth FOLDER [--half] [--constants]

NAME is its name (`pannsx models` lists all). No code in a pickle is ever run, and every key must fit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pannsx import weights
from pannsx.errors import WeightsError
from pannsx.models.cost import n_parameters
from pannsx.weights.digests import file_digest
from pannsx.weights.record import Checkpoint
from train.export import write_exported


def convert(
    name: str, file: Path, folder: Path, *, half: bool = False, constants: bool = False
) -> Checkpoint:
    """Write a published checkpoint's weights, record and card into a folder -> the record.

    Args:
        name: a name of the manifest.
        file: ``.pth`` or safetensors, of any origin.
        folder: output folder; created if necessary.
        half: store weights in float16.
        constants: also store the front end's constants.

    Raises:
        ValueError: unknown name.
        WeightsError: the file cannot be read or does not fit, or the new one cannot be written.
    """
    loaded = weights.load(name, checkpoint=file)
    record = replace(
        loaded.record,
        parameters=n_parameters(loaded.model),
        unused_parameters=0,  # they are dropped
        notes=f"Converted from {file.name}, sha256 {file_digest(file, 'sha256')}.",
    )
    return write_exported(folder, loaded.model, record, None, half=half, constants=constants)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train.convert_published", description="Convert a published checkpoint."
    )
    parser.add_argument("name", help="name of the checkpoint")
    parser.add_argument("file", type=Path, help="the published file")
    parser.add_argument("folder", type=Path, help="output folder")
    parser.add_argument("--half", action="store_true", help="store weights in float16")
    parser.add_argument("--constants", action="store_true", help="also store the front end's constants")
    given = parser.parse_args(arguments)
    try:
        record = convert(given.name, given.file, given.folder, half=given.half, constants=given.constants)
    except (WeightsError, ValueError) as error:
        print(f"train.convert_published: {error}", file=sys.stderr)
        return 1
    print(f"{given.folder / str(record.filename)}: {record.size_bytes:,} bytes, sha256 {record.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

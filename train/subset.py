"""Pack a part of the banks for training on a machine that is lent for some minutes (:mod:`train.lent`).

python -m train.subset BANKS FOLDER [--megabytes 45] [--quality 0.2] [--seed 0]

The clips of the split ``train`` are taken class by class in turn, with their teacher's logits, until the
size is reached (:mod:`train.data.subset`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from train.data.subset import pack

MEGABYTE = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train.subset",
        description="Pack a part of the banks for a machine that is lent for some minutes.",
    )
    parser.add_argument("banks", type=Path, help="a bank, or a folder of banks, with a teacher's logits")
    parser.add_argument("folder", type=Path, help="output folder; it must not exist")
    parser.add_argument(
        "--megabytes", type=float, default=45.0, help="size of all files together (default: %(default)s)"
    )
    parser.add_argument(
        "--quality", type=float, default=0.2, help="of Ogg Vorbis, 0 to 1 (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of clips (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        found = pack(
            given.banks,
            given.folder,
            max_bytes=round(given.megabytes * MEGABYTE),
            quality=given.quality,
            seed=given.seed,
        )
    except (OSError, ValueError) as error:
        print(f"train.subset: {error}", file=sys.stderr)
        return 1
    print(
        f"{given.folder}: {found.n_clips:,} of {found.n_available:,} clips, {found.n_classes} classes, "
        f"{found.n_bytes / MEGABYTE:.1f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

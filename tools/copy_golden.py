"""Copy the golden data, the tests' reference values: ``python tools/copy_golden.py FOLDER``.

Golden data are results of the published PANNs code, recorded as numbers. They change only with a new
recording, so they are copied whole, and a missing file is an error.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

FILES = (
    "README.md",
    "architectures.json",
    "frontend.npz",
    "generation.json",
    "generation.npz",
    "inputs.npz",
    "outputs.npz",
    "seeded_weights.py",
    "state_dict_shapes.json",
    "train_steps.json",
)
TARGET = Path(__file__).resolve().parent.parent / "tests" / "golden"


def main() -> int:
    """Copy every file, or none if one is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the golden data")
    folder: Path = parser.parse_args().folder
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        print(f"{folder} lacks {', '.join(missing)}; nothing was copied", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(folder / name, TARGET / name)
    print(f"copied {len(FILES)} files to {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

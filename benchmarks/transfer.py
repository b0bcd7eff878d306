"""How useful is the bundled checkpoint for other tasks: frozen, fine-tuned, against cepstral coefficients?

    python -m benchmarks.transfer --esc10 FOLDER --esc50 FOLDER --ravdess FOLDER

Runs :mod:`train.finetune` for every given data set in every way, on all its folds, and stores its results in
``benchmarks/transfer_scores``; existing results are not repeated. An hour on two cores, nearly all of it for
fine-tuning. :mod:`benchmarks.transfer_page` makes the documentation's page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.conditions import ROOT

RESULTS = ROOT / "benchmarks" / "transfer_scores"
# Epochs of fine-tuning: the number possible on two cores in the time above.
EPOCHS = {"esc10": 5, "esc50": 3, "ravdess": 4}


class Way(NamedTuple):
    """A way to use a checkpoint, by the names of train.finetune.

    Attributes:
        mode: trained part.
        layers: number of layers of the head.
        name: name in the page.
    """

    mode: str
    layers: int
    name: str


WAYS = (
    Way("mfcc", 1, "MFCC, logistic regression"),
    Way("frozen", 1, "frozen, L1"),
    Way("frozen", 3, "frozen, L3"),
    Way("tuned", 1, "fine-tuned, L1"),
    Way("tuned", 3, "fine-tuned, L3"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transfer",
        description="Scores of the bundled checkpoint on other tasks.",
    )
    for data_set in EPOCHS:
        parser.add_argument(f"--{data_set}", type=Path, metavar="FOLDER")
    given = vars(parser.parse_args())
    failed = []
    for way in WAYS:
        for data_set, epochs in EPOCHS.items():
            path = result_path(data_set, way)
            if given[data_set] is None or path.exists():
                continue
            command = [sys.executable, "-m", "train.finetune", data_set, str(given[data_set].resolve())]
            command += [*options(way, epochs), "--json", str(path)]
            print(f"\n== {data_set}: {way.name}", flush=True)
            if subprocess.run(command, cwd=ROOT, check=False).returncode:
                failed.append(path.stem)
    sys.exit(f"failed: {failed}" if failed else 0)


def result_path(data_set: str, way: Way) -> Path:
    """The file of its scores."""
    return RESULTS / f"{data_set}_{way.mode}_L{way.layers}.json"


def options(way: Way, epochs: int) -> list[str]:
    """Options of train.finetune; ``epochs`` are those of fine-tuning."""
    own = ["--mode", way.mode, "--layers", str(way.layers)]
    return [*own, "--epochs", str(epochs)] if way.mode == "tuned" else own


if __name__ == "__main__":
    main()

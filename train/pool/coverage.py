"""Count the classes covered by banks: for each class, its clips according to a teacher.

python -m train.pool.coverage BANK... [--write COVERAGE.csv]

Every BANK (:mod:`train.data.banks`) needs the logits of a teacher. The table has a row for each class: the
numbers of clips with a probability over .5, .3 and .1, and of those over .3 the numbers of permissive clips,
of the training split and of the valid split. The output is the number of classes with at least 1, 5 and 20
clips of the training split.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pannsx import labels
from pannsx.atomic import replacing
from pannsx.types import FloatArray
from train.data.banks import open_bank
from train.data.probabilities import sigmoid
from train.pool.errors import PoolError

THRESHOLDS = (0.5, 0.3, 0.1)
MAIN_THRESHOLD = 0.3
LEAST_CLIPS = (1, 5, 20)
COLUMNS = ("class", "over_.5", "over_.3", "over_.1", "permissive_over_.3", "train_over_.3", "valid_over_.3")


class Heard(NamedTuple):
    """A teacher's probabilities of clips.

    Attributes:
        probabilities: ``(N, K)``.
        permissive: ``(N,)``, whether a clip's licence is permissive.
        valid: ``(N,)``, whether it belongs to the valid split.
    """

    probabilities: NDArray[np.float32]
    permissive: NDArray[np.bool_]
    valid: NDArray[np.bool_]

    def counts(self, threshold: float, clips: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """``(K,)`` numbers of clips over a threshold, of some or all clips."""
        chosen = self.probabilities if clips is None else self.probabilities[clips]
        counts: NDArray[np.int64] = np.count_nonzero(chosen > threshold, axis=0)
        return counts


def read_banks(folders: Sequence[Path]) -> Heard:
    """The teacher's probabilities ``(N, K)`` of the clips of banks.

    Raises:
        PoolError: a bank's logits are not of AudioSet's classes, or its clips have no tiers.
        ValueError: a bank has no logits, or is incomplete.
        OSError: a file cannot be read.
    """
    logits: list[FloatArray] = []
    tiers: list[str] = []
    splits: list[str] = []
    for folder in folders:
        bank = open_bank(folder)
        if bank.logits.shape[1:] != (len(labels.audioset()),):
            raise PoolError(
                f"{folder / 'logits.npy'} holds {bank.logits.shape}; "
                f"{(len(bank), len(labels.audioset()))} is needed; make it again"
            )
        if not all(bank.tiers):
            raise PoolError(f"{folder / 'index.csv'} has no tier for some clips; give a bank of train.pool")
        logits.append(bank.logits)
        tiers += bank.tiers
        splits += bank.splits
    probabilities = sigmoid(np.concatenate(logits))
    return Heard(
        probabilities.astype(np.float32),
        np.array([tier == "permissive" for tier in tiers], np.bool_),
        np.array([split == "valid" for split in splits], np.bool_),
    )


def table_of(heard: Heard) -> list[tuple[object, ...]]:
    """A row for each class, with `COLUMNS`."""
    columns = [
        *(heard.counts(threshold) for threshold in THRESHOLDS),
        heard.counts(MAIN_THRESHOLD, heard.permissive),
        heard.counts(MAIN_THRESHOLD, ~heard.valid),
        heard.counts(MAIN_THRESHOLD, heard.valid),
    ]
    names = labels.audioset().names
    return [(name, *(int(column[k]) for column in columns)) for k, name in enumerate(names)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train.pool.coverage", description="Count the classes covered by banks."
    )
    parser.add_argument("banks", type=Path, nargs="+", help="banks with logits.npy")
    parser.add_argument("--write", type=Path, help="table to write (.csv)")
    given = parser.parse_args(arguments)
    try:
        heard = read_banks(given.banks)
        if given.write is not None:
            with (
                replacing(given.write) as temporary,
                temporary.open("w", encoding="utf-8", newline="") as file,
            ):
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows(table_of(heard))
    except (OSError, ValueError) as error:
        print(f"train.pool.coverage: {error}", file=sys.stderr)
        return 1
    print(f"{np.count_nonzero(~heard.valid)} clips to train on, {np.count_nonzero(heard.valid)} valid")
    for threshold in THRESHOLDS:
        counts = heard.counts(threshold, ~heard.valid)
        classes = " / ".join(str(np.count_nonzero(counts >= least)) for least in LEAST_CLIPS)
        print(f"over {threshold}: classes with at least {' / '.join(map(str, LEAST_CLIPS))} clips: {classes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

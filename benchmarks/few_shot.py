"""How many clips does a class need: prototypes, and the trained head, on one to five clips a class?

    python -m benchmarks.few_shot ESC-50-FOLDER

For each fold of ESC-50 and each draw, one, two and five clips of each class are drawn from the other folds,
and the fold is tested: by prototypes (:mod:`pannsx.transfer.prototypes`), and by a trained head of one layer,
as of ``train.finetune --mode frozen``, on the same clips. The embeddings of all clips are computed once; some
minutes on one core. :mod:`benchmarks.transfer_page` makes the table from the result in
``benchmarks/few_shot_scores``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.conditions import ROOT
from pannsx import weights
from pannsx.atomic import replacing
from pannsx.metrics import accuracy
from pannsx.transfer.clips import Clips
from pannsx.transfer.embedding import embed
from pannsx.transfer.experiment import few, targets_of
from pannsx.transfer.head import Head, HeadSettings, apply, train_head
from pannsx.transfer.prototypes import prototype_head
from pannsx.types import FloatArray
from train.transfer.data_sets import read_data_set

RESULT = ROOT / "benchmarks" / "few_shot_scores" / "esc50.json"
SHOTS, N_DRAWS = (1, 2, 5), 10

Learn = Callable[[FloatArray, NDArray[np.bool_], int], Head]
WAYS: dict[str, Learn] = {
    "prototypes": lambda embeddings, targets, seed: prototype_head(embeddings, targets),
    "trained head": lambda embeddings, targets, seed: train_head(
        embeddings, targets, HeadSettings(), seed=seed
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_shot", description="Accuracy by the number of clips a class."
    )
    parser.add_argument("folder", type=Path, help="folder of ESC-50")
    parser.add_argument(
        "--draws", type=int, default=N_DRAWS, help="of the clips to learn from (default: %(default)s)"
    )
    given = parser.parse_args()
    data = read_data_set("esc50", given.folder)
    base = weights.load(None)
    embeddings = embed(base, Clips(data.recordings, base.record.sample_rate, kept_bytes=0))
    targets = targets_of(data)
    content = {
        "data_set": data.name,
        "n_clips": len(data.recordings),
        "model": base.record.name,
        "weights_sha256": base.record.sha256,
        "curves": [
            {"way": way, "shots": shots, "accuracy": accuracies}
            for way in WAYS
            for shots, accuracies in curve(embeddings, targets, data, WAYS[way], given.draws).items()
        ],
    }
    with replacing(RESULT) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(RESULT)


def curve(
    embeddings: FloatArray, targets: NDArray[np.bool_], data: Any, learn: Learn, n_draws: int
) -> dict[int, dict[str, list[float]]]:
    """By shots and split, the accuracy of each draw."""
    found: dict[int, dict[str, list[float]]] = {}
    for shots in SHOTS:
        found[shots] = {}
        for split in data.splits:
            tests = data.rows(split.test)
            truth = targets[tests].argmax(axis=1)
            of_draws = []
            for draw in range(n_draws):
                rows = few(targets, data.rows(split.train), shots, draw)
                head = learn(embeddings[rows], targets[rows], draw)
                of_draws.append(round(accuracy(truth, apply(head, embeddings[tests])), 4))
            found[shots][split.name] = of_draws
        print(
            shots, {name: round(float(np.mean(each)), 4) for name, each in found[shots].items()}, flush=True
        )
    return found


if __name__ == "__main__":
    main()

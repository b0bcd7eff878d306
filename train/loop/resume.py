"""Resuming a run on all ranks alike.

Every rank has a folder of its own, which may be the same folder, or another one on each machine. The first
rank's newest checkpoint is that of the run, and is sent to the others. Ranks that began from different
checkpoints would average the gradients of different models without any error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.loop import checkpoints
from train.loop.checks import TrainingError
from train.loop.distributed import Ranks, shared_tree, texts_of_ranks


def newest_of_all(folder: Path, ranks: Ranks) -> dict[str, Any] | None:
    """The first rank's newest checkpoint, on every rank; None if there is none.

    Raises:
        TrainingError: another rank has a newer one, which the run would lose.
        CheckpointError: it cannot be read.
    """
    steps = checkpoints.present(folder)
    newest = [int(text) for text in texts_of_ranks(str(steps[-1][0] if steps else 0), ranks)]
    ahead = max(range(len(newest)), key=lambda rank: newest[rank])
    if newest[ahead] > newest[0]:
        had = f"is of step {newest[0]}" if newest[0] else "does not exist"
        raise TrainingError(
            f"rank {ahead} has a checkpoint of step {newest[ahead]} in its {folder}, and the first rank's "
            f"{had}; the first rank's is used, so copy that folder to its machine, or remove the newer one"
        )
    state = checkpoints.newest(folder) if ranks.first else None
    shared: dict[str, Any] | None = shared_tree(state, ranks)
    return shared


def check_alike(values: Mapping[str, Any], ranks: Ranks) -> None:
    """TrainingError unless all ranks have the same values, such as recipe, data and step."""
    own = {key: _digest(value) for key, value in values.items()}
    of_all = [json.loads(text) for text in texts_of_ranks(json.dumps(own), ranks)]
    for rank, theirs in enumerate(of_all):
        different = [key for key in own if theirs[key] != of_all[0][key]]
        if different:
            raise TrainingError(
                f"rank {rank} and the first rank differ in {' and '.join(different)}; start all ranks with "
                "the same command, code and clips"
            )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()

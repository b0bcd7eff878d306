"""What two ranks and a lone process do alike in the tests: steps in float64, first gradients in float32.

python tests/support/rank_work.py FOLDER STORE PORT ARGUMENT..., under the environment of torchrun: writes
``FOLDER/rank-N.pt``, then calls train.run with the arguments, with PORT for the ranks to meet at; ``RANK`` in
an argument is the rank's number, for folders of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seeded_models import narrow_row

from pannsx.models.zoo import ARCHITECTURES
from train.data.loader import as_waveform
from train.data.samplers import make_sampler
from train.data.store import Store
from train.evaluate import predict
from train.loop.augment import choose
from train.loop.checks import TrainingError
from train.loop.distributed import Ranks, gathered, joined, sums
from train.loop.optimiser import make_optimiser
from train.loop.resume import check_alike, newest_of_all
from train.loop.step import Part, backward, log_mel_shape, prepare
from train.loop.trained import fresh_model
from train.recipe import Recipe, read_recipe
from train.run import main

CASES = ("LeeNet11", "Cnn6")
"""Batch norms over time alone, and over time and bands; samples mixed, and log-mels mixed and blanked."""

_N_DRAWN, _N_STEPS = 8, 3


def recipe_for(name: str, precision: str) -> Recipe:
    """Without dropout, whose draws differ between ranks."""
    given = [
        "model.sample_rate=8000", "model.labels=data", "model.dropout=none", "optimiser.kind=sgd",
        "optimiser.learning_rate=0.01", "run.batch_size=4", "run.sync_batch_norm=true",
        f"run.precision={precision}", "augment.time_width=16",
    ]  # fmt: skip
    if name == "Cnn6":
        given += ["frontend.n_fft=256", "frontend.hop_length=80", "frontend.fmax=4000"]
    return read_recipe(name, given)


def steps(recipe: Recipe, store: Store, ranks: Ranks, n_steps: int) -> dict[str, Any]:
    """Some steps of SGD -> losses, and weights and statistics after them or, of one step, its gradients."""
    model = fresh_model(recipe, len(store.labels))
    network = prepare(model, recipe, ranks).train()
    optimiser = make_optimiser(recipe.optimiser, model)
    sampler = make_sampler(recipe, store, store.targets)
    share = ranks.share(_N_DRAWN)
    losses = []
    for step in range(n_steps):
        rows = sampler.draw(_N_DRAWN)[slice(*share)]
        choices = choose(
            recipe.augment, 1, step, n_clips=_N_DRAWN, sample_rate=8000,
            log_mel=log_mel_shape(model, store.n_samples),
        )  # fmt: skip
        waveform = as_waveform(torch.from_numpy(np.stack([store.read(int(row)) for row in rows])))
        targets = torch.from_numpy(store.targets[rows].astype(np.float32))
        optimiser.zero_grad()
        loss = backward(network, [Part(waveform, targets, choices.part(*share))])
        losses += sums([float(loss) / ranks.world_size], ranks)
        optimiser.step()
    if n_steps == 1:
        return {"gradients": {key: weights.grad for key, weights in model.named_parameters()}}
    return {"losses": losses, "state": model.state_dict()}


def work(store: Store, ranks: Ranks) -> dict[str, Any]:
    """All that is compared. The Cnn6 has a quarter of its channels: ranks share batches, not channels."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "Cnn6", narrow_row(ARCHITECTURES["Cnn6"]))
        return _work(store, ranks)


def _work(store: Store, ranks: Ranks) -> dict[str, Any]:
    result: dict[str, Any] = {
        f"{name}/{precision}": steps(recipe_for(name, precision), store, ranks, n_steps)
        for name in CASES
        for precision, n_steps in (("float64", _N_STEPS), ("float32", 1))
    }
    recipe = recipe_for("LeeNet11", "float32")
    result["probabilities"] = torch.from_numpy(predict(fresh_model(recipe, 9), store, ranks, batch_size=8))
    own = np.arange(5, dtype=np.float32)[slice(*ranks.share(5))].reshape(-1, 1)
    result["gathered"] = gathered(own, 5, ranks).ravel().tolist()
    return result


def resuming(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """The newest checkpoint as every rank gets it, and what is refused."""
    result: dict[str, Any] = {"newest": newest_of_all(folder / f"run-{ranks.rank}", ranks)}
    refused = {
        "newer": lambda: newest_of_all(folder / f"run-{1 - ranks.rank}", ranks),
        "different": lambda: check_alike({"recipe": ranks.rank, "data": 1, "step": ranks.rank}, ranks),
    }
    for name, begun in refused.items():
        try:
            begun()
        except TrainingError as error:
            result[name] = str(error)
    return result


if __name__ == "__main__":
    with joined("cpu") as ranks:
        torch.save(resuming(Path(sys.argv[1]), ranks), Path(sys.argv[1]) / f"resuming-{ranks.rank}.pt")
        torch.save(work(Store(sys.argv[2]), ranks), Path(sys.argv[1]) / f"rank-{ranks.rank}.pt")
    os.environ["MASTER_PORT"] = sys.argv[3]
    sys.exit(main([argument.replace("RANK", os.environ["RANK"]) for argument in sys.argv[4:]]))

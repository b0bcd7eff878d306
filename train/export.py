"""Export a training run as a checkpoint: safetensors, record and model card.

python -m train.export RUN FOLDER [--name NAME] [--half] [--constants] [--licence MIT] [--description TEXT]

RUN is a run's folder (its newest checkpoint) or one of its checkpoints. If the recipe averages weights, the
average is exported. ``AudioTagger(checkpoint=FOLDER)`` then loads the result.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pannsx.atomic import replacing
from pannsx.errors import WeightsError
from pannsx.labels import LabelSet
from pannsx.models import Pann
from pannsx.models.convert import to_published
from pannsx.models.cost import n_parameters
from pannsx.models.layout import published_key
from pannsx.weights import manifest, save_checkpoint
from pannsx.weights.card import model_card
from pannsx.weights.record import Checkpoint, Scores
from train.loop import checkpoints, log
from train.loop.trained import trained_model
from train.recipe import Recipe, saved_recipe


def export(
    run: Path,
    folder: Path,
    *,
    name: str | None = None,
    half: bool = False,
    constants: bool = False,
    licence: str | None = None,
    description: str | None = None,
) -> Checkpoint:
    """Write a run's checkpoint, record and card into a folder -> the record.

    Args:
        run: a run's folder, or a checkpoint in it.
        folder: output folder; created if necessary.
        name: name of the checkpoint; None: the recipe's.
        half: store weights in float16.
        constants: also store the front end's constants, for the published code; pannsx derives them.
        licence: licence of the weights, as an SPDX identifier.
        description: one sentence.

    Raises:
        CheckpointError, WeightsError: no checkpoint, or one that cannot be read or written.
    """
    present = checkpoints.present(run) if run.is_dir() else []
    if run.is_dir() and not present:
        raise checkpoints.CheckpointError(f"{run} holds no checkpoint of a run; create one with train.run")
    path = present[-1][1] if present else run
    state = checkpoints.load(path)
    recipe = saved_recipe(state["recipe"], path.name)
    model = trained_model(state)
    is_audioset = recipe.model.labels == "audioset"
    ids = state["label_ids"]
    labels = LabelSet(tuple(state["labels"]), None if ids is None else tuple(ids))
    record = Checkpoint(
        name=name or recipe.name,
        architecture=recipe.model.architecture,
        sample_rate=recipe.model.sample_rate,
        frontend=recipe.frontend,
        labels="audioset" if is_audioset else "own",
        n_classes=len(labels),
        parameters=n_parameters(model),
        unused_parameters=0,
        licence=licence,
        description=description or f"{recipe.model.architecture} trained by the recipe {recipe.name}",
        trained_on=_provenance(recipe, state),
        scores=_scores(path.parent.parent, state["step"], recipe),
        recipe=f"train/recipes/{recipe.name}.toml" if _is_shipped(recipe) else None,
    )
    return write_exported(
        folder, model, record, None if is_audioset else labels, half=half, constants=constants,
        recipe=state["recipe"],
    )  # fmt: skip


def write_exported(
    folder: Path,
    model: Pann,
    record: Checkpoint,
    labels: LabelSet | None,
    *,
    half: bool,
    constants: bool,
    recipe: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Write a model's weights, record, labels and card into a folder -> the record as written.

    Raises:
        WeightsError: a weight does not fit into float16, or the files cannot be written.
    """
    state = (
        to_published(model)
        if constants
        else {published_key(key): tensor for key, tensor in model.state_dict().items()}
    )
    if half:
        state = {key: _halved(key, tensor) for key, tensor in state.items()}
    record = save_checkpoint(folder / f"{record.name}.safetensors", state, record, labels=labels)
    try:
        with replacing(folder / "README.md") as temporary:
            temporary.write_text(model_card(record, recipe=recipe), encoding="utf-8", newline="\n")
    except OSError as error:
        raise WeightsError(f"cannot write {folder / 'README.md'}: {error}") from error
    return record


def _halved(key: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.to(torch.float16)
    if not bool(halved.isfinite().all()):
        raise WeightsError(f"{key} holds {float(tensor.abs().max()):g}, beyond float16; store it in float32")
    return halved


def _provenance(recipe: Recipe, state: Mapping[str, Any]) -> str:
    """Description of a run, in words; the model card contains the whole recipe."""
    data, versions = state["data"], state["versions"]
    run = recipe.run
    said = [
        f"{state['step']:,} of {run.steps:,} steps of {run.batch_size} clips, seed {run.seed}",
        f"recipe {recipe.name}, possibly changed on the command line; the model card has it in full",
        f"training clips: {data['n_clips']:,}, sha256 {data['train']}",
    ]
    if data["teacher"]:
        said.append(f"teacher's logits: sha256 {data['teacher']}")
    if state["average"]:
        said.append(f"weights averaged ({recipe.average.kind})")
    made_with = ", ".join(f"{what} {version}" for what, version in versions.items() if version)
    return "; ".join([*said, made_with]) + "."


def _scores(run: Path, step: int, recipe: Recipe) -> Scores:
    """Scores of this step in the run's log."""
    for entry in log.read(run):
        if entry.get("kind") == "evaluate" and entry["step"] == step:
            source = f"train.run on {Path(recipe.data.evaluation).name}, step {step:,}"
            return Scores(
                mAP=entry["mAP"], auc=entry["auc"], d_prime=entry["d_prime"], source=source, other={}
            )
    return Scores(mAP=None, auc=None, d_prime=None, source=None, other={})


def _is_shipped(recipe: Recipe) -> bool:
    return recipe.name in manifest.load_manifest()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.export", description="Export a run as a checkpoint.")
    parser.add_argument("run", type=Path, help="a run's folder, or a checkpoint in it")
    parser.add_argument("folder", type=Path, help="output folder")
    parser.add_argument("--name", help="name of the checkpoint (default: the recipe's)")
    parser.add_argument("--half", action="store_true", help="store weights in float16")
    parser.add_argument("--constants", action="store_true", help="also store the front end's constants")
    parser.add_argument("--licence", help="licence of the weights, such as MIT")
    parser.add_argument("--description", help="one sentence")
    given = parser.parse_args(arguments)
    try:
        record = export(
            given.run, given.folder, name=given.name, half=given.half, constants=given.constants,
            licence=given.licence, description=given.description,
        )  # fmt: skip
    except (checkpoints.CheckpointError, WeightsError, ValueError) as error:
        print(f"train.export: {error}", file=sys.stderr)
        return 1
    shown = {"file": str(given.folder / str(record.filename)), "bytes": record.size_bytes}
    print(json.dumps({**shown, "sha256": record.sha256}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

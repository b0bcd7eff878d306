"""Score a checkpoint on an evaluation set: mAP, AUC and d-prime, overall and per class.

python -m train.evaluate CHECKPOINT CLIPS [--report REPORT.csv] [--device cuda] [--precision bfloat16]

CHECKPOINT is a run's folder (its newest checkpoint), a run's checkpoint, or an argument of
``pannsx.weights.load``: a name, or a file of weights with its record. CLIPS is an index, a packed store or
WebDataset tars; stores and tars at URLs or on network file systems are read through copies in the folder
``--staging``. Under ``torchrun`` every rank computes a part of the clips.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from pannsx import weights
from pannsx.atomic import replacing
from pannsx.errors import WeightsError
from pannsx.labels import LabelSet
from pannsx.metrics import TaggingScores, tagging_scores
from pannsx.models import Pann
from pannsx.types import FloatArray
from train.data.loader import LoaderError, Readers, as_waveform, ordered_batches
from train.data.open_clips import open_stored
from train.data.packed import Clips
from train.data.staging import Staging
from train.loop import checkpoints
from train.loop.distributed import Ranks, gathered, joined
from train.loop.step import DTYPES, ClipLogits
from train.loop.trained import trained_model
from train.recipe import Recipe, saved_recipe


def predict(
    model: Pann,
    clips: Clips,
    ranks: Ranks,
    *,
    batch_size: int = 32,
    workers: int = 0,
    readers: Readers = "processes",
    progress: bool = False,
    precision: str = "float32",
) -> FloatArray:
    """``(N, K)`` probabilities of all clips, computed by all ranks and returned on each.

    The model's mode (training or evaluation) is restored. With ``precision="bfloat16"`` the network is
    computed in bfloat16, and the log-mel in float32.

    Raises:
        LoaderError: a clip cannot be read.
    """
    was_training = model.training
    model.eval()
    weights_dtype = next(model.parameters()).dtype
    network = ClipLogits(model, DTYPES[precision] if precision == "bfloat16" else weights_dtype)
    begin, end = ranks.share(len(clips))
    rows = []
    with (
        torch.inference_mode(),
        tqdm(
            total=end - begin,
            unit="clip",
            desc="evaluate",
            disable=not (progress and ranks.first) or None,
            leave=False,
        ) as bar,
    ):
        for pcm, _ in ordered_batches(clips, begin, end, batch_size, workers=workers, readers=readers):
            logits = network(as_waveform(pcm.to(ranks.device, non_blocking=True)))
            rows.append(logits.float().sigmoid().cpu().numpy())
            bar.update(len(pcm))
    model.train(was_training)
    own = np.concatenate(rows) if rows else np.empty((0, model.n_classes), np.float32)
    return gathered(own, len(clips), ranks)


def evaluate(
    model: Pann,
    clips: Clips,
    ranks: Ranks,
    *,
    batch_size: int = 32,
    workers: int = 0,
    readers: Readers = "processes",
    progress: bool = False,
    precision: str = "float32",
) -> TaggingScores:
    """Scores of a model on clips, the same on every rank; arguments as in `predict`."""
    probabilities = predict(
        model, clips, ranks,
        batch_size=batch_size, workers=workers, readers=readers, progress=progress, precision=precision,
    )  # fmt: skip
    return tagging_scores(clips.targets[:], probabilities)


def write_report(path: Path, scores: TaggingScores, labels: Sequence[str]) -> None:
    """Write a CSV with a row per class, best average precision first, classes without positive clips last."""
    order = np.argsort(-np.nan_to_num(scores.average_precision, nan=-1.0), kind="stable")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "n_positive", "average_precision", "auc", "d_prime"])
        for k in order.tolist():
            values = [scores.average_precision[k], scores.auc[k], scores.d_prime[k]]
            written = ["" if np.isnan(value) else f"{value:.6f}" for value in values]
            writer.writerow([labels[k], int(scores.n_positive[k]), *written])


class Evaluated(NamedTuple):
    """A model to evaluate, its labels with their ids if they have some, and its recipe if known."""

    model: Pann
    labels: tuple[str, ...]
    recipe: Recipe | None
    label_ids: tuple[str, ...] | None = None


def open_model(checkpoint: str) -> Evaluated:
    """A run's newest or given checkpoint, else that of ``pannsx.weights.load``.

    Raises:
        CheckpointError, WeightsError, ValueError: no checkpoint, or an unreadable one.
    """
    path = Path(checkpoint)
    steps = checkpoints.present(path) if path.is_dir() else []
    if steps or path.suffix == ".pt":
        state = checkpoints.load(steps[-1][1] if steps else path)
        recipe = saved_recipe(state["recipe"], path.name)
        ids = state["label_ids"]
        return Evaluated(
            trained_model(state), tuple(state["labels"]), recipe, None if ids is None else tuple(ids)
        )
    loaded = weights.load(checkpoint)
    return Evaluated(loaded.model, loaded.labels.names, None, loaded.labels.ids)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.evaluate", description="Score a checkpoint on clips.")
    parser.add_argument("checkpoint", help="a run's folder, a checkpoint of it, a file of weights or a name")
    parser.add_argument("clips", help="index file, packed store or tars; a path or a URL")
    parser.add_argument("--report", type=Path, help="write the scores of each class (.csv)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=4, help="reading processes (default: %(default)s)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--staging", type=Path, help="local folder for copies of clips at URLs or on a network file system"
    )
    parser.add_argument(
        "--staging-gb", type=float, default=100.0, help="size of all copies in GB (default: %(default)s)"
    )
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    given = parser.parse_args(arguments)
    try:
        with joined(given.device) as ranks:
            evaluated = open_model(given.checkpoint)
            clips = open_stored(
                given.clips, evaluated.model.sample_rate, LabelSet(evaluated.labels, evaluated.label_ids),
                None if given.staging is None else Staging(given.staging, round(1e9 * given.staging_gb)),
            )  # fmt: skip
            if tuple(clips.labels) != evaluated.labels:
                raise ValueError(f"{given.clips} and {given.checkpoint} have different labels")
            if clips.sample_rate != evaluated.model.sample_rate:
                raise ValueError(
                    f"{given.clips} has {clips.sample_rate} Hz, the model {evaluated.model.sample_rate} Hz"
                )
            model = evaluated.model.to(ranks.device)
            scores = evaluate(
                model, clips, ranks, batch_size=given.batch_size, workers=given.workers, progress=True,
                precision=given.precision,
            )  # fmt: skip
            if ranks.first:
                print(scores)
                if given.report is not None:
                    write_report(given.report, scores, evaluated.labels)
    except (
        checkpoints.CheckpointError,
        LoaderError,
        WeightsError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        print(f"train.evaluate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

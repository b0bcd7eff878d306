"""Fine-tune a checkpoint on another task, as in section V of the paper, and score it on the official folds.

python -m train.finetune esc50 FOLDER --mode frozen --layers 1
python -m train.finetune folder MY_SOUNDS --mode tuned --epochs 10 --save mine.safetensors

Modes: ``frozen`` (a head of 1 to 3 layers on embeddings: the paper's Freeze_L1 and Freeze_L3),
``tuned`` (network and new head), ``scratch`` (the same from random weights) and ``mfcc`` (the head
on cepstral coefficients, without a network).  ``--shots 1 2 5 10`` scores with that many clips per class.

``--save`` writes a checkpoint that ``AudioTagger(checkpoint=...)`` loads with the task's own labels.  It is
trained on all folds, or only on the training set of data sets with a separate test set, with the settings
of the quoted scores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pannsx import weights
from pannsx.atomic import replacing
from pannsx.corpus.outputs import check_output
from pannsx.errors import AudioError, WeightsError
from pannsx.transfer.augment import unchanged
from pannsx.transfer.clips import Clips
from pannsx.transfer.data_set import DataSet, Split, check_files
from pannsx.transfer.embedding import embed
from pannsx.transfer.experiment import Learn, Result, head_on, network_and_head, run, targets_of
from pannsx.transfer.head import MAX_LAYERS, HeadSettings
from pannsx.transfer.kept import clip_head_of
from pannsx.transfer.saving import save
from pannsx.transfer.tuning import TuneSettings
from pannsx.weights.saving import check_path
from train.loop.memory import keep_freed_memory
from train.transfer.augmented import mixup_and_stripes
from train.transfer.data_sets import DATA_SETS, read_data_set
from train.transfer.mfcc import mfcc_statistics

MODES = ("frozen", "tuned", "scratch", "mfcc")
HEAD_ALONE = ("frozen", "mfcc")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    defaults = HeadSettings if given.mode in HEAD_ALONE else TuneSettings
    for key in ("epochs", "learning_rate"):
        if getattr(given, key) is None:
            setattr(given, key, getattr(defaults, key))
        elif getattr(given, key) <= 0:
            parser.error(f"--{key.replace('_', '-')} is {getattr(given, key)}; it must be positive")
    if given.save is not None and given.mode == "mfcc":
        parser.error("--save writes a network with its head, and --mode mfcc has none")
    if given.device == "cpu":
        keep_freed_memory()
    try:
        _check_outputs(given)
        data = read_data_set(given.data_set, given.place)
        check_files(data.recordings, data.name)
        splits = _splits(data, given.folds)
        base = weights.load(given.model, checkpoint=given.checkpoint, progress=sys.stderr.isatty())
        if given.save is not None:
            clip_head_of(base.model)
        print(f"{data.name}: {len(data.recordings)} clips, {len(data.labels)} classes; {base.record.name}")
        waveforms = Clips(data.recordings, base.record.sample_rate)
        learn = _learner(given, data, base, waveforms)
        results = [
            run(data, targets_of(data), learn, seed=given.seed, splits=splits, shots=shots, on_score=_tell)
            for shots in given.shots or [None]
        ]
        for result in results:
            print(_line(given, result))
        if given.json is not None:
            _write_json(given, data, base.record.name, results)
        if given.save is not None:
            _save(given, data, learn, results[-1])
    except (AudioError, WeightsError, OSError, ValueError) as error:
        print(f"train.finetune: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train.finetune", description="Fine-tune a checkpoint on another task."
    )
    parser.add_argument("data_set", choices=tuple(DATA_SETS), metavar="DATA_SET", help=", ".join(DATA_SETS))
    parser.add_argument("place", type=Path, help="folder of the data set, or the CSV")
    parser.add_argument("--model", help="a name of the manifest (default: the bundled one)")
    parser.add_argument("--checkpoint", type=Path, help="weights of your own")
    parser.add_argument("--mode", choices=MODES, default="frozen", help="(default: %(default)s)")
    parser.add_argument(
        "--layers", type=int, choices=range(1, MAX_LAYERS + 1), default=1, help="layers of the head"
    )
    parser.add_argument("--epochs", type=int, help="default: 100 for a head alone, else 10")
    parser.add_argument("--learning-rate", type=float, help="default: 3e-3 for a head alone, else 1e-4")
    parser.add_argument("--batch-size", type=int, default=32, help="(default: %(default)s)")
    parser.add_argument("--augment", action="store_true", help="mixup and SpecAugment, for long training")
    parser.add_argument("--folds", nargs="+", help="hold out only these folds, by name")
    parser.add_argument("--shots", type=int, nargs="+", help="training clips per class")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write scores and settings to this file")
    parser.add_argument("--save", type=Path, help="write a checkpoint (.safetensors)")
    return parser


def _check_outputs(given: argparse.Namespace) -> None:
    """ValueError if a file to write could not be written after all the work."""
    if given.save is not None:
        check_path(given.save)
    for output in (given.save, given.json):
        if output is not None:
            check_output(output, [])


def _learner(
    given: argparse.Namespace, data: DataSet, base: weights.LoadedCheckpoint, waveforms: Clips
) -> Learn:
    targets = targets_of(data)
    head = HeadSettings(layers=given.layers, batch_size=given.batch_size)
    if given.mode in HEAD_ALONE:
        head = HeadSettings(
            layers=given.layers,
            batch_size=given.batch_size,
            # There are only 80 features, each with its own scale.
            dropout=0.0 if given.mode == "mfcc" else head.dropout,
            least_spread=0.0 if given.mode == "mfcc" else head.least_spread,
            epochs=given.epochs,
            learning_rate=given.learning_rate,
        )
        if given.mode == "mfcc":
            return head_on(mfcc_statistics(waveforms, base.record.sample_rate), targets, head)
        return head_on(embed(base, waveforms, device=given.device), targets, head, base)
    settings = TuneSettings(
        epochs=given.epochs,
        learning_rate=given.learning_rate,
        batch_size=given.batch_size,
        clip_s=data.clip_s,
        device=given.device,
        augment=mixup_and_stripes if given.augment else unchanged,
    )
    return network_and_head(base, waveforms, targets, settings, head, from_scratch=given.mode == "scratch")


def _splits(data: DataSet, held_out: Sequence[str] | None) -> tuple[Split, ...]:
    if held_out is None:
        return data.splits
    known = {fold for split in data.splits for fold in split.test}
    unknown = set(held_out) - known
    if unknown:
        raise ValueError(f"{data.name} holds out the folds {sorted(known)}; got {sorted(unknown)}")
    return tuple(split for split in data.splits if split.test & set(held_out))


def _tell(split: str, score: float) -> None:
    print(f"  {split}: {score:.4f}", flush=True)


def _line(given: argparse.Namespace, result: Result) -> str:
    layers = f" L{given.layers}" if given.mode != "scratch" else ""
    shots = "" if result.shots is None else f", {result.shots} clips per class"
    splits = (
        f"over {len(result.scores)} splits" if len(result.scores) > 1 else f"on {next(iter(result.scores))}"
    )
    return f"{given.mode}{layers}{shots}: {result.measure} {result.mean:.4f} ± {result.spread:.4f} {splits}"


def _write_json(given: argparse.Namespace, data: DataSet, model: str, results: Sequence[Result]) -> None:
    content: dict[str, Any] = {
        "data_set": data.name,
        "n_clips": len(data.recordings),
        "model": model,
        **{
            key: getattr(given, key)
            for key in ("mode", "layers", "epochs", "learning_rate", "batch_size", "augment", "seed")
        },
        "results": [{**asdict(result), "mean": result.mean, "spread": result.spread} for result in results],
    }
    with replacing(given.json) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")


def _save(given: argparse.Namespace, data: DataSet, learn: Learn, measured: Result) -> None:
    fitted = learn(data.final_rows(), given.seed)
    if fitted.base is None:
        raise ValueError("there is no network to save")
    on = (
        "the training side"
        if data.has_test_set
        else "all folds; the score of each fold is from training on the others"
    )
    record = save(
        given.save,
        fitted.base,
        fitted.head,
        data.labels,
        description=f"{len(data.labels)} classes of {data.name}.",
        trained_on=f"{data.name}, {on} ({given.mode}, seed {given.seed}).",
        scores={f"{data.name} {measured.measure}": round(measured.mean, 4)},
    )
    print(f"{given.save}: {record.n_classes} classes, {record.size_bytes} bytes")


if __name__ == "__main__":
    sys.exit(main())

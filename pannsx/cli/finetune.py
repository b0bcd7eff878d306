"""``pannsx finetune``: a checkpoint for classes of one's own, scored on clips held out."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from pannsx.atomic import replacing
from pannsx.cli.console import FAILED, CommandError, columns, complain, remark
from pannsx.cli.options import (
    add_network_options,
    add_verbosity,
    add_weights_options,
    count,
    named,
    new_command,
    positive,
)
from pannsx.cli.output import written
from pannsx.cli.parser import Commands
from pannsx.cli.progress import counting
from pannsx.corpus.outputs import OutputError, check_output
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.transfer.data_set import DataSet
    from pannsx.transfer.study import Study

_DESCRIPTION = """\
Trains a network for classes of your own, and says how well it does on clips that it has not heard.

DATA is a folder with a folder of clips for each class (or with the folders train and test, each with a
folder for each class), or a CSV with the columns file (relative to the CSV) and label; several labels of a
clip are separated by ";". Optional columns: group (such as a speaker or a place, never on both sides),
start_s and duration_s (a part of the file), fold.

By default a new last layer is trained on the embeddings of the network, which takes seconds to minutes.
With --tune the whole network is trained with it, from there.

Without a split of your own, the clips are divided into five folds, each held out once; every class is
spread evenly over them. The scores are those of the held-out clips. The saved checkpoint is then trained on
all clips. Beside it are its record, labels and operating points, NAME.classes.csv (scores by class) and
NAME.confusion.svg (a picture of which class is taken for which). Load it by AudioTagger(checkpoint=...), or
give it to any command by --checkpoint."""

_EXAMPLES = """\
  pannsx finetune my_sounds/ --save mine.safetensors
  pannsx finetune my_sounds/ --save mine.safetensors --layers 2 --seed 1
  pannsx tag street.mp3 --checkpoint mine.safetensors"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``finetune`` to the parser."""
    parser = new_command(
        commands,
        "finetune",
        run,
        summary="train a checkpoint for classes of your own",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("data", metavar="DATA", type=Path, help="a folder of folders, or a CSV")
    parser.add_argument(
        "--save", required=True, type=Path, metavar="PATH", help="checkpoint to write (.safetensors)"
    )
    parser.add_argument("--tune", action="store_true", help="train the whole network, not only the new layer")
    parser.add_argument(
        "--layers", type=int, choices=(1, 2, 3), default=1, help="layers of the new head (default: 1)"
    )
    parser.add_argument(
        "--epochs", type=count, metavar="N", help="passes over the clips (default: 100, or 10 with --tune)"
    )
    parser.add_argument(
        "--learning-rate",
        type=positive,
        metavar="R",
        help="highest rate (default: 3e-3, or 1e-4 with --tune)",
    )
    parser.add_argument(
        "--batch-size", type=count, default=32, metavar="N", help="clips a step (default: 32)"
    )
    parser.add_argument(
        "--no-augment", action="store_true", help="with --tune: no random gain and roll in time"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all random choices (default: 0)")
    add_verbosity(parser)
    add_weights_options(add_network_options(parser))


def run(arguments: argparse.Namespace) -> int:
    """Train and score; returns the exit status."""
    if arguments.model is not None:
        named(arguments.model)  # a mistyped name fails before torch is loaded
    from pannsx.weights.saving import check_path

    save: Path = arguments.save
    try:
        check_path(save)
        check_output(save, ())
    except OutputError as error:
        raise CommandError(str(error), FAILED) from error
    except ValueError as error:
        raise CommandError(str(error)) from error

    from pannsx.transfer.own_sounds import read_own

    try:
        data = read_own(arguments.data)
    except (OSError, ValueError) as error:
        complain(str(error))  # start_s is a column of the CSV here, not an option
        return FAILED
    try:
        study = _study(arguments, data)
    except AudioError as error:
        complain(str(error))  # likewise
        return FAILED
    except (OSError, ValueError) as error:
        raise CommandError(str(error), FAILED) from error
    return _report(arguments, data, study)


def _study(arguments: argparse.Namespace, data: DataSet) -> Study:
    """Score on the folds, then train on all clips and write the checkpoint."""
    from pannsx import weights
    from pannsx.inference.device import choose_device
    from pannsx.transfer.study import Method, carry_out

    base = weights.load(
        arguments.model,
        checkpoint=arguments.checkpoint,
        cache_dir=arguments.cache_dir,
        allow_unverified=arguments.allow_unverified,
        progress=not arguments.quiet,
    )
    method = Method(
        tune=arguments.tune,
        layers=arguments.layers,
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        batch_size=arguments.batch_size,
        augment=arguments.tune and not arguments.no_augment,
        seed=arguments.seed,
        device=str(choose_device(arguments.device)),
    )
    if not arguments.quiet:
        kind = "several labels a clip" if data.multi_label else "one label a clip"
        remark(f"{len(data.recordings)} clips, {len(data.labels)} classes, {kind}; {base.record.name}")

    def tell(fold: str, score: float) -> None:
        if not arguments.quiet:
            remark(f"{fold}: {score:.3f}")

    with counting("reading clips", quiet=arguments.quiet) as step:
        return carry_out(data, base, method, arguments.save, on_score=tell, on_clip=step)


def _report(arguments: argparse.Namespace, data: DataSet, study: Study) -> int:
    """Print the scores, and write those of the classes and the picture beside the checkpoint."""
    from pannsx.report.confusion import confusion_svg

    save: Path = arguments.save
    classes, result = study.classes, study.result
    rows = [
        (label, str(int(n)), *(_number(value) for value in scores))
        for label, n, *scores in zip(
            data.labels.names, classes.n_positive.tolist(), classes.precision.tolist(),
            classes.recall.tolist(), classes.f1.tolist(), study.average_precision.tolist(), strict=True,
        )
    ]  # fmt: skip
    header = ("label", "clips", "precision", "recall", "F1", "average precision")
    print("\n".join(columns([header, *rows], right=frozenset(range(1, len(header))))))
    folds = "1 fold" if len(result.scores) == 1 else f"{len(result.scores)} folds"
    print(
        f"{result.measure} {result.mean:.3f} ± {result.spread:.3f} over {folds}, "
        f"balanced accuracy {classes.balanced_accuracy:.3f}, macro F1 {classes.macro_f1:.3f}"
    )
    table, picture = save.with_suffix(".classes.csv"), save.with_suffix(".confusion.svg")
    files = [save, table]
    try:
        with replacing(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([name.replace(" ", "_").lower() for name in header])
            writer.writerows(rows)
        if classes.confusion is not None:
            title = f"{data.name}: {result.measure} {result.mean:.3f}"
            with replacing(picture) as temporary:
                temporary.write_text(
                    confusion_svg(classes.confusion, data.labels.names, title=title), encoding="utf-8"
                )
            files.append(picture)
    except OSError as error:
        raise CommandError(f"cannot write beside {save}: {error}", FAILED) from error
    if not arguments.quiet:
        for path in files:
            remark(written(path))
    return 0


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"

"""``pannsx finetune``: a checkpoint for classes of one's own, scored on clips held out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pannsx.cli.console import FAILED, CommandError, columns, complain, remark
from pannsx.cli.options import (
    add_network_options,
    add_verbosity,
    add_weights_options,
    count,
    new_command,
    not_negative,
    positive,
)
from pannsx.cli.output import written
from pannsx.cli.parser import Commands
from pannsx.cli.progress import counting
from pannsx.corpus.outputs import OutputError, check_output
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.transfer.data_set import DataSet
    from pannsx.transfer.faults import Fault
    from pannsx.transfer.method import Method
    from pannsx.transfer.study import Study

_DESCRIPTION = """\
Trains a network for classes of your own, and says how well it does on clips that it has not heard.

DATA is a folder with a folder of clips for each class (or with the folders train, test and perhaps
validation, each with a folder for each class), or a CSV with the columns file (relative to the CSV) and
label; several labels of a clip are separated by ";". Optional columns: group (such as a speaker or a place,
never on both sides), start_s and duration_s (a part of the file), fold or split, unknown (labels that
nobody has checked, separated by ";", or "*" for all that are not given; they are neither trained on nor
scored). All clips are checked first; those that are missing, unreadable or silent are listed together.

By default a new last layer is trained on the embeddings of the network, which takes seconds to minutes.
With --tune the whole network is trained with it, from there. With --adapt only a small part of the network
is trained with it, and the checkpoint is a delta: a file of what differs from the network, below 1 MB. Its
record names the network and the digest of its file, which is found or fetched when the delta is loaded.
With --prototypes nothing is trained: a class is the mean of the embeddings of its clips, of which one is
enough. With --keep-audioset the checkpoint has the classes of the network, too: exactly as they were, or,
where the network is trained, trained to say what they said before. A delta then has their rows of the
classifier, too, some megabytes.

Without a split of your own, the clips are divided into five folds, each held out once; every class is
spread evenly over them. The scores are those of the held-out clips. The saved checkpoint is then trained on
all clips. Beside it are its record, labels and operating points (a threshold for each class),
NAME.classes.csv (scores by class) and NAME.confusion.svg (a picture of which class is taken for which). Load
it by AudioTagger(checkpoint=...), or give it to any command by --checkpoint.

Until then NAME.progress beside it has what is done: if the command is killed, the same command goes on."""

_EXAMPLES = """\
  pannsx finetune my_sounds/ --save mine.safetensors
  pannsx finetune my_sounds.csv --save mine.safetensors --balance weights --skip-unreadable
  pannsx finetune my_sounds/ --save mine.safetensors --tune --validation 0.5 --epochs 5
  pannsx finetune my_sounds/ --save few.safetensors --prototypes
  pannsx finetune my_sounds/ --save mine.safetensors --adapt norms --epochs 5
  pannsx finetune my_sounds/ --save urban.safetensors --adapt head
  pannsx tag street.mp3 --head urban.safetensors
  pannsx finetune my_sounds/ --save more.safetensors --keep-audioset
  pannsx tag street.mp3 --checkpoint mine.safetensors"""

_OF_NETWORK = "training in the network: --tune, --adapt norms or --adapt low-rank"


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
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--tune", action="store_true", help="train the whole network, not only the new layer")
    part.add_argument(
        "--adapt",
        choices=("head", "norms", "low-rank"),
        help="train only this, and save a delta: the new layer (head); also batch norms and biases (norms); "
        "or also changes of a low rank of all large layers (low-rank)",
    )
    parser.add_argument(
        "--rank", type=count, metavar="N", help="rank of --adapt low-rank; more is larger (default: 2)"
    )
    parser.add_argument(
        "--prototypes",
        action="store_true",
        help="for 1 to 5 clips a class: without training, the mean of the embeddings of its clips; there are "
        "no scores if a class has one clip",
    )
    parser.add_argument(
        "--keep-audioset",
        action="store_true",
        help="add the classes to those of the network, such as AudioSet's 527, instead of replacing them",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all random choices (default: 0)")
    parser.add_argument(
        "--restart", action="store_true", help="begin again, instead of going on where a run was killed"
    )
    clips = parser.add_argument_group("clips")
    clips.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out missing, unreadable and silent clips; NAME.left_out.csv lists them",
    )
    clips.add_argument(
        "--allow-silent", action="store_true", help="use silent clips, such as those of a class of silence"
    )
    teaching = parser.add_argument_group("a teacher, for labels that are wrong or missing")
    teaching.add_argument(
        "--teacher",
        type=Path,
        metavar="PATH",
        help="another checkpoint with these classes, whose probabilities have a share in the targets",
    )
    teaching.add_argument(
        "--teacher-weight", type=share, default=0.5, metavar="P", help="that share (default: 0.5)"
    )
    teaching.add_argument(
        "--teacher-targets",
        choices=("all", "absent"),
        default="all",
        help="absent: labels that a clip has are kept as they are, as more are missing than wrong "
        "(default: all)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--layers", type=int, choices=(1, 2, 3), default=1, help="layers of the new head (default: 1)"
    )
    training.add_argument(
        "--epochs",
        type=count,
        metavar="N",
        help="passes over the clips (default: 100 for the new layer alone, else 10)",
    )
    training.add_argument(
        "--learning-rate",
        type=positive,
        metavar="R",
        help="highest rate (default: 3e-3 for the new layer alone, 1e-4 with --tune, else 1e-3)",
    )
    training.add_argument(
        "--batch-size", type=count, default=32, metavar="N", help="clips a step (default: 32)"
    )
    training.add_argument(
        "--balance",
        choices=("none", "weights", "batches"),
        default="none",
        help="for rare classes: weights (of clips, by the inverse frequency of their classes) or batches "
        "(in which all classes are equally frequent) (default: none)",
    )
    training.add_argument(
        "--validation",
        type=share,
        default=0.0,
        metavar="P",
        help="share of the training clips that is not trained on, but chooses the best epoch and ends the "
        "training early (default: 0, none; a fold named validation is used in any case)",
    )
    training.add_argument(
        "--patience",
        type=count,
        default=5,
        metavar="N",
        help="with a validation part, epochs without improvement after which training ends (default: 5)",
    )
    training.add_argument(
        "--no-augment",
        action="store_true",
        help="no random gain and roll in time, with --tune or --adapt norms or low-rank",
    )
    training.add_argument(
        "--layer-decay",
        type=positive,
        default=1.0,
        metavar="R",
        help="each block of the network learns at this share of the rate of the one after it, such as 0.8, "
        "with --tune or --adapt norms or low-rank (default: 1)",
    )
    training.add_argument(
        "--freeze-norms", action="store_true", help="with --tune: batch norms stay as they are"
    )
    add_verbosity(parser)
    add_weights_options(add_network_options(parser))


def run(arguments: argparse.Namespace) -> int:
    """Train and score; returns the exit status."""
    from pannsx.weights.saving import check_path

    save: Path = arguments.save
    try:
        check_path(save)
        check_output(save, ())
    except OutputError as error:
        raise CommandError(str(error), FAILED) from error
    except ValueError as error:
        raise CommandError(str(error)) from error

    from pannsx.transfer.faults import FaultyClipsError
    from pannsx.transfer.own_sounds import read_own

    method = _method(arguments)  # a wrong setting is found before the clips are read
    try:
        with counting("checking clips", quiet=arguments.quiet) as step:
            data, faults = read_own(
                arguments.data,
                skip_unusable=arguments.skip_unreadable,
                allow_silent=arguments.allow_silent,
                allow_lone=arguments.prototypes,
                on_clip=step,
            )
    except FaultyClipsError as error:
        only_silent = all(fault.kind == "silent" for fault in error.faults)
        use = ", or use silence by --allow-silent" if only_silent else ""
        complain(f"{error}. Repair them, or leave them out by --skip-unreadable{use}")
        return FAILED
    except (OSError, ValueError) as error:
        complain(str(error))  # start_s is a column of the CSV here, not an option
        return FAILED
    try:
        study = _study(arguments, data, method, faults)
    except AudioError as error:
        complain(str(error))  # likewise
        return FAILED
    except (OSError, ValueError) as error:
        raise CommandError(str(error), FAILED) from error
    except KeyboardInterrupt:
        from pannsx.transfer.resume import progress_folder

        if not arguments.quiet:
            remark(f"{progress_folder(save)} has what is done; the same command goes on from there")
        raise
    if study is None:
        _tell_files(arguments, [arguments.save], faults)
        return 0
    return _report(arguments, data, study, faults)


def share(text: str) -> float:
    """A number from 0 to below 1."""
    value = not_negative(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not below 1; a share from 0 to below 1 is needed")
    return value


def _method(arguments: argparse.Namespace) -> Method:
    from pannsx.inference.device import choose_device
    from pannsx.transfer.adapters import DEFAULT_RANK
    from pannsx.transfer.method import Method

    _check_prototypes(arguments)
    if arguments.teacher is None and (arguments.teacher_weight != 0.5 or arguments.teacher_targets != "all"):
        raise CommandError("--teacher-weight and --teacher-targets are of a teacher; give one by --teacher")
    in_network = arguments.tune or arguments.adapt in ("norms", "low-rank")
    for option, given, fits, needed in (
        ("--no-augment", arguments.no_augment, in_network, _OF_NETWORK),
        ("--layer-decay", arguments.layer_decay != 1, in_network, _OF_NETWORK),
        ("--freeze-norms", arguments.freeze_norms, arguments.tune, "--tune"),
        ("--rank", arguments.rank is not None, arguments.adapt == "low-rank", "--adapt low-rank"),
    ):
        if given and not fits:
            raise CommandError(f"{option} is of {needed}; give that, or leave {option} out")
    try:
        return Method(
            tune=arguments.tune,
            prototypes=arguments.prototypes,
            adapt=arguments.adapt,
            rank=arguments.rank or DEFAULT_RANK,
            keep_audioset=arguments.keep_audioset,
            teacher_weight=arguments.teacher_weight,
            teacher_targets=arguments.teacher_targets,
            layers=arguments.layers,
            epochs=arguments.epochs,
            learning_rate=arguments.learning_rate,
            batch_size=arguments.batch_size,
            augment=not arguments.no_augment,
            balance=arguments.balance,
            validation=arguments.validation,
            patience=arguments.patience,
            layer_decay=arguments.layer_decay,
            freeze_norms=arguments.freeze_norms,
            seed=arguments.seed,
            device=str(choose_device(arguments.device)),
            precision=arguments.precision,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error


def _check_prototypes(arguments: argparse.Namespace) -> None:
    """A CommandError if options of training are given with ``--prototypes``."""
    given = [
        option
        for option, is_given in (
            ("--tune", arguments.tune),
            ("--adapt", arguments.adapt in ("norms", "low-rank")),
            ("--layers", arguments.layers != 1),
            ("--epochs", arguments.epochs is not None),
            ("--learning-rate", arguments.learning_rate is not None),
            ("--balance", arguments.balance != "none"),
            ("--validation", arguments.validation != 0),
            ("--teacher", arguments.teacher is not None),
        )
        if is_given
    ]
    if arguments.prototypes and given:
        raise CommandError(f"prototypes are not trained; leave out {' and '.join(given)}, or --prototypes")


def _study(
    arguments: argparse.Namespace, data: DataSet, method: Method, faults: Sequence[Fault]
) -> Study | None:
    """Score on the folds, then train on all clips and write the checkpoint; None if it cannot be scored."""
    from pannsx import weights
    from pannsx.cli.finetune_progress import Bars
    from pannsx.transfer.own_sounds import lone_classes
    from pannsx.transfer.study import carry_out, make_unscored

    base = weights.load(
        arguments.model,
        checkpoint=arguments.checkpoint,
        prefix=arguments.prefix,
        cache_dir=arguments.cache_dir,
        allow_unverified=arguments.allow_unverified,
        progress=not arguments.quiet,
    )
    if not arguments.quiet:
        kind = "several labels a clip" if data.multi_label else "one label a clip"
        remark(f"{len(data.recordings)} clips, {len(data.labels)} classes, {kind}; {base.record.name}")
        if faults:
            from pannsx.transfer.faults import listed

            remark(f"left out: {listed(faults)}")
    teacher = None
    if arguments.teacher is not None:
        from pannsx.transfer.teacher import positions_in

        teacher = weights.load(
            checkpoint=arguments.teacher, cache_dir=arguments.cache_dir, progress=not arguments.quiet
        )
        positions_in(teacher, data.labels.names)  # a class that it lacks is found before the work
    kept = None
    if method.keep_audioset:
        from pannsx.weights.operating_points import points_of

        kept = points_of(base.record, base.labels.names, arguments.checkpoint)
    lone = lone_classes(data.labels, data.recordings)
    if lone and not arguments.quiet:
        one = f"{lone[0]!r} has" if len(lone) == 1 else f"{len(lone)} classes, such as {lone[0]!r}, have"
        remark(f"not scored: {one} one clip, to learn from; with two for each class there are scores")
    with Bars(len(data.recordings), quiet=arguments.quiet) as bars:
        if lone:
            make_unscored(data, base, method, arguments.save, kept_points=kept, watch=bars)
            return None
        return carry_out(
            data,
            base,
            method,
            arguments.save,
            teacher=teacher,
            kept_points=kept,
            restart=arguments.restart,
            watch=bars,
        )


def _report(arguments: argparse.Namespace, data: DataSet, study: Study, faults: Sequence[Fault]) -> int:
    """Print the scores, and write what was left out beside the checkpoint."""
    from pannsx.transfer.report_files import COLUMNS, class_rows

    classes, result = study.classes, study.result
    rows = class_rows(data.labels.names, classes, study.average_precision)
    print("\n".join(columns([COLUMNS, *rows], right=frozenset(range(1, len(COLUMNS))))))
    folds = "1 fold" if len(result.scores) == 1 else f"{len(result.scores)} folds"
    print(
        f"{result.measure} {result.mean:.3f} ± {result.spread:.3f} over {folds}, "
        f"balanced accuracy {classes.balanced_accuracy:.3f}, macro F1 {classes.macro_f1:.3f}, "
        f"micro F1 {classes.micro_f1:.3f}"
    )
    _tell_files(arguments, [arguments.save, *study.files], faults)
    return 0


def _tell_files(arguments: argparse.Namespace, files: list[Path], faults: Sequence[Fault]) -> None:
    """Write what was left out beside the checkpoint, and name all files."""
    from pannsx.transfer.report_files import write_left_out

    if faults:
        try:
            files.append(write_left_out(arguments.save, faults))
        except OSError as error:
            raise CommandError(f"cannot write beside {arguments.save}: {error}", FAILED) from error
    if not arguments.quiet:
        for path in files:
            remark(written(path))

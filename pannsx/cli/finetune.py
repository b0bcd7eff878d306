"""``pannsx finetune``: a checkpoint for classes of one's own, scored on clips held out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pannsx.cli.console import FAILED, CommandError, columns, complain, remark
from pannsx.cli.finetune_options import add_method_options, method_of
from pannsx.cli.options import (
    add_network_options,
    add_verbosity,
    add_weights_options,
    new_command,
    weights_of,
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
Trains a network for classes of your own, and scores it on held-out clips.

DATA is a folder with a folder of clips for each class (or with the folders train, test and perhaps
validation, each with a folder for each class), or a CSV with the columns file (relative to the CSV) and
label; several labels of a clip are separated by ";". Optional columns: group (such as a speaker or a place;
a group is never divided between training and test), start_s and duration_s (a part of the file), fold or
split, unknown (unchecked labels, separated by ";", or "*" for all others; they are neither trained on nor
scored). All clips are checked first; missing, unreadable and silent ones are listed together.

By default a new last layer is trained on the embeddings of the network; this takes seconds to minutes.
--tune then trains the whole network with it. --adapt trains only a small part of the network with it, and
saves a delta, a file with only the changes, below 1 MB. The delta's record names the network and the digest
of its file; the file is found or fetched when the delta is loaded. --prototypes trains nothing: a class is
the mean embedding of its clips, and one clip is enough. --keep-audioset also keeps the network's own
classes: exactly as they were, or, if the network is trained, held to their earlier probabilities. A delta
then also stores their rows of the classifier, some megabytes.

Without a split of your own, the clips are divided into five folds, with every class spread evenly, and each
fold is held out once. The scores are those of the held-out clips. The saved checkpoint is then trained on
all clips. Beside it are its record, labels and operating points (a threshold for each class),
NAME.classes.csv (scores by class) and NAME.confusion.svg (a picture of the confusions). Load it by
AudioTagger(checkpoint=...), or give it to any command by --checkpoint.

NAME.progress beside it keeps the finished work: after an interruption, the same command resumes there."""

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
    parser.add_argument(
        "--restart", action="store_true", help="start over, instead of resuming an interrupted run"
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
    add_method_options(parser)
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

    method = method_of(arguments)  # an invalid setting is found before the clips are read
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
            remark(f"{progress_folder(save)} keeps the finished work; the same command resumes there")
        raise
    if study is None:
        _tell_files(arguments, [arguments.save], faults)
        return 0
    return _report(arguments, data, study, faults)


def _study(
    arguments: argparse.Namespace, data: DataSet, method: Method, faults: Sequence[Fault]
) -> Study | None:
    """Score on the folds, then train on all clips and write the checkpoint; None if it cannot be scored."""
    from pannsx import weights
    from pannsx.cli.finetune_progress import Bars
    from pannsx.transfer.own_sounds import lone_classes
    from pannsx.transfer.study import carry_out, make_unscored

    base = weights.load(arguments.model, **weights_of(arguments))
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

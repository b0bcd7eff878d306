"""The options of ``pannsx finetune`` for the training method, and the method made from them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pannsx.cli.console import CommandError
from pannsx.cli.options import count, not_negative, positive

if TYPE_CHECKING:
    from pannsx.transfer.method import Method

_OF_NETWORK = "--tune, --adapt norms or --adapt low-rank"


def add_method_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the training method; see `method_of`."""
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--tune", action="store_true", help="train the whole network, not only the new layer")
    part.add_argument(
        "--adapt",
        choices=("head", "norms", "low-rank"),
        help="train only a part, and save a delta: the new layer (head), also batch norms and biases "
        "(norms), or also a low-rank change of every large layer (low-rank)",
    )
    parser.add_argument(
        "--rank",
        type=count,
        metavar="N",
        help="rank of --adapt low-rank; a higher one makes a larger file (default: 2)",
    )
    parser.add_argument(
        "--prototypes",
        action="store_true",
        help="for 1 to 5 clips a class: no training, a class is the mean embedding of its clips; there are "
        "no scores if a class has only one clip",
    )
    parser.add_argument(
        "--keep-audioset",
        action="store_true",
        help="add the classes to those of the network, such as AudioSet's 527, instead of replacing them",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of all random choices (default: 0)"
    )
    teaching = parser.add_argument_group("a teacher, for labels that are wrong or missing")
    teaching.add_argument(
        "--teacher",
        type=Path,
        metavar="PATH",
        help="another checkpoint with these classes; its probabilities are mixed into the targets",
    )
    teaching.add_argument(
        "--teacher-weight",
        type=share,
        default=0.5,
        metavar="P",
        help="the teacher's share of a target (default: 0.5)",
    )
    teaching.add_argument(
        "--teacher-targets",
        choices=("all", "absent"),
        default="all",
        help="all: mix all targets; absent: only those of labels that a clip lacks, for data with more "
        "missing than wrong labels (default: all)",
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
        help="for rare classes: weights (clips count by the inverse frequency of their classes) or batches "
        "(all classes are equally frequent in them) (default: none)",
    )
    training.add_argument(
        "--validation",
        type=share,
        default=0.0,
        metavar="P",
        help="share of the training clips to hold out for choosing the best epoch and stopping early "
        "(default: 0, none; a fold named validation is always used for this)",
    )
    training.add_argument(
        "--patience",
        type=count,
        default=5,
        metavar="N",
        help="with a validation part, stop after this many epochs without improvement (default: 5)",
    )
    training.add_argument(
        "--no-augment",
        action="store_true",
        help="with --tune or --adapt norms or low-rank: no random gain and time roll",
    )
    training.add_argument(
        "--layer-decay",
        type=positive,
        default=1.0,
        metavar="R",
        help="with --tune or --adapt norms or low-rank: learning rate of a block relative to that of the "
        "next one, such as 0.8 (default: 1)",
    )
    training.add_argument(
        "--freeze-norms", action="store_true", help="with --tune: keep the batch norms unchanged"
    )


def share(text: str) -> float:
    """A number from 0 to below 1."""
    value = not_negative(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not below 1; a share from 0 to below 1 is needed")
    return value


def method_of(arguments: argparse.Namespace) -> Method:
    """The method of the options of `add_method_options` and `pannsx.cli.options.add_network_options`.

    Raises:
        CommandError: options that exclude or need one another, or an invalid value.
    """
    from pannsx.inference.device import choose_device
    from pannsx.transfer.adapters import DEFAULT_RANK
    from pannsx.transfer.method import Method

    _check_prototypes(arguments)
    if arguments.teacher is None and (arguments.teacher_weight != 0.5 or arguments.teacher_targets != "all"):
        raise CommandError("--teacher-weight and --teacher-targets need a teacher; give one by --teacher")
    in_network = arguments.tune or arguments.adapt in ("norms", "low-rank")
    for option, given, fits, needed in (
        ("--no-augment", arguments.no_augment, in_network, _OF_NETWORK),
        ("--layer-decay", arguments.layer_decay != 1, in_network, _OF_NETWORK),
        ("--freeze-norms", arguments.freeze_norms, arguments.tune, "--tune"),
        ("--rank", arguments.rank is not None, arguments.adapt == "low-rank", "--adapt low-rank"),
    ):
        if given and not fits:
            raise CommandError(f"{option} needs {needed}; give that, or leave {option} out")
    try:
        return Method.of(
            arguments,
            rank=arguments.rank or DEFAULT_RANK,
            augment=not arguments.no_augment,
            device=str(choose_device(arguments.device)),
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

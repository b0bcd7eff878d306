"""Options shared by several commands, and the objects made from them."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pannsx.cli.console import CommandError
from pannsx.cli.parser import Commands
from pannsx.weights.manifest import DEFAULT_CHECKPOINT
from pannsx.weights.naming import at_revision, kind_of, record_of
from pannsx.weights.record import Checkpoint

if TYPE_CHECKING:
    from pannsx.audio import Selection
    from pannsx.types import Channel

T = TypeVar("T")

MODEL_HELP = (
    "one of `pannsx models`, a checkpoint of your own (its file of weights, record or folder), or owner/name "
    "on the Hugging Face Hub"
)
PRECISIONS = ("float32", "bfloat16", "float16", "int8")
"""Those of the engine, which is not imported to parse options."""
_TOKEN = "HF_TOKEN"  # where the Hub's client looks for it first


def new_command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    """A command's parser; its help page has a description, the options and examples."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the sources."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="an audio file, a folder (searched recursively), a pattern such as 'clips/**/*.wav', or - for "
        "standard input",
    )


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the part, the channel and the state of the audio; see `selection_of`."""
    audio = parser.add_argument_group("audio")
    audio.add_argument(
        "--start", type=not_negative, default=0.0, metavar="S", help="read from this second on (default: 0)"
    )
    audio.add_argument(
        "--duration", type=positive, metavar="S", help="read at most this many seconds (default: to the end)"
    )
    add_channel_options(audio)


def add_channel_options(audio: argparse._ActionsContainer) -> None:
    """Add the options for the channel and for damaged files."""
    audio.add_argument(
        "--channel",
        type=channel,
        default="mean",
        metavar="N",
        help="the channel to use: 0 for the first or left one, 1 for the second, or mean (default: mean)",
    )
    audio.add_argument(
        "--salvage",
        action="store_true",
        help="read truncated and damaged files as far as possible, and say how far",
    )


def selection_of(arguments: argparse.Namespace) -> Selection:
    """The `Selection` of the options of `add_selection_options`."""
    from pannsx.audio import Selection

    return Selection(
        start_s=arguments.start,
        duration_s=arguments.duration,
        channel=arguments.channel,
        salvage=arguments.salvage,
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the network, its device and the windows of long audio."""
    network = add_network_options(parser)
    network.add_argument(
        "--window",
        type=positive,
        default=10.0,
        metavar="S",
        help="audio longer than this many seconds is processed in windows (default: 10)",
    )
    network.add_argument(
        "--overlap",
        type=not_negative,
        default=0.0,
        metavar="S",
        help="overlap of neighbouring windows in seconds (default: 0)",
    )
    add_weights_options(network)


def add_network_options(
    parser: argparse.ArgumentParser, *, default: str = f"the bundled {DEFAULT_CHECKPOINT}"
) -> argparse._ArgumentGroup:
    """Add the options for the network and its device; returns their group, for more options."""
    network = parser.add_argument_group("network")
    network.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help=f"{MODEL_HELP} (default: {default})",
    )
    network.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="weight file: with one of `pannsx models`, any file of that architecture; without --model, a "
        "file with its record beside it",
    )
    network.add_argument(
        "--prefix",
        metavar="KEY",
        help="prefix of the network's keys in a weight file with other parts, such as encoder.",
    )
    network.add_argument(
        "--device", default="auto", help="auto (CUDA if available, else cpu), cpu, cuda, cuda:1 or mps"
    )
    network.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="precision of the convolutions (default: float32; float16 needs an accelerator). int8: products "
        "of a MobileNetV1 in 8 bits, on processors with VNNI; others compute in float32",
    )
    return network


def add_weights_options(parser: argparse._ActionsContainer) -> None:
    """Add the options for the origin of weights."""
    add_cache_dir(parser)
    add_hub_options(parser)
    parser.add_argument(
        "--allow-unverified",
        action="store_true",
        help="accept weights that have no published digest; the digest of the first download is recorded "
        "and checked from then on",
    )


def add_hub_options(parser: argparse._ActionsContainer) -> None:
    """Add the options for a repository on the Hub; see `model_as_named`."""
    parser.add_argument(
        "--revision",
        metavar="REV",
        help="branch, tag or commit of a repository on the Hub, as owner/name@REV (default: its main branch)",
    )
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="token of the Hub, for a private repository (default: HF_TOKEN, or that of `hf auth login`, "
        "neither of which other users of the computer can see)",
    )


def add_cache_dir(parser: argparse._ActionsContainer) -> None:
    """Add the folder that is searched for weights first."""
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="folder to search first for weights, such as one filled by `pannsx fetch --to DIR`",
    )


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add the options for how much is said on standard error."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-q", "--quiet", action="store_true", help="no progress bar and no remarks")
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="report loading and the causes of failures; -vv: also where in the code they arose",
    )


def add_format(parser: argparse.ArgumentParser, *formats: str) -> None:
    """Add the output format; the first one is the default."""
    parser.add_argument(
        "--format", choices=formats, default=formats[0], help=f"output format (default: {formats[0]})"
    )


@contextmanager
def model_as_named(arguments: argparse.Namespace) -> Iterator[None]:
    """Check the model that is named, before torch is loaded, and join its revision to it.

    Within, the token is that of the Hub's client, in this process and in its workers; no option has it any
    more, so that none is written into a journal.

    Raises:
        CommandError: none of `pannsx models`, no file and no repository; with similar names.
    """
    options = vars(arguments)
    revision, token = options.pop("revision", None), options.pop("token", None)
    given: str | list[str] | None = options.get("model")
    try:
        if isinstance(given, list):
            arguments.model = [at_revision(name, revision) for name in given]
            for name in given:
                kind_of(name)
        elif given is not None or revision is not None:
            arguments.model = at_revision(given, revision)
            if given is not None:
                kind_of(given)
    except ValueError as error:
        raise CommandError(str(error)) from error
    before = os.environ.get(_TOKEN)
    if token is not None:
        os.environ[_TOKEN] = token
    try:
        yield
    finally:
        if token is not None:
            os.environ.pop(_TOKEN)
            os.environ.update({} if before is None else {_TOKEN: before})


def record_named(arguments: argparse.Namespace, *, fetch: bool = True) -> Checkpoint:
    """The record of the model that is named, downloaded if it is in a repository and may be."""
    try:
        return record_of(arguments.model, cache_dir=getattr(arguments, "cache_dir", None), fetch=fetch)
    except ValueError as error:
        raise CommandError(str(error)) from error


def weights_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `pannsx.weights.load` for the options of the weights, except the model's name."""
    return {
        "checkpoint": arguments.checkpoint,
        "prefix": arguments.prefix,
        "cache_dir": arguments.cache_dir,
        "allow_unverified": arguments.allow_unverified,
        "progress": not arguments.quiet,
    }


def network_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keywords of a facade for the options of the weights and the network, except the model's name."""
    return {**weights_of(arguments), "device": arguments.device, "precision": arguments.precision}


def build(facade: Callable[..., T], arguments: argparse.Namespace, **more: Any) -> T:
    """An ``AudioTagger`` or ``FeatureExtractor`` with the options of `add_model_options`, and more."""
    windows = {"window_s": arguments.window, "overlap_s": arguments.overlap}
    try:
        return facade(arguments.model, **network_of(arguments), **windows, **more)
    except ValueError as error:
        raise CommandError(str(error)) from error


def channel(text: str) -> Channel:
    """A channel's number from 0, or ``mean``."""
    if text == "mean":
        return "mean"
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not mean or a channel's number; the first one is 0")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0; a positive number is needed")
    return value


def not_negative(text: str) -> float:
    """A number from 0 up."""
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is below 0; 0 or a positive number is needed")
    return value


def probability(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability; a number from 0 to 1 is needed")
    return value


def count(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value

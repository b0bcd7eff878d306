"""``pannsx fetch``: download weights, for use without a network."""

from __future__ import annotations

import argparse

from pannsx.cli.console import FAILED, CommandError, complain
from pannsx.cli.options import add_hub_options, add_verbosity, new_command
from pannsx.cli.parser import Commands
from pannsx.cli.words import in_options
from pannsx.weights.fetch import fetch_each
from pannsx.weights.manifest import find, load_manifest

_DESCRIPTION = """\
Downloads published weights and checks their digests. Each checkpoint prints a line to
standard output: name, colon, path.

Without --to, the weights go to the caches that --model reads. With --to, they go to a folder of
their own: carry it to a computer without a network, and use it there with --cache-dir (in Python:
cache_dir=).

A failed download is reported on standard error with the reason; the exit status is then 1. With
--all, a checkpoint with no released weights is reported too, but does not count as a failure."""

_EXAMPLES = """\
  pannsx fetch Cnn14 Cnn10
  pannsx fetch --all --to weights/
  pannsx fetch owner/name
  pannsx fetch Cnn14 --to weights/ && pannsx tag street.mp3 --model Cnn14 --cache-dir weights/"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``fetch`` to the parser."""
    parser = new_command(
        commands,
        "fetch",
        run,
        summary="fetch weights for use without a network",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "model",
        nargs="*",
        metavar="MODEL",
        help="one of `pannsx models`, or owner/name on the Hugging Face Hub",
    )
    parser.add_argument("--all", action="store_true", help="every released checkpoint")
    parser.add_argument("--to", metavar="DIR", help="folder for the weights; created if missing")
    parser.add_argument(
        "--allow-unverified",
        action="store_true",
        help="accept weights that have no published digest; the digest of the first download is recorded "
        "and checked from then on",
    )
    add_hub_options(parser)
    add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch the weights; returns the exit status."""
    if not arguments.model and not arguments.all:
        raise CommandError("name the checkpoints to fetch (`pannsx models` lists them), or give --all")
    if arguments.model and arguments.all:
        raise CommandError("give names or --all, not both")
    names = list(load_manifest()) if arguments.all else arguments.model
    try:
        outcomes = fetch_each(
            names,
            cache_dir=arguments.to,
            allow_unverified=arguments.allow_unverified,
            progress=not arguments.quiet,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    n_failed = 0
    for outcome in outcomes:
        if outcome.path is None:
            complain(f"{outcome.name}: {in_options(str(outcome.problem))}")
            n_failed += not arguments.all or find(outcome.name).released
        else:
            print(f"{outcome.name}: {outcome.path}", flush=True)
    return FAILED if n_failed else 0

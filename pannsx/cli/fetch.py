"""``pannsx fetch``: weights onto this computer, for use without a network."""

from __future__ import annotations

import argparse

from pannsx.cli.console import FAILED, CommandError, complain
from pannsx.cli.options import Commands, add_quiet, named, new_command
from pannsx.weights.fetch import fetch_each
from pannsx.weights.manifest import load_manifest

_DESCRIPTION = """\
Fetches published weights and checks their digests. For each, a line goes to standard output: name,
colon, path.

Without --to they go to the caches from which --model takes them. With --to they go to a folder
that can be carried to a computer without a network and used there with --cache-dir (in Python:
cache_dir=).

What cannot be had is reported on standard error with the reason, and the exit status is then 1.
With --all, a checkpoint whose weights were never released is reported but is no failure."""

_EXAMPLES = """\
  pannsx fetch Cnn14 Cnn10
  pannsx fetch --all --to weights/
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
    parser.add_argument("names", nargs="*", metavar="NAME", help="one of `pannsx models`")
    parser.add_argument("--all", action="store_true", help="every checkpoint that was ever released")
    parser.add_argument("--to", metavar="DIR", help="the folder to fetch to; made if it is not there")
    parser.add_argument(
        "--allow-unverified",
        action="store_true",
        help="take published weights of which no digest is known; theirs is noted and held to from then on",
    )
    add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch the weights; the exit status."""
    if not arguments.names and not arguments.all:
        raise CommandError("name the checkpoints to fetch (`pannsx models` lists them), or give --all")
    if arguments.names and arguments.all:
        raise CommandError("give names or --all, not both")
    # All names are looked up first, so that a mistyped one is known before hours of fetching.
    records = list(load_manifest().values()) if arguments.all else [named(name) for name in arguments.names]
    n_failed = 0
    outcomes = fetch_each(
        records,
        cache_dir=arguments.to,
        allow_unverified=arguments.allow_unverified,
        progress=not arguments.quiet,
    )
    for record, outcome in zip(records, outcomes, strict=True):
        if outcome.path is None:
            complain(f"{record.name}: {outcome.problem}")
            n_failed += record.released or not arguments.all
        else:
            print(f"{record.name}: {outcome.path}", flush=True)
    return FAILED if n_failed else 0

"""``pannsx fetch``: download weights, for use without a network."""

from __future__ import annotations

import argparse

from pannsx.cli.console import FAILED, CommandError, complain
from pannsx.cli.options import add_verbosity, named, new_command
from pannsx.cli.parser import Commands
from pannsx.cli.words import in_options
from pannsx.weights.fetch import fetch_each
from pannsx.weights.manifest import load_manifest

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
    parser.add_argument("names", nargs="*", metavar="MODEL", help="one of `pannsx models`")
    parser.add_argument("--all", action="store_true", help="every released checkpoint")
    parser.add_argument("--to", metavar="DIR", help="folder for the weights; created if missing")
    parser.add_argument(
        "--allow-unverified",
        action="store_true",
        help="accept weights that have no published digest; the digest of the first download is recorded "
        "and checked from then on",
    )
    add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch the weights; returns the exit status."""
    if not arguments.names and not arguments.all:
        raise CommandError("name the checkpoints to fetch (`pannsx models` lists them), or give --all")
    if arguments.names and arguments.all:
        raise CommandError("give names or --all, not both")
    # All names are looked up first, so that a mistyped one fails before hours of downloads.
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
            complain(f"{record.name}: {in_options(str(outcome.problem))}")
            n_failed += record.released or not arguments.all
        else:
            print(f"{record.name}: {outcome.path}", flush=True)
    return FAILED if n_failed else 0

"""``pannsx help``: the help page of the program or of a command."""

from __future__ import annotations

import argparse

from pannsx.cli.console import CommandError
from pannsx.cli.options import new_command
from pannsx.cli.parser import Commands, subparsers
from pannsx.errors import did_you_mean

_DESCRIPTION = """\
Prints the list of commands, or the help page of one, on standard output: the same as
`pannsx COMMAND --help`."""

_EXAMPLES = """\
  pannsx help
  pannsx help events"""


def add_command(commands: Commands[argparse.ArgumentParser], program: argparse.ArgumentParser) -> None:
    """Add ``help`` to the parser ``program``."""

    def run(arguments: argparse.Namespace) -> int:
        name: str | None = arguments.name
        if name is None:
            program.print_help()
            return 0
        known = subparsers(program)
        if name not in known:
            raise CommandError(f"unknown command {name!r}{did_you_mean(name, known)}")
        known[name].print_help()
        return 0

    parser = new_command(
        commands,
        "help",
        run,
        summary="explain a command",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("name", nargs="?", metavar="COMMAND", help="the command (default: all in a list)")

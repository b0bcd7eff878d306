"""The argument parser: errors of one line, with the near names of a mistyped command, option or choice."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from pannsx.cli.console import USAGE, complain
from pannsx.errors import did_you_mean

Commands = argparse._SubParsersAction  # the type of add_subparsers(), which argparse keeps private


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that suggests; its subparsers are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Explain the mistake in one line and end with status 2."""
        complain(f"{message} (see `{self.prog} --help`)")
        self.exit(USAGE)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As in ``argparse``, but unknown arguments are an error of the command that got them."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._about(unknown))
        return found, unknown

    def _about(self, unknown: Sequence[str]) -> str:
        option = next((each.partition("=")[0] for each in unknown if each.startswith("-")), None)
        if option is None:
            return f"unexpected argument {unknown[0]!r}"
        elsewhere = [
            name for name, parser in subparsers(self).items() if option in parser._option_string_actions
        ]
        if elsewhere:
            return (
                f"the option {option!r} stands after the command: `{self.prog} {elsewhere[0]} {option} ...`"
            )
        return f"unknown option {option!r}{did_you_mean(option, self._option_string_actions)}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, Commands):
            near = did_you_mean(value, action.choices)
            raise argparse.ArgumentError(
                None, f"unknown command {value!r}{near or '; `pannsx help` lists them'}"
            )
        raise argparse.ArgumentError(action, not_among(str(value), action.choices))


def not_among(value: str, choices: Iterable[Any]) -> str:
    """The message for a value that is none of the choices."""
    known = [str(each) for each in choices]
    return f"{value!r} is none of {', '.join(known)}{did_you_mean(value, known)}"


def subparsers(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of its commands by name; empty if it has none."""
    for action in parser._actions:
        if isinstance(action, Commands):
            return dict(action.choices)
    return {}

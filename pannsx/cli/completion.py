"""``pannsx completion``: a script with which a shell completes commands, options, models and labels."""

from __future__ import annotations

import argparse

from pannsx.cli.completion_scripts import SCRIPTS, Command, Option
from pannsx.cli.options import new_command
from pannsx.cli.parser import Commands, subparsers
from pannsx.labels import audioset
from pannsx.weights.manifest import load_manifest

_DESCRIPTION = """\
Prints a script on standard output; it teaches a shell to complete commands, options, and the names
of models and labels. Print it again after an update.

  bash        add to ~/.bashrc: eval "$(pannsx completion bash)"
  zsh         add to ~/.zshrc, after compinit: eval "$(pannsx completion zsh)"
  fish        pannsx completion fish > ~/.config/fish/completions/pannsx.fish
  powershell  add to $PROFILE: pannsx completion powershell | Out-String | Invoke-Expression"""

_EXAMPLES = """\
  pannsx completion bash > pannsx.bash
  pannsx completion fish > pannsx.fish"""

# What completes an argument is known by its placeholder.  All others are numbers or free text.
_FILES = {"AUDIO", "DATA", "FILE", "GENERATED", "MANIFEST", "OUT", "PATH", "PIPE", "REFERENCE", "TRUTH"}
_FOLDERS = {"DIR", "FOLDER"}
_WORDS = {"MODEL": "models", "NAME": "models", "LABEL": "labels", "WORD": "labels", "COMMAND": "commands"}
_DEVICES = ("auto", "cpu", "cuda", "mps")


def add_command(commands: Commands[argparse.ArgumentParser], program: argparse.ArgumentParser) -> None:
    """Add ``completion`` for the parser ``program``."""

    def run(arguments: argparse.Namespace) -> int:
        print(completion_script(program, arguments.shell), end="")
        return 0

    parser = new_command(
        commands,
        "completion",
        run,
        summary="print a script for completion in a shell",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("shell", metavar="SHELL", choices=tuple(SCRIPTS), help=", ".join(SCRIPTS))


def completion_script(program: argparse.ArgumentParser, shell: str) -> str:
    """The script of a shell for all commands of a parser."""
    parsers = subparsers(program)
    summaries = {
        choice.dest: choice.help or ""
        for action in program._actions
        if isinstance(action, Commands)
        for choice in action._choices_actions
    }
    commands = [Command("", "", _options(program), ())]
    for name, parser in parsers.items():
        kinds = [_kind(action) for action in parser._actions if not action.option_strings]
        words = [word for action in parser._actions if not action.option_strings for word in _choices(action)]
        arguments = (*dict.fromkeys(kind for kind in kinds if kind), *words)
        commands.append(Command(name, summaries[name], _options(parser), arguments))
    lists = {
        "commands": tuple(parsers),
        "models": tuple(load_manifest()),
        "labels": audioset().names,
    }
    return SCRIPTS[shell](commands, lists)


def _options(parser: argparse.ArgumentParser) -> tuple[Option, ...]:
    return tuple(
        Option(
            tuple(action.option_strings),
            (action.help or "").replace("%(default)s", str(action.default)),
            action.nargs != 0,
            _kind(action),
            _choices(action),
        )
        for action in parser._actions
        if action.option_strings and action.help is not argparse.SUPPRESS
    )


def _kind(action: argparse.Action) -> str:
    """``files``, ``folders``, the name of a list, or an empty text."""
    placeholder = action.metavar if isinstance(action.metavar, str) else ""
    if placeholder in _FILES:
        return "files"
    if placeholder in _FOLDERS:
        return "folders"
    return _WORDS.get(placeholder, "")


def _choices(action: argparse.Action) -> tuple[str, ...]:
    if action.dest == "device":
        return _DEVICES
    if action.choices is None or isinstance(action, Commands):
        return ()
    return tuple(map(str, action.choices))

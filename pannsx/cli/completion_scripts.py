"""Completion scripts for bash, zsh, fish and PowerShell, from a list of commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

Lists = Mapping[str, Sequence[str]]
"""Words by the name of their list."""

_KINDS = ("files", "folders")


class Option(NamedTuple):
    """An option: what completes its value is ``choices``, or else ``kind``: files, folders or a list."""

    names: tuple[str, ...]
    help: str
    takes_value: bool
    kind: str
    choices: tuple[str, ...]


class Command(NamedTuple):
    """A command; ``arguments`` are kinds (files, folders, names of lists) and words.

    The program itself is the command without a name.
    """

    name: str
    summary: str
    options: tuple[Option, ...]
    arguments: tuple[str, ...]


def bash(commands: Sequence[Command], lists: Lists) -> str:
    """For bash 3.2, which macOS has, and later."""
    lines = ["# Completion of pannsx for bash; made by `pannsx completion bash`."]
    for name, words in lists.items():
        lines.append(f"_pannsx_{name}={_quoted(chr(10).join(words))}")
    lines += _BASH_HEAD.splitlines()
    for command in commands:
        lines.append(f"        {_quoted(command.name)})")
        lines.append('            case "$previous" in')
        for option in command.options:
            if option.takes_value:
                lines.append(
                    f"                {'|'.join(option.names)}) {_bash_action(option, lists)}; return ;;"
                )
        lines.append("            esac")
        names = " ".join(name for option in command.options for name in option.names)
        lines.append(f"            options={_quoted(names)}")
        words = [each for each in command.arguments if each not in lists and each not in _KINDS]
        listed = [name for name in command.arguments if name in lists] if command.name else ["commands"]
        parts = [_quoted("\n".join(words))] if words else []
        parts += [f"$'\\n'\"$_pannsx_{each}\"" for each in listed]
        lines.append(f"            words={''.join(parts)}")
        lines.append("            ;;")
    lines += _BASH_TAIL.splitlines()
    return "\n".join(lines) + "\n"


_BASH_HEAD = r"""
_pannsx_matching() {  # the lines of $1 that begin like the word at the cursor, as the shell would quote them
    local word quoted plain=${current#[\"\']} was_off=
    shopt -q nocasematch || was_off=1
    shopt -s nocasematch
    while IFS= read -r word; do
        [[ -z $word ]] && continue
        if [[ $plain != "$current" ]]; then  # inside of quotes
            [[ $word == "$plain"* ]] && COMPREPLY+=("$word")
            continue
        fi
        printf -v quoted '%q' "$word"
        if [[ $word == "$current"* || $quoted == "$current"* ]]; then COMPREPLY+=("$quoted"); fi
    done <<< "$1"
    [[ -n $was_off ]] && shopt -u nocasematch
}

_pannsx_nothing() {  # no files where a number is needed; bash 3.2 cannot be told
    compopt +o default +o bashdefault 2> /dev/null
}

_pannsx() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command= options= words=
    COMPREPLY=()
    if [[ $current == = ]]; then  # --option=value is three words
        current=
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    (( COMP_CWORD > 1 )) && command=${COMP_WORDS[1]}
    case "$command" in"""

_BASH_TAIL = r"""    esac
    if [[ $current == -* ]]; then
        _pannsx_matching "${options// /$'\n'}"
    else
        _pannsx_matching "$words"
    fi
}

complete -o bashdefault -o default -F _pannsx pannsx"""


def _bash_action(option: Option, lists: Lists) -> str:
    if option.choices:
        return f"_pannsx_matching {_quoted(chr(10).join(option.choices))}"
    if option.kind in lists:
        return f'_pannsx_matching "$_pannsx_{option.kind}"'
    return ":" if option.kind in _KINDS else "_pannsx_nothing"


def zsh(commands: Sequence[Command], lists: Lists) -> str:
    """For zsh, to be evaluated after ``compinit`` or kept as ``_pannsx`` in a folder of ``$fpath``."""
    lines = ["#compdef pannsx", "# Made by `pannsx completion zsh`.", ""]
    for name, words in lists.items():
        listed = " ".join(map(_quoted, words))
        lines += [
            f"_pannsx_{name}() {{",
            f"    local -a known; known=({listed})",
            "    compadd -M 'm:{a-zA-Z}={A-Za-z}' -a known",
            "}",
        ]
    program, *others = commands
    described = " ".join(_quoted(f"{each.name}:{each.summary}") for each in others)
    specs = " ".join(_zsh_specs(program, lists))
    lines += [
        "_pannsx() {",
        "    local curcontext=$curcontext state; local -a line commands; typeset -A opt_args",
        f"    commands=({described})",
        f"    _arguments -C {specs} '1: :->command' '*:: :->arguments' && return",
        "    case $state in",
        "        command) _describe command commands ;;",
        "        arguments)",
        "            case $line[1] in",
    ]
    for command in others:
        lines.append(f"                {command.name}) _arguments {' '.join(_zsh_specs(command, lists))} ;;")
    lines += [
        "            esac ;;",
        "    esac",
        "}",
        "",
        'if [[ $funcstack[1] == _pannsx ]]; then _pannsx "$@"; else compdef _pannsx pannsx; fi',
    ]
    return "\n".join(lines) + "\n"


def _zsh_specs(command: Command, lists: Lists) -> Iterator[str]:
    for option in command.options:
        about = option.help
        for special in "\\[]:":
            about = about.replace(special, "\\" + special)
        for name in option.names:
            value = f":value:{_zsh_action(option.kind, option.choices, lists)}" if option.takes_value else ""
            yield _quoted(f"*{name}[{about}]{value}")
    if command.arguments:
        kinds = [each for each in command.arguments if each in lists or each in _KINDS]
        words = tuple(each for each in command.arguments if each not in kinds)
        actions = [_zsh_action(kind, (), lists) for kind in kinds]
        if words:
            actions.append(_zsh_action("", words, lists))
        if len(actions) == 1:
            yield _quoted(f"*: :{actions[0]}")
        else:
            yield _quoted("*: :_alternative " + " ".join(f'"argument:argument:{each}"' for each in actions))


def _zsh_action(kind: str, choices: Sequence[str], lists: Lists) -> str:
    if choices:
        return f"({' '.join(choices)})"
    if kind in lists:
        return f"_pannsx_{kind}"
    return {"files": "_files", "folders": "_files -/"}.get(kind, " ")


def fish(commands: Sequence[Command], lists: Lists) -> str:
    """For fish 3.0 and later."""
    lines = ["# Completion of pannsx for fish; made by `pannsx completion fish`.", *_FISH_HEAD.splitlines()]
    for name, words in lists.items():
        listed = " ".join(map(_fish_quoted, words))
        lines += [f"function __pannsx_{name}", f"    printf '%s\\n' {listed}", "end"]
    lines.append("complete -c pannsx -f")
    for command in commands:
        if command.name:
            about = _fish_quoted(command.summary)
            lines.append(f"complete -c pannsx -n __pannsx_is_first -a {command.name} -d {about}")
        where = f"-n '__pannsx_is {command.name}'" if command.name else "-n __pannsx_is_first"
        for option in command.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
            )
            value = ""
            if option.takes_value:
                value = " " + _fish_words(option.kind, option.choices, lists, " -r -F", " -x")
            lines.append(f"complete -c pannsx {where} {names}{value} -d {_fish_quoted(option.help)}")
        for each in command.arguments:
            found = _fish_words(each if each in lists or each in _KINDS else "", (each,), lists, "-F", "")
            lines.append(f"complete -c pannsx {where} {found}")
    return "\n".join(lines) + "\n"


_FISH_HEAD = """
function __pannsx_is  # whether this is the command
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test $words[2] = $argv[1]
end
function __pannsx_is_first  # whether the command is still to come
    test (count (commandline -opc)) -eq 1
end"""


def _fish_words(kind: str, choices: Sequence[str], lists: Lists, files: str, words: str) -> str:
    if kind == "files":
        return files.strip()
    if kind == "folders":
        return f"{words} -a '(__fish_complete_directories)'".strip()
    if kind in lists:
        return f"{words} -a '(__pannsx_{kind})'".strip()
    return f"{words} -a {_fish_quoted(' '.join(choices))}".strip() if choices else words.strip()


def powershell(commands: Sequence[Command], lists: Lists) -> str:
    """For Windows PowerShell 5.1 and PowerShell 7."""
    lines = [
        "# Completion of pannsx for PowerShell; made by `pannsx completion powershell`.",
        "Register-ArgumentCompleter -Native -CommandName pannsx -ScriptBlock {",
        "    param($wordToComplete, $commandAst, $cursorPosition)",
    ]
    for name, words in lists.items():
        lines.append(f"    ${name} = @({', '.join(map(_powershell_quoted, words))})")
    lines += _POWERSHELL_HEAD.splitlines()
    for command in commands:
        for option in command.options:
            if not option.takes_value:
                continue
            found = f"${option.kind}" if option.kind in lists else _powershell_list(option.choices)
            for name in option.names:
                key = _powershell_quoted(f"{command.name} {name}")
                lines.append(f"        {key} {{ $values = {found}; break }}")
    lines.append("    }")
    lines.append("    if ($null -eq $values) { switch -CaseSensitive ($command) {")
    for command in commands:
        options = _powershell_list([name for option in command.options for name in option.names])
        arguments = (*command.arguments, *(() if command.name else ("commands",)))
        words = [each for each in arguments if each not in lists and each not in _KINDS]
        listed = [f"${each}" for each in arguments if each in lists]
        found = " + ".join([_powershell_list(words), *listed])
        key = _powershell_quoted(command.name)
        lines.append(f"        {key} {{ $options = {options}; $values = {found}; break }}")
    lines += ["    } }", *_POWERSHELL_TAIL.splitlines()]
    return "\n".join(lines) + "\n"


_POWERSHELL_HEAD = """
    $before = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.ToString() })
    $command = if ($before.Count -gt 1) { $before[1] } else { '' }
    $options = @()
    $values = $null
    switch -CaseSensitive ("$command $($before[-1])") {"""

_POWERSHELL_TAIL = """
    if ($wordToComplete.StartsWith('-')) { $values = $options }
    $typed = $wordToComplete.Trim("'", '"')
    # Without an answer, PowerShell completes the names of files.
    @($values) | Where-Object { $_ -and $_.StartsWith($typed, [StringComparison]::OrdinalIgnoreCase) } |
        ForEach-Object {
            $text = if ($_ -match '[^\\w./-]') { "'" + $_.Replace("'", "''") + "'" } else { $_ }
            [System.Management.Automation.CompletionResult]::new($text, $_, 'ParameterValue', $_)
        }
}"""


def _powershell_list(words: Sequence[str]) -> str:
    return f"@({', '.join(map(_powershell_quoted, words))})"


def _quoted(text: str) -> str:
    """In single quotes, for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


SCRIPTS: dict[str, Callable[[Sequence[Command], Lists], str]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
    "powershell": powershell,
}

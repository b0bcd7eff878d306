"""Messages of the package in the words of the command line: ``--hop`` for ``hop_s``."""

from __future__ import annotations

import re

OPTIONS = {
    "allow_unverified": "--allow-unverified",
    "cache_dir": "--cache-dir",
    "channel": "--channel",
    "checkpoint": "--checkpoint",
    "device": "--device",
    "duration_s": "--duration",
    "hop_s": "--hop",
    "input_name": "--input",
    "keep_audioset": "--keep-audioset",
    "layer_decay": "--layer-decay",
    "leaves": "--leaves",
    "max_gap_s": "--gap",
    "median_s": "--median",
    "min_duration_s": "--shortest",
    "model": "--model",
    "off_threshold": "--off",
    "overlap_s": "--overlap",
    "patience": "--patience",
    "precision": "--precision",
    "prefix": "--prefix",
    "restart": "--restart",
    "resume": "--resume",
    "salvage": "--salvage",
    "split_s": "--split",
    "start_s": "--start",
    "step_s": "--step",
    "super_classes": "--super-classes",
    "threshold": "--threshold",
    "top_k": "--top-k",
    "window_s": "--window",
}
"""The option for each keyword of the package that has one."""

# A keyword is a word of its own, not part of a file's name. One that is a word of English, too, is meant only
# where a value follows it.
_COINED, _ENGLISH = (
    "|".join(name for name in OPTIONS if ("_" in name) is coined) for coined in (True, False)
)
_KEYWORD = re.compile(
    rf"(?<![\w/\\.'\"-])(?:({_COINED})\b(=?)|({_ENGLISH})(=))(?![/\\]|\.\w)"  # hop_s, hop_s=, model=
    r"(?:True\b|'([^']*)'|(?=(\w|\./|/)))?"  # True, 'value', value
)


def in_options(message: str) -> str:
    """The message with the options of the command line for the keywords of Python."""

    def option(match: re.Match[str]) -> str:
        coined, equals, english, _, quoted, plain = match.groups()
        value = quoted if quoted is not None else ""
        between = " " if value or (plain and (equals or english)) else ""
        return OPTIONS[coined or english] + between + value

    return _KEYWORD.sub(option, message)

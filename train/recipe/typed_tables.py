"""Between nested tables of plain values, as TOML has them, and frozen dataclasses.

No key has a default: an unknown, missing or mistyped one is an error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pannsx.errors import did_you_mean


def merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``own`` upon it, key by key."""
    both = dict(base)
    for key, value in own.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        both[key] = merged(base[key], value) if nested else value
    return both


def flattened(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"table.key": value}`` of nested tables."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def from_text(kind: Any, text: str, key: str) -> Any:
    """What a command line's text means for a key of some type."""
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
        if get_origin(kind) is tuple:
            return [float(part) for part in text.strip("[]()").split(",")]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{key}={text} is no {_words(kind)}") from error
    return text


def parse(kind: Any, value: Any, where: str, key: str = "") -> Any:
    """A plain value as what a type says: a dataclass, text, a number, a choice, a tuple of numbers.

    Args:
        kind: the type.
        value: the plain value.
        where: named in errors.
        key: of the value, for errors; empty for the whole.

    Raises:
        ValueError: a key is unknown, missing or mistyped.
    """
    if isinstance(kind, UnionType):  # a table that may be left out
        return None if value is None else parse(get_args(kind)[0], value, where, key)
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: {key} is {value!r}; a table [{key}] is needed")
        hints = get_type_hints(kind)
        prefix = f"{key}." if key else ""
        if unknown := [name for name in value if name not in hints]:
            raise ValueError(f"{where}: unknown key {prefix}{unknown[0]}{did_you_mean(unknown[0], hints)}")
        if missing := [prefix + name for name in hints if name not in value]:
            raise ValueError(f"{where}: missing {', '.join(missing)}; set them, or extend a recipe that does")
        parsed = {name: parse(hint, value[name], where, prefix + name) for name, hint in hints.items()}
        try:
            return kind(**parsed)  # type: ignore[operator]
        except ValueError as error:
            raise ValueError(f"{where}, [{key}]: {error}") from error
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"{where}: {key} is {value!r}; {_words(kind)} is needed")
        if parts[-1] is Ellipsis:
            parts = parts[:1] * len(value)
        if len(value) != len(parts):
            raise ValueError(f"{where}: {key} is {value!r}; {_words(kind)} is needed")
        return tuple(parse(part, one, where, key) for part, one in zip(parts, value, strict=True))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            hint = did_you_mean(value, get_args(kind)) if isinstance(value, str) else ""
            raise ValueError(f"{where}: {key} is {value!r}; {_words(kind)} is needed{hint}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where}: {key} is {value!r}; {_words(kind)} is needed")
    return value


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        return "list of numbers" if parts[-1] is Ellipsis else f"list of {len(parts)} numbers"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}[kind]

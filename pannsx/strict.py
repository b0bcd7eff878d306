"""Strict parsing of plain values, as in JSON and TOML, into frozen dataclasses.

An unknown, missing or mistyped key is an error with the place, the key, the value and the expected type.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pannsx.errors import did_you_mean


def parse(
    kind: Any, value: Any, where: str, key: str = "", *, required: Collection[str] | None = None
) -> Any:
    """A plain value, parsed as a type.

    Args:
        kind: the type: a dataclass, text, a number, a choice, a tuple, a mapping from text, Any, or one of
            these or None. A whole number is accepted as a float; an instance of the dataclass is kept.
        value: the plain value.
        where: its source, for error messages.
        key: key of the value, for error messages; empty for the whole.
        required: fields of the dataclass that must be given; None: those without a default.

    Raises:
        ValueError: a key is unknown, missing or mistyped, or the dataclass refuses a value.
    """
    if kind is Any:
        return value
    if isinstance(kind, UnionType):
        return _one_of(get_args(kind), value, where, key)
    if isinstance(kind, type) and is_dataclass(kind):
        return value if isinstance(value, kind) else _table(kind, value, where, key, required)
    origin = get_origin(kind)
    if origin is tuple:
        return _tuple(kind, value, where, key)
    if origin is Literal:
        if value not in get_args(kind):
            hint = did_you_mean(value, get_args(kind)) if isinstance(value, str) else ""
            raise _wrong(kind, value, where, key, hint)
        return value
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(kind, value, where, key)
        (_, of) = get_args(kind)
        return {name: parse(of, one, where, f"{key}.{name}") for name, one in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int in Python, but never accepted as an int here.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(kind, value, where, key)
    return value


def words(kind: Any) -> str:
    """A type in words, for error messages."""
    if isinstance(kind, UnionType):
        return " or ".join(words(each) for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        n = "" if parts[-1] is Ellipsis else f"{len(parts)} "
        return f"list of {n}numbers" if parts[0] in (int, float) else "list"
    known = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list"}
    return known.get(kind, "table")


def _one_of(kinds: tuple[Any, ...], value: Any, where: str, key: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    first, *others = (each for each in kinds if each is not NoneType)
    return value if others and isinstance(value, (first, *others)) else parse(first, value, where, key)


def _table(kind: Any, value: Any, where: str, key: str, required: Collection[str] | None) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{where}: {key or 'it'} is {value!r}; a table{f' [{key}]' if key else ''} is needed"
        )
    hints = get_type_hints(kind)
    prefix = f"{key}." if key else ""
    if required is None:
        required = {
            field.name
            for field in fields(kind)
            if field.default is MISSING and field.default_factory is MISSING
        }
    if unknown := [name for name in value if name not in hints]:
        raise ValueError(f"{where}: unknown key {prefix}{unknown[0]}{did_you_mean(unknown[0], hints)}")
    if missing := [prefix + name for name in hints if name in required and name not in value]:
        raise ValueError(f"{where}: missing {', '.join(missing)}; each needs a value")
    parsed = {name: parse(hints[name], one, where, prefix + name) for name, one in value.items()}
    try:
        return kind(**parsed)
    except ValueError as error:
        raise ValueError(f"{where}, [{key}]: {error}" if key else f"{where}: {error}") from error


def _tuple(kind: Any, value: Any, where: str, key: str) -> tuple[Any, ...]:
    parts = get_args(kind)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _wrong(kind, value, where, key)
    if parts[-1] is Ellipsis:
        parts = parts[:1] * len(value)
    if len(value) != len(parts):
        raise _wrong(kind, value, where, key)
    return tuple(parse(part, one, where, key) for part, one in zip(parts, value, strict=True))


def _wrong(kind: Any, value: Any, where: str, key: str, hint: str = "") -> ValueError:
    needed = words(kind)
    article = "" if needed.startswith(("one of", "true", "text")) else "a "
    return ValueError(f"{where}: {key} is {value!r}; {article}{needed} is needed{hint}")

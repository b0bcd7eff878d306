"""Nested tables of plain values, as in TOML: merging, flattening, and parsing from text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_origin

from pannsx.strict import words


def merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``base`` updated by ``own``, key by key."""
    both = dict(base)
    for key, value in own.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        both[key] = merged(base[key], value) if nested else value
    return both


def flattened(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as ``{"table.key": value}``."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def from_text(kind: Any, text: str, key: str) -> Any:
    """The value of a command line's text, for a key of some type."""
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
        raise ValueError(f"{key}={text}: {words(kind)} is needed") from error
    return text

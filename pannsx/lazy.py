"""Packages whose names are fetched on first use (PEP 562), so that a program pays for what it touches.

Beside ``__getattr__`` a package names the same things below ``if TYPE_CHECKING:`` for type checkers and
editors, which read and do not run it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module


def attach(
    package: str, homes: Mapping[str, str], submodules: Iterable[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        homes: by public name the module that defines it, written in full.
        submodules: names of its public submodules.
    """
    rooms = frozenset(submodules)

    def get(name: str) -> object:
        if name in homes:
            value: object = getattr(import_module(homes[name]), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in rooms:
            return import_module(f"{package}.{name}")
        raise AttributeError(
            f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package]
        )

    def names() -> list[str]:
        return sorted({*homes, *rooms, *getattr(sys.modules[package], "__all__", ())})

    return get, names

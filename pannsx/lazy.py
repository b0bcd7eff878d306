"""Packages with lazy names, imported on first use (PEP 562).

Besides ``__getattr__``, a package imports the same names under ``if TYPE_CHECKING:`` for type checkers and
editors, which do not run it.
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
        homes: full name of the defining module, by public name.
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

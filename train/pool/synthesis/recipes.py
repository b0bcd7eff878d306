"""The register of recipes: each draws five seconds of a sound from random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from train.pool.synthesis.waves import Draws, Wave

Draw: TypeAlias = Callable[[Draws], Wave]


class Recipe(NamedTuple):
    """The recipe of a sound.

    Attributes:
        draw: random numbers -> ``(S,)`` waveform.
        classes: intended classes of AudioSet.
    """

    draw: Draw
    classes: tuple[str, ...]


EVENTS: dict[str, Recipe] = {}
"""Every recipe by its function's name, with spaces for underscores."""


def recipe(*classes: str) -> Callable[[Draw], Draw]:
    """Registers a function as a recipe for classes."""

    def register(draw: Draw) -> Draw:
        EVENTS[draw.__name__.replace("_", " ")] = Recipe(draw, classes)
        return draw

    return register

"""Sounds chosen from many: EfficientAT's mn04_as assigns each to one of its intended classes.

``chosen.csv`` has a row for each sound: its group, the generator, the recipe and the seeds, found by trying
seeds and mutating the best. The row alone determines the sound.

    events         recipe of `recipes.EVENTS`, seeds of a `Lineage`
    songs          ``band <genre>``, ``duet <kind>`` or ``alone <kind>``, seeds of a `Lineage`; no soundfont
    singing        kind of `singing.KINDS`, one seed
    bands <font>   genre of `genres.GENRES`, one seed, played with a soundfont
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.pool.errors import PoolError
from train.pool.synthesis import (
    bands,
    bells,
    creatures,
    genres,
    midi,
    singing,
    songs,
    tones,
    tools,
    vehicles,
    weather,
)
from train.pool.synthesis.lineage import Lineage
from train.pool.synthesis.recipes import EVENTS
from train.pool.synthesis.waves import Wave

TABLE = Path(__file__).with_name("chosen.csv")

THEMES = (bells, creatures, tones, tools, vehicles, weather)
"""Modules of recipes, which register them when imported."""

GROUPS = (
    "vehicles", "weather and water", "fire and kitchen", "bells and alarms", "machines and tools",
    "hits and steps", "voices", "animals", "tones", "singing", "bands",
)  # fmt: skip


class Chosen(NamedTuple):
    """A row of the table.

    Attributes:
        group: one of `GROUPS`.
        generator: ``events``, ``songs``, ``singing`` or ``bands <font>``.
        recipe: a recipe of the generator.
        seeds: seeds of the sound.
    """

    group: str
    generator: str
    recipe: str
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the sound: recipe and seeds."""
        return f"{self.recipe} {' '.join(map(str, self.seeds))}"


def read_chosen(path: Path = TABLE) -> list[Chosen]:
    """The rows of the table.

    Raises:
        PoolError: a row has an unknown name or invalid seeds; the message names its line.
    """
    known = {"events": set(EVENTS), "singing": set(singing.KINDS)}
    known["songs"] = {
        *(f"band {genre}" for genre in genres.GENRES),
        *(f"duet {kind}" for kind in songs.DUETS),
        *(f"alone {kind}" for kind in singing.KINDS),
    }
    known |= {f"bands {font}": set(genres.GENRES) for font in midi.FONTS}
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for cells in reader:
            group, generator, recipe, seeds = (
                cells.get(column) or "" for column in ("group", "generator", "recipe", "seeds")
            )
            numbers = seeds.split()
            if (
                group not in GROUPS
                or recipe not in known.get(generator, ())
                or not numbers
                or not all(number.isdigit() for number in numbers)
            ):
                raise PoolError(
                    f"{path}, line {reader.line_num}: {group!r}, {generator!r}, {recipe!r}, {seeds!r} "
                    "is not a group with a generator, one of its recipes and seeds"
                )
            rows.append(Chosen(group, generator, recipe, tuple(map(int, numbers))))
    return rows


def chosen(group: str) -> Iterator[tuple[str, Wave]]:
    """The sounds of a group, the bands last."""
    by_font: dict[str, list[tuple[str, int]]] = {}
    for row in read_chosen():
        if row.group != group:
            continue
        if row.generator == "events":
            yield row.name, EVENTS[row.recipe].draw(Lineage(row.seeds))
        elif row.generator == "songs":
            yield row.name, _song(row)
        elif row.generator == "singing":
            rng = np.random.default_rng([row.seeds[0], 43, *map(ord, row.recipe)])
            yield row.name, singing.alone(rng, row.recipe)
        else:
            by_font.setdefault(row.generator.partition(" ")[2], []).append((row.recipe, row.seeds[0]))
    for font, jobs in by_font.items():
        yield from bands.bands(font, jobs)


def _song(row: Chosen) -> Wave:
    what, _, name = row.recipe.partition(" ")
    rng = Lineage(row.seeds)
    if what == "band":
        return songs.song(rng, name)
    return songs.duet(rng, name) if what == "duet" else singing.alone(rng, name)

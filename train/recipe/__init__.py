"""Training recipes: from TOML to frozen dataclasses.

No key has a default here: a recipe describes its run completely, and recipes share values by ``extends``.
An unknown, missing or mistyped key is an error with its name.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pannsx.errors import did_you_mean
from pannsx.frontend.settings import FrontEnd
from pannsx.strict import parse
from train.recipe.limits import check_limits
from train.recipe.tables import (
    Augment,
    Average,
    Data,
    Distil,
    Keep,
    Loss,
    Model,
    Optimiser,
    Recipe,
    Run,
    Scenes,
    Schedule,
)
from train.recipe.typed_tables import flattened, from_text, merged

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "LATER",
    "RECIPES",
    "Augment",
    "Average",
    "Data",
    "Distil",
    "Keep",
    "Loss",
    "Model",
    "Optimiser",
    "Recipe",
    "Run",
    "Scenes",
    "Schedule",
    "differences",
    "parse_recipe",
    "read_recipe",
    "saved_recipe",
    "to_tables",
]

RECIPES = Path(__file__).parent.parent / "recipes"

LATER: dict[str, Any] = {
    "model": {"descriptor_weight": 0.0},
    "distil": {"ranking_weight": 0.0, "targets": "all"},
    "loss": {"kind": "tagging", "unknown": ""},
    "run": {"compile": False, "cuda_graphs": False},
    "data": {
        "readers": "processes",
        "staging": "",
        "staging_gb": 100.0,
        "streams": 1,
        "buffer_clips": 4096,
    },
}
"""Keys that recipes of older checkpoints lack, with the values that these were trained with."""


def read_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a file, or of a name in ``train/recipes``, with ``table.key=value`` overrides.

    Raises:
        ValueError: no such recipe, or a key that is unknown, missing, mistyped or out of its range.
    """
    path = _find(recipe)
    tables = _with_bases(path, ())
    for override in overrides:
        _override(tables, override)
    return parse_recipe(tables, path.name)


def parse_recipe(tables: Mapping[str, Any], where: str) -> Recipe:
    """The recipe of nested tables; errors name `where` as the source."""
    tables = dict(tables)
    frontend = tables.get("frontend")
    if isinstance(frontend, Mapping):
        model = tables.get("model")
        rate = model.get("sample_rate") if isinstance(model, Mapping) else None
        # Given once, in [model]: the rates of log-mel and model are equal.
        tables["frontend"] = {"sample_rate": rate, **frontend}
    else:
        tables.setdefault("frontend", None)
    tables.setdefault("scenes", None)
    parsed: Recipe = parse(Recipe, tables, where)
    check_limits(parsed, where)
    return parsed


def saved_recipe(tables: Mapping[str, Any], where: str) -> Recipe:
    """The recipe of a checkpoint, as :func:`parse_recipe`; it may be older than some keys."""
    return parse_recipe(merged(LATER, dict(tables)), where)


def to_tables(recipe: Recipe) -> dict[str, Any]:
    """Nested plain values, the inverse of :func:`parse_recipe`."""
    return asdict(recipe)


def differences(a: Recipe, b: Recipe) -> list[str]:
    """``table.key: value of a, value of b`` for every key that differs."""
    flat_a, flat_b = flattened(to_tables(a)), flattened(to_tables(b))
    return [
        f"{key}: {flat_a.get(key)!r}, {flat_b.get(key)!r}"
        for key in {**flat_a, **flat_b}
        if flat_a.get(key) != flat_b.get(key)
    ]


def _find(recipe: str | Path) -> Path:
    path = Path(recipe)
    if path.suffix != ".toml":
        path = RECIPES / f"{recipe}.toml"
    if not path.is_file():
        known = [file.stem for file in sorted(RECIPES.glob("*.toml"))]
        raise ValueError(f"there is no recipe {str(recipe)!r}{did_you_mean(path.stem, known)}")
    return path


def _with_bases(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The tables of a file, merged with those of the file it extends."""
    if path in seen:
        raise ValueError(f"{path.name} extends itself: {' -> '.join(file.name for file in (*seen, path))}")
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the recipe {path}: {error}") from error
    base = tables.pop("extends", None)
    if base is None:
        return tables
    return merged(_with_bases(path.parent / str(base), (*seen, path)), tables)


def _override(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *table_names, name = key.split(".")
    kind: Any = Recipe
    for part in (*table_names, name):
        hints = get_type_hints(kind) if is_dataclass(kind) else {}
        if part not in hints:
            hint = did_you_mean(key, _known_keys())
            raise ValueError(f"{override!r} does not match a key of a recipe{hint}")
        kind = {"frontend": FrontEnd, "scenes": Scenes}.get(part, hints[part])
    if not equals or is_dataclass(kind):
        raise ValueError(
            f"got {override!r}; an override has the form table.key=value, such as run.steps=1000"
        )
    for part in table_names:
        tables = tables.setdefault(part, {})
    tables[name] = from_text(kind, text, key)


def _known_keys() -> list[str]:
    hints = get_type_hints(Recipe) | {"frontend": FrontEnd, "scenes": Scenes}
    keys = [name for name, kind in hints.items() if not is_dataclass(kind)]
    tables = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    return keys + [f"{name}.{field.name}" for name, kind in tables.items() for field in fields(kind)]

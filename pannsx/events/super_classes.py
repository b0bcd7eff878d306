"""Super-classes: the probability that at least one of several classes is present, by noisy-or."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pannsx.labels import LabelSet
from pannsx.types import FloatArray, PathLike

SuperClasses: TypeAlias = Mapping[str, Sequence[str]]


def noisy_or(probabilities: FloatArray) -> FloatArray:
    """``(n, M)`` probabilities of the members -> ``(n,)`` of at least one, assuming independence."""
    silent = np.prod(1.0 - probabilities.astype(np.float64), axis=1)
    return np.asarray(1.0 - silent, np.float32)


def read_super_classes(path: PathLike, labels: Sequence[str] | LabelSet) -> dict[str, tuple[str, ...]]:
    """Super-classes of ``labels`` from a file.

    Args:
        path: JSON, either an object from names to lists of classes, ``{"Pet": ["Dog", "all cats"]}``, in the
            forms of :meth:`pannsx.labels.LabelSet.select`; or an
            ontology, as AudioSet's ``ontology.json``: a list of objects with ``id``, ``name`` and
            ``child_ids``. Every entry with children then becomes a super-class of itself and its
            descendants, as far as they are among the labels; a super-class without members is dropped.
        labels: the ``K`` labels.

    Raises:
        OSError: the file cannot be read.
        ValueError: not such a file, a class that is not among the labels, or a cycle.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if isinstance(content, list):
        return _of_ontology(content, tuple(labels), path)
    if not isinstance(content, dict) or not all(
        isinstance(members, list) and all(isinstance(member, str) for member in members)
        for members in content.values()
    ):
        raise ValueError(
            f"{path} is neither an object from names to lists of labels nor an ontology, a list of objects "
            "with id, name and child_ids"
        )
    try:
        return resolve_super_classes(
            content, labels if isinstance(labels, LabelSet) else LabelSet(tuple(labels))
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def resolve_super_classes(
    super_classes: SuperClasses | PathLike | None, labels: LabelSet
) -> dict[str, tuple[str, ...]]:
    """The labels of each super-class, from any of the accepted forms.

    Raises:
        OSError: a file cannot be read.
        ValueError: an unknown member, with close names, or a super-class without members.
    """
    if isinstance(super_classes, (str, os.PathLike)):
        return read_super_classes(super_classes, labels)
    found = {}
    for name, members in (super_classes or {}).items():
        try:
            found[name] = tuple(labels[i] for i in labels.select(members))
        except ValueError as error:
            raise ValueError(f"the super-class {name!r}: {error}") from error
        if not found[name]:
            raise ValueError(f"the super-class {name!r} has no members")
    return found


def _of_ontology(entries: list[Any], labels: tuple[str, ...], path: Path) -> dict[str, tuple[str, ...]]:
    try:
        by_id = {entry["id"]: entry for entry in entries}
        children = {id_: tuple(entry["child_ids"]) for id_, entry in by_id.items()}
        names = {id_: str(entry["name"]) for id_, entry in by_id.items()}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is a list, but not of objects with id, name and child_ids: {error!r}"
        ) from error
    missing = sorted({child for below in children.values() for child in below} - set(by_id))
    if missing:
        raise ValueError(f"{path}: {missing[0]!r} is listed as a child but has no entry of its own")
    position = {label: i for i, label in enumerate(labels)}

    def below(id_: str, above: tuple[str, ...]) -> set[str]:
        if id_ in above:
            raise ValueError(f"{path}: {names[id_]!r} is its own descendant; remove the cycle")
        found = {names[id_]}
        for child in children[id_]:
            found |= below(child, (*above, id_))
        return found

    found = {}
    for id_, name in names.items():
        members = sorted(below(id_, ()) & set(position), key=position.__getitem__) if children[id_] else []
        if members:
            found[name] = tuple(members)
    return found

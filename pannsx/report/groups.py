"""Groups of classes, which a page shows by colour: super-classes, or the top of AudioSet's tree."""

from __future__ import annotations

from typing import NamedTuple

from pannsx.class_tree import audioset_tree
from pannsx.events.super_classes import SuperClasses, resolve_super_classes
from pannsx.labels import LabelSet
from pannsx.types import PathLike


class Groups(NamedTuple):
    """Groups of ``K`` labels.

    Attributes:
        names: names of the groups.
        of: ``K`` positions in ``names``; None for a label without a group.
        above: ``K`` tuples of the labels' positions that stand above each in AudioSet's tree.
    """

    names: tuple[str, ...]
    of: tuple[int | None, ...]
    above: tuple[tuple[int, ...], ...]


def groups_of(labels: tuple[str, ...], super_classes: SuperClasses | PathLike | None = None) -> Groups:
    """The groups of labels: the first super-class of each, else what stands at the top of AudioSet's tree.

    Raises:
        OSError: the file of super-classes cannot be read.
        ValueError: it is no such file, or has other classes.
    """
    tree, position = audioset_tree(), {label: k for k, label in enumerate(labels)}
    above = tuple(
        tuple(position[name] for name in tree.ancestors(label) if name in position) if label in tree else ()
        for label in labels
    )
    if super_classes is None:
        of_label = {label: tree.path(label)[0] for label in labels if label in tree}
        names = tuple(name for name in tree.roots if name in of_label.values())
    else:
        groups = resolve_super_classes(super_classes, LabelSet(labels))
        names = tuple(groups)
        of_label = {}
        for name, members in groups.items():
            for member in members:
                of_label.setdefault(member, name)
    of = tuple(names.index(of_label[label]) if label in of_label else None for label in labels)
    return Groups(names, of, above)

"""AudioSet's tree of classes: 632 of them, the 527 labels and the groups above them."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

from pannsx.errors import did_you_mean


class SoundClass(NamedTuple):
    """A class of the tree.

    Attributes:
        mid: machine id, such as ``/m/0bt9lr``.
        name: display name.
        parent_ids: machine ids of the classes directly above; none for a root.
        restrictions: ``"abstract"`` for a group that is no label of its own, ``"blacklist"`` for a class
            that was left out of annotation.
    """

    mid: str
    name: str
    parent_ids: tuple[str, ...]
    restrictions: tuple[str, ...]


class OutlineLine(NamedTuple):
    """A line of :meth:`ClassTree.outline`: a class that was asked for, or what stands above it.

    Attributes:
        depth: 0 for a line that stands below no other.
        label: the class that was asked for, as it was given; None for a heading.
        heading: the names above, for a heading that is not asked for: ``("Human sounds", "Human voice")``.
    """

    depth: int
    label: str | None
    heading: tuple[str, ...]


class ClassTree:
    """Classes and what stands above and below them; a class may have several parents.

    >>> from pannsx import labels
    >>>
    >>> tree = labels.audioset().tree
    >>> print(tree.parents("Bark"), tree.path("Bark"))
    ('Dog',) ('Animal', 'Domestic animals, pets', 'Dog', 'Bark')

    Methods take a class by name, case ignored, or by machine id, and return names. For a class that is not
    in the tree they raise ValueError, with close names.

    Args:
        classes: the classes, in the order in which siblings are listed.

    Raises:
        ValueError: a repeated id or name, an unknown parent, or a class above itself.
    """

    def __init__(self, classes: Iterable[SoundClass]) -> None:
        self._classes = tuple(classes)
        self._by_key: dict[str, SoundClass] = {}
        for each in self._classes:
            for key in (each.mid, each.name):
                if self._by_key.setdefault(key.casefold(), each) is not each:
                    raise ValueError(f"{key!r} is repeated; every class needs its own name and id")
        self._children: dict[str, list[str]] = {each.name: [] for each in self._classes}
        self._parents: dict[str, tuple[str, ...]] = {}
        for each in self._classes:
            unknown = [mid for mid in each.parent_ids if mid.casefold() not in self._by_key]
            if unknown:
                raise ValueError(f"{each.name!r} has the parent {unknown[0]!r}, which is not in the tree")
            self._parents[each.name] = tuple(self.find(mid).name for mid in each.parent_ids)
            for parent in self._parents[each.name]:
                self._children[parent].append(each.name)
        self._order = {each.name: i for i, each in enumerate(self._classes)}
        self._below: dict[str, frozenset[str]] = {}
        for each in self._classes:
            self._gather(each.name, ())

    def _gather(self, name: str, above: tuple[str, ...]) -> frozenset[str]:
        if name in above:
            raise ValueError(f"{name!r} is its own descendant; remove the cycle")
        if name not in self._below:
            below = (self._gather(child, (*above, name)) for child in self._children[name])
            self._below[name] = frozenset(self._children[name]).union(*below)
        return self._below[name]

    def __len__(self) -> int:
        return len(self._classes)

    def __iter__(self) -> Iterator[SoundClass]:
        return iter(self._classes)

    def __contains__(self, name_or_id: object) -> bool:
        return isinstance(name_or_id, str) and name_or_id.casefold() in self._by_key

    def find(self, name_or_id: str) -> SoundClass:
        """The class of a name or id."""
        found = self._by_key.get(name_or_id.casefold())
        if found is None:
            names = (each.name for each in self._classes)
            raise ValueError(
                f"unknown class {name_or_id!r} among the {len(self)} of the tree"
                f"{did_you_mean(name_or_id, names)}"
            )
        return found

    @property
    def roots(self) -> tuple[str, ...]:
        """The classes without a parent."""
        return tuple(each.name for each in self._classes if not each.parent_ids)

    def parents(self, name_or_id: str) -> tuple[str, ...]:
        """The classes directly above."""
        return self._parents[self.find(name_or_id).name]

    def children(self, name_or_id: str) -> tuple[str, ...]:
        """The classes directly below."""
        return tuple(self._children[self.find(name_or_id).name])

    def ancestors(self, name_or_id: str) -> tuple[str, ...]:
        """All classes above, each once, the nearest first."""
        found: list[str] = []
        level = self.parents(name_or_id)
        while level:
            found += level
            above = dict.fromkeys(parent for name in level for parent in self._parents[name])
            level = tuple(name for name in above if name not in found)
        return tuple(found)

    def descendants(self, name_or_id: str) -> tuple[str, ...]:
        """All classes below, each once, in the order of the tree."""
        return tuple(sorted(self._below[self.find(name_or_id).name], key=self._order.__getitem__))

    def path(self, name_or_id: str) -> tuple[str, ...]:
        """From a root to the class, by the first parent of each."""
        path = [self.find(name_or_id).name]
        while self._parents[path[0]]:
            path.insert(0, self._parents[path[0]][0])
        return tuple(path)

    def outline(self, labels: Iterable[str]) -> tuple[OutlineLine, ...]:
        """Classes in the tree's order, each once, below headings for what stands above them.

        Neighbours stand in the order in which they are given. A class with several parents stands below the
        one with the most of the given classes above it. Headings with nothing else below them share a line.
        A label that is not in the tree stands by itself.

        >>> from pannsx import labels
        >>>
        >>> for line in labels.audioset().tree.outline(["Bark", "Speech", "Dog"]):
        ...     print("  " * line.depth + (line.label or " > ".join(line.heading)))
        Animal > Domestic animals, pets
          Dog
            Bark
        Human sounds > Human voice
          Speech
        """
        given: dict[str, dict[str, None]] = {}  # labels that differ in case alone are the same class
        for label in labels:
            given.setdefault(self.find(label).name if label in self else label, {})[label] = None
        below: dict[str | None, list[str]] = {None: []}
        for name in given:
            for high, low in self._steps(name, given):
                if low not in below:
                    below[low] = []
                    below[high].append(low)
        return tuple(self._lines(below, given, None, 0))

    def _steps(self, name: str, given: Collection[str]) -> list[tuple[str | None, str]]:
        """From no class to a root, from there to its child, and so on to the class."""
        steps: list[tuple[str | None, str]] = []
        low = name
        while parents := self._parents.get(low, ()):
            high = max(parents, key=lambda parent: self._n_given(parent, given))  # the first of equals
            steps.append((high, low))
            low = high
        return [(None, low), *reversed(steps)]

    def _n_given(self, name: str, given: Collection[str]) -> int:
        above = max((self._n_given(parent, given) for parent in self._parents[name]), default=0)
        return above + (name in given)

    def _lines(
        self,
        below: dict[str | None, list[str]],
        given: dict[str, dict[str, None]],
        high: str | None,
        depth: int,
    ) -> Iterator[OutlineLine]:
        for name in below[high]:
            heading = []
            while name not in given:
                heading.append(name)
                if len(below[name]) > 1 or below[name][0] in given:
                    break
                (name,) = below[name]
            if heading:
                yield OutlineLine(depth, None, tuple(heading))
            else:
                yield from (OutlineLine(depth, label, ()) for label in given[name])
            yield from self._lines(below, given, name, depth + 1)

    def meaning(self, name: str) -> frozenset[str]:
        """The class and all below it; of a name that is not in the tree, that name alone."""
        if name not in self:
            return frozenset({name})
        name = self.find(name).name
        return self._below[name] | {name}


@cache
def audioset_tree() -> ClassTree:
    """The tree of AudioSet, from the package's table (CC BY-SA 4.0, see the licence beside it)."""
    text = (resources.files("pannsx") / "data" / "audioset_tree.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return ClassTree(
        SoundClass(row["mid"], row["name"], tuple(row["parents"].split()), tuple(row["restrictions"].split()))
        for row in rows
    )

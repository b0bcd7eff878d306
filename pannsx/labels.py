"""Label sets: the names of a checkpoint's ``K`` outputs, in output order, and how classes are asked for."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

from pannsx.class_tree import ClassTree, audioset_tree
from pannsx.errors import did_you_mean
from pannsx.types import PathLike


@dataclass(frozen=True)
class LabelSet:
    """The labels of a checkpoint, in the order of its outputs.

    Attributes:
        names: ``K`` display names.
        ids: ``K`` machine ids (AudioSet's ``/m/09x0r``), or None.

    Raises:
        ValueError: no label at all, an empty or repeated name, or different numbers of ids and names.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...] | None = None
    _exact: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)
    _folded: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a label set needs at least one label; got none")
        for kind, labels in (("label name", self.names), ("label id", self.ids or ())):
            seen: set[str] = set()
            for position, label in enumerate(labels):
                if not label.strip():
                    raise ValueError(f"{kind} {position} is empty")
                if label in seen:
                    raise ValueError(f"{kind} {label!r} is repeated; every output needs its own")
                seen.add(label)
        if self.ids is not None and len(self.ids) != len(self.names):
            raise ValueError(
                f"got {len(self.names)} label names and {len(self.ids)} ids; one id per name is needed"
            )
        # Names take precedence over ids, and exact spelling over a match that ignores case.
        for labels in (self.names, self.ids or ()):
            for position, label in enumerate(labels):
                self._exact.setdefault(label, position)
                self._folded.setdefault(label.casefold(), position)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def index(self, name_or_id: str) -> int:
        """Output position of a display name or id; case is ignored.

        Raises:
            ValueError: unknown label; close names are suggested.
        """
        position = self._position(name_or_id)
        if position is None:
            raise ValueError(
                f"unknown label {name_or_id!r} among {len(self)} labels{did_you_mean(name_or_id, self.names)}"
            )
        return position

    def _position(self, name_or_id: str) -> int | None:
        if not isinstance(name_or_id, str):
            raise ValueError(f"got {name_or_id!r} for a class; classes go by name or id, not by number")
        position = self._exact.get(name_or_id, self._folded.get(name_or_id.casefold()))
        if position is None and name_or_id in audioset_tree():  # AudioSet's id of a name in this set
            position = self._folded.get(audioset_tree().find(name_or_id).name.casefold())
        return position

    @property
    def tree(self) -> ClassTree:
        """AudioSet's tree, for labels of which at least one is in it.

        Raises:
            ValueError: none is.
        """
        tree = audioset_tree()
        if not any(name in tree for name in self.names):
            raise ValueError(
                f"none of the {len(self)} labels ({self.names[0]!r}, ...) is in AudioSet's tree of classes"
            )
        return tree

    @cached_property
    def below(self) -> tuple[tuple[int, ...], ...]:
        """For each label, the positions of the labels below it in AudioSet's tree; none for one outside."""
        tree = audioset_tree()
        at: dict[str, list[int]] = {}  # two labels may differ in case alone
        for i, name in enumerate(self.names):
            at.setdefault(tree.find(name).name if name in tree else name, []).append(i)
        return tuple(
            tuple(sorted(i for each in tree.descendants(name) for i in at.get(each, ())))
            if name in tree
            else ()
            for name in self.names
        )

    def select(self, wanted: Iterable[str]) -> tuple[int, ...]:
        """Output positions of classes, each once, in the order in which they are asked for.

        Each is asked for by one of:

        * its name or id, case ignored;
        * ``"all "`` and a class of AudioSet's tree, also in the plural: the class and all below it, as far as
          they are among the labels (``"all birds"``);
        * a class of the tree that is no label itself: all labels below it (``"Human voice"``).

        Raises:
            ValueError: a class without a label, or a number; close names are suggested.
        """
        if isinstance(wanted, str):
            raise ValueError(f"got the text {wanted!r}; a list of classes is needed: [{wanted!r}]")
        return tuple(dict.fromkeys(position for each in wanted for position in self.matches(each)))

    def matches(self, wanted: str, others: Collection[str] = ()) -> tuple[int, ...]:
        """Output positions of what one text asks for, as in :meth:`select`; ``others`` are suggested, too."""
        position = self._position(wanted)
        if position is not None:
            return (position,)
        everything = re.fullmatch(r"\s*all\s+(.+?)\s*", wanted, re.IGNORECASE)
        name = self._name(everything[1], plural=True) if everything else self._name(wanted)
        if name is None:
            asked = everything[1] if everything else wanted
            number = "; classes go by name or id, not by number" if asked.strip().isdecimal() else ""
            singular = asked[:-1] if everything and asked.endswith("s") else asked
            near = did_you_mean(singular, (*others, *self._known()))
            raise ValueError(f"unknown class {asked!r} among {len(others) + len(self)} classes{near}{number}")
        meant = {each.casefold() for each in audioset_tree().meaning(name)}
        found = tuple(i for i, label in enumerate(self.names) if label.casefold() in meant)
        if not found:
            raise ValueError(
                f"{name!r} is a class of AudioSet, but neither it nor a class below it is one of the "
                f"{len(self)} labels"
            )
        return found

    def _name(self, text: str, *, plural: bool = False) -> str | None:
        """The label or class of the tree that a text names; ``plural`` also tries without -s and -es."""
        for suffix in ("", "s", "es") if plural else ("",):
            if text.casefold().endswith(suffix):
                stem = text[: len(text) - len(suffix)]
                position = self._position(stem)
                if position is not None:
                    return self.names[position]
                if stem in audioset_tree():
                    return audioset_tree().find(stem).name
        return None

    def _known(self) -> tuple[str, ...]:
        """Names to suggest: the labels, and the groups above them."""
        tree = audioset_tree()
        above = (name for label in self.names if label in tree for name in tree.ancestors(label))
        return tuple(dict.fromkeys((*self.names, *above)))


@cache
def audioset() -> LabelSet:
    """The 527 AudioSet labels, in the order of the published checkpoints' outputs."""
    text = (resources.files("pannsx") / "data" / "audioset_labels.csv").read_text(encoding="utf-8")
    return _from_csv(text, "audioset_labels.csv")


def read_labels(path: PathLike) -> LabelSet:
    """Labels from a file: CSV with the header ``index,mid,display_name``, a JSON list, or one name per line.

    The extension selects the format: ``.csv``, ``.json``, anything else plain text, without its blank lines.

    Raises:
        OSError: the file cannot be read.
        ValueError: not such a file, no label, or a repeated one.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8-sig")  # spreadsheet programs put a byte order mark first
    if path.suffix.lower() == ".csv":
        return _from_csv(text, path.name)
    if path.suffix.lower() == ".json":
        return _from_json(text, path.name)
    return LabelSet(tuple(line.strip() for line in text.splitlines() if line.strip()))


def _from_csv(text: str, source: str) -> LabelSet:
    rows = csv.DictReader(io.StringIO(text))
    if not {"index", "mid", "display_name"} <= set(rows.fieldnames or ()):
        raise ValueError(
            f"{source}: the header is {rows.fieldnames}; a label table needs index,mid,display_name"
        )
    names, ids = [], []
    for position, row in enumerate(rows):
        if row["index"] != str(position):
            raise ValueError(f"{source}: index is {row['index']!r}; {position} is needed here")
        names.append(row["display_name"] or "")
        ids.append(row["mid"] or "")
    return LabelSet(tuple(names), tuple(ids))


def _from_json(text: str, source: str) -> LabelSet:
    try:
        names = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{source}: a JSON list of label names is needed, got {type(names).__name__}")
    return LabelSet(tuple(names))

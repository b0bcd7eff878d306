"""Label sets: the names of a checkpoint's ``K`` outputs, in output order."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

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
        position = self._exact.get(name_or_id, self._folded.get(name_or_id.casefold()))
        if position is None:
            raise ValueError(
                f"unknown label {name_or_id!r} among {len(self)} labels{did_you_mean(name_or_id, self.names)}"
            )
        return position


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

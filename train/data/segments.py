"""AudioSet's segment lists: video, start, end and labels of every clip.

# YTID, start_seconds, end_seconds, positive_labels
--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pannsx.labels import LabelSet

_HEADER_LINES = 3  # of the published lists; in the published code's own parts of them, "empty" three times
_VIDEO_ID_LENGTH = 11


class Segment(NamedTuple):
    """A row of a segment list: the clip from ``start_s`` to ``end_s`` of a video."""

    id: str
    start_s: float
    end_s: float
    label_ids: tuple[str, ...]


def read_segments(path: str | Path) -> Iterator[Segment]:
    """The segments of a list, in its order.

    Raises:
        OSError: the list cannot be read.
        ValueError: a line is not a segment.
    """
    path = Path(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in (reader := csv.reader(file, skipinitialspace=True)):
            if not row or row[0].startswith("#") or (len(row) == 1 and reader.line_num <= _HEADER_LINES):
                continue
            try:
                video, start_s, end_s, label_ids = row
                yield Segment(video, float(start_s), float(end_s), tuple(label_ids.split(",")))
            except ValueError:
                raise ValueError(
                    f'{path}, line {reader.line_num}: got {row}; id, start, end, "label,label" is needed'
                ) from None


class Listing:
    """The selected clips and their labels.

    With segment lists, clips and labels are those of the lists; otherwise all clips with the source's labels.

    Attributes:
        labels: ``K`` names and ids.
        targets: by clip id, the positions of the labels; None without lists.
    """

    def __init__(self, labels: LabelSet, lists: Iterable[str | Path] = ()) -> None:
        self.labels = labels
        self.targets: dict[str, tuple[int, ...]] | None = None
        shared: dict[tuple[str, ...], tuple[int, ...]] = {}  # many clips share few combinations
        for path in lists:
            self.targets = {} if self.targets is None else self.targets
            for segment in read_segments(path):
                if segment.label_ids not in shared:
                    shared[segment.label_ids] = self._positions(segment.label_ids, f"{path}, {segment.id}")
                self.targets[segment.id] = shared[segment.label_ids]

    def identify(
        self, stem: str, given: Iterable[str | int] | None = None
    ) -> tuple[str, tuple[int, ...]] | None:
        """A file's stem and its source's labels, if any -> id and label positions; None if not selected.

        Stems are ids, possibly with the prefix ``Y``, as published (an id may begin with ``-``), or with a
        suffix (``<id>_30.000_40.000``).

        Raises:
            ValueError: neither a list nor labels from the source, or an unknown label.
        """
        if self.targets is not None:
            for candidate in (stem, stem[1:] if stem.startswith("Y") else stem, stem[:_VIDEO_ID_LENGTH]):
                if candidate in self.targets:
                    return candidate, self.targets[candidate]
            return None
        if given is None:
            raise ValueError(f"clip {stem!r} has no labels; give a segment list with its labels")
        is_published = stem.startswith("Y") and len(stem) == _VIDEO_ID_LENGTH + 1
        return stem[1:] if is_published else stem, self._positions(given, f"clip {stem!r}")

    def _positions(self, labels: Iterable[str | int], where: str) -> tuple[int, ...]:
        try:
            return tuple(sorted({self._position(label) for label in labels}))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def _position(self, label: str | int) -> int:
        if isinstance(label, str):
            return self.labels.index(label)
        if not 0 <= label < len(self.labels):
            raise ValueError(f"label {label} of {len(self.labels)} labels")
        return int(label)

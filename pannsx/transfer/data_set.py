"""Data sets for transfer: clips with labels, in folds."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pannsx.audio.formats import AUDIO_SUFFIXES
from pannsx.labels import LabelSet

MADE_UP_FOLDS = 5


class Recording(NamedTuple):
    """A clip: a file or a part of one.

    Attributes:
        path: the file.
        labels: positions of its labels.
        fold: its fold.
        start_s: start of the clip in the file, in seconds.
        duration_s: length in seconds; None: to the end of the file.
        group: its group, such as a speaker; clips of a group are never on both sides. Empty: the file.
        unknown: positions of labels whose presence is unknown.
    """

    path: Path
    labels: tuple[int, ...]
    fold: str
    start_s: float = 0.0
    duration_s: float | None = None
    group: str = ""
    unknown: tuple[int, ...] = ()

    @property
    def source(self) -> Path:
        """The file, as :class:`pannsx.transfer.clips.Sound` names it."""
        return self.path

    @property
    def source_rate(self) -> None:
        """Files state their own rate."""
        return None


class Split(NamedTuple):
    """Folds to train on and folds to test on."""

    name: str
    train: frozenset[str]
    test: frozenset[str]


@dataclass(frozen=True)
class DataSet:
    """Clips with labels, and their division.

    Attributes:
        name: its name in tables.
        labels: ``K`` names.
        recordings: ``N`` clips.
        splits: official splits; a score is the mean over them.
        clip_s: usual length in seconds; in training, longer clips are cut to it.
        multi_label: whether a clip may have several labels, or none.

    Raises:
        ValueError: no clip, a clip without its one label, or a split with an empty side.
    """

    name: str
    labels: LabelSet
    recordings: tuple[Recording, ...]
    splits: tuple[Split, ...]
    clip_s: float
    multi_label: bool = False

    def __post_init__(self) -> None:
        if not self.recordings:
            raise ValueError(f"{self.name} has no clips; check that the folder is the data set's own")
        folds = {recording.fold for recording in self.recordings}
        for split in self.splits:
            if not split.train & folds or not split.test & folds or split.train & split.test:
                raise ValueError(
                    f"{self.name}: {split} needs clips on both sides; the folds are {sorted(folds)}"
                )
        for recording in self.recordings:
            if not self.multi_label and len(recording.labels) != 1:
                raise ValueError(
                    f"{recording.path} has {len(recording.labels)} labels; exactly one is needed"
                )

    @property
    def has_test_set(self) -> bool:
        """Whether the clips are divided once, into training and test set."""
        return len(self.splits) == 1

    def validation_rows(self) -> list[int]:
        """Positions of the clips of an official validation part, if there is one."""
        return self.rows((VALIDATION,))

    def final_rows(self) -> list[int]:
        """Positions of the clips for a checkpoint to keep: all, but for a separate test set."""
        if self.has_test_set:
            return self.rows(self.splits[0].train)
        return list(range(len(self.recordings)))

    def rows(self, folds: Iterable[str]) -> list[int]:
        """Positions of the clips of some folds."""
        wanted = set(folds)
        return [row for row, recording in enumerate(self.recordings) if recording.fold in wanted]


_SHOWN = 3  # missing files named in an error
VALIDATION = "validation"
"""The fold of an official validation part: neither trained on nor tested on, but watched in training."""

TRAIN_TEST = Split("test", frozenset({"train"}), frozenset({"test"}))


def table_rows(path: Path, needed: set[str], delimiter: str = ",") -> Iterator[dict[str, str]]:
    """The rows of a CSV with required columns.

    Raises:
        OSError, ValueError: the file cannot be read, a column is missing, or a row is too short.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        names = reader.fieldnames or ()
        if not needed <= set(names):
            if len(names) == 1 and delimiter == "," and ";" in names[0]:
                raise ValueError(f"the cells of {path} are separated by semicolons; save it with commas")
            found = f"the columns {', '.join(names)}" if names else "no columns"
            raise ValueError(f"{path} has {found}; {' and '.join(sorted(needed))} are needed")
        for row in reader:
            if any(row[column] is None for column in needed):
                raise ValueError(f"{path}, line {reader.line_num}: fewer cells than the header has columns")
            yield row


def listed_file(folder: Path, name: str) -> Path:
    """A file of a list, relative to its folder; lists made on Windows separate folders by a backslash."""
    path = folder / name
    return folder / name.replace("\\", "/") if "\\" in name and not path.exists() else path


def check_files(recordings: Sequence[Recording], name: str) -> None:
    """Check that all files are there, before one is decoded.

    Raises:
        ValueError: some are not; the message names the first of them.
    """
    missing = list(dict.fromkeys(each.path for each in recordings if not each.path.is_file()))
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if len(missing) > _SHOWN else "")
        raise ValueError(f"{name}: {len(missing)} of its files are missing: {shown}")


def audio_files(folder: Path) -> list[Path]:
    """All audio files below a folder, by extension, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)


def label_set(names: Iterable[str]) -> LabelSet:
    """The set of names, in alphabetical order."""
    return LabelSet(tuple(sorted(set(names))))


def each_fold(recordings: Iterable[Recording]) -> tuple[Split, ...]:
    """Every fold held out once."""
    folds = frozenset(recording.fold for recording in recordings)
    in_order = sorted(folds, key=lambda fold: (len(fold), fold))  # 2 before 10
    return tuple(Split(f"fold {fold}", folds - {fold}, frozenset({fold})) for fold in in_order)

"""Sounds of one's own as a data set: a folder of folders, or a CSV."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pannsx.errors import did_you_mean
from pannsx.labels import LabelSet
from pannsx.transfer.data_set import (
    TRAIN_TEST,
    VALIDATION,
    DataSet,
    Recording,
    audio_files,
    each_fold,
    label_set,
    listed_file,
    table_rows,
)
from pannsx.transfer.faults import Fault, FaultyClipsError, find_faults
from pannsx.transfer.folds import make_folds

_SHOWN = 3
_FOLD_NAMES = {"valid": VALIDATION, "val": VALIDATION}
"""Other names of folds."""

ALL_OTHERS = "*"
"""In the column ``unknown``: every label that is not in the column ``label``."""

_SPLIT = frozenset({"train", "test"})


@dataclass(frozen=True)
class Listed:
    """Clips as listed in a folder or a table, before folds are made.

    Attributes:
        place: the folder or the CSV.
        labels: ``K`` names, in alphabetical order.
        recordings: ``N`` clips; their fold is empty if the list has none.
        multi_label: whether a clip may have several labels, or none.
    """

    place: Path
    labels: LabelSet
    recordings: tuple[Recording, ...]
    multi_label: bool = False

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.place.stem if self.place.suffix.lower() == ".csv" else self.place.absolute().name

    def without(self, faults: Collection[Fault]) -> Listed:
        """The other clips.

        Raises:
            ValueError: a class would have no clip.
        """
        out = {fault.recording for fault in faults}
        kept = tuple(recording for recording in self.recordings if recording not in out)
        met = {label for recording in kept for label in recording.labels}
        gone = [name for label, name in enumerate(self.labels) if label not in met]
        if gone:
            raise ValueError(
                f"{self.place}: without the clips that cannot be used, {_some(gone)} would have no clip; "
                "repair them, or leave the class out"
            )
        return replace(self, recordings=kept)

    def data_set(self) -> DataSet:
        """With folds: the list's own, or made up.

        Raises:
            ValueError: folds that cannot be used, or clips of one group only.
        """
        recordings, folds = self.recordings, {recording.fold for recording in self.recordings}
        if "" in folds and len(folds) > 1:
            raise ValueError(f"{self.place}: some clips have a fold and some have none; give every clip one")
        if VALIDATION in folds and not folds >= _SPLIT:
            raise ValueError(
                f"{self.place} has a validation part and the folds {sorted(folds - {VALIDATION})}; a "
                "validation part of your own needs the folds train and test beside it"
            )
        folds_of = defaultdict[str, set[str]](set)
        for recording in recordings:
            folds_of[recording.group].add(recording.fold)
        torn = [group for group, its_folds in folds_of.items() if group and len(its_folds) > 1]
        if torn:
            raise ValueError(
                f"{self.place}: the group {_some(torn)} is in several folds; give all its clips the same one"
            )
        if folds == {""}:
            recordings = tuple(make_folds(recordings))
        splits = (TRAIN_TEST,) if folds >= _SPLIT else each_fold(recordings)
        return DataSet(self.name, self.labels, recordings, splits, 10.0, self.multi_label)


def read_own(
    place: str | Path,
    *,
    skip_unusable: bool = False,
    allow_silent: bool = False,
    allow_lone: bool = False,
    on_clip: Callable[[], object] = lambda: None,
) -> tuple[DataSet, list[Fault]]:
    """The data set of a folder with a folder for each class, or of a CSV, checked before any work.

    Args:
        place: the folder or the CSV.
        skip_unusable: leave out missing, unreadable and silent clips.
        allow_silent: silent clips are usable.
        allow_lone: a class may have a single clip, so that it cannot be scored.
        on_clip: called after each clip that was checked.

    Returns:
        the data set, and the clips that were left out.

    Raises:
        FaultyClipsError: clips that cannot be used.
        ValueError: neither folder nor CSV, one class only, or, without ``allow_lone``, a class whose clips
            are all of one file or group, so that they cannot be both learned and held out.
        OSError: it cannot be read.
    """
    found = read_listed(place)
    found.data_set()  # wrong folds are found before a clip is decoded
    _check(found, allow_lone=allow_lone)
    faults = find_faults(found.recordings, allow_silent=allow_silent, on_clip=on_clip)
    if faults and not skip_unusable:
        raise FaultyClipsError(str(place), faults)
    if faults:
        found = found.without(faults)
        _check(found, allow_lone=allow_lone)
    return found.data_set(), faults


def read_listed(place: str | Path) -> Listed:
    """The clips of a folder with a folder for each class, or of a CSV.

    Raises:
        ValueError: neither, or a wrong table.
        OSError: it cannot be read.
    """
    place = Path(place)
    if place.is_dir():
        return listed_folder(place)
    if place.is_file():
        return listed_table(place)
    raise ValueError(f"{place} does not exist; a folder of folders, one a class, or a CSV is needed")


def folder_of_classes(folder: Path) -> DataSet:
    """Any folder of :func:`listed_folder`, with folds."""
    return listed_folder(folder).data_set()


def table(path: Path) -> DataSet:
    """Any CSV of :func:`listed_table`, with folds."""
    return listed_table(path).data_set()


def lone_classes(labels: LabelSet, recordings: Sequence[Recording]) -> list[str]:
    """The classes whose clips are all of one file or group."""
    units = Counter[int]()
    for label, _ in {(label, clip.group or clip.path) for clip in recordings for label in clip.labels}:
        units[label] += 1
    return [name for label, name in enumerate(labels) if units[label] < 2]


def _check(found: Listed, *, allow_lone: bool) -> None:
    if len(found.labels) < 2 and not found.multi_label:
        raise ValueError(
            f"{found.place} has one class, {found.labels[0]!r}; two are needed, such as the sound and "
            "all else"
        )
    alone = lone_classes(found.labels, found.recordings)
    if alone and not allow_lone:
        raise ValueError(
            f"{found.place}: {_some(alone)} {'has' if len(alone) == 1 else 'have'} clips of one file or "
            "group only; two are needed, one to learn from and one to test on. Add clips, or leave the class "
            "out"
        )


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (" ..." if len(names) > _SHOWN else "")


def listed_folder(folder: Path) -> Listed:
    """A folder: ``<class>/<file>``, or ``<fold>/<class>/<file>``, the folds being ``train`` and ``test``.

    Beside these two may be ``validation`` (or ``valid``, ``val``).

    Raises:
        ValueError: no clips, or a class without any.
    """
    has_folds = all((folder / fold).is_dir() for fold in _SPLIT)
    folds = {*_SPLIT, VALIDATION, *_FOLD_NAMES} if has_folds else set()
    found = []
    for path in audio_files(folder):
        inner = path.relative_to(folder).parts
        if len(inner) > 1 + has_folds and (not has_folds or inner[0] in folds):
            fold = _FOLD_NAMES.get(inner[0], inner[0]) if has_folds else ""
            found.append((path, inner[has_folds], fold))
    if not found:
        raise ValueError(f"{folder} has no clips; audio files in a folder for each class are needed")
    in_fold = [folder / fold for fold in folds if (folder / fold).is_dir()] if has_folds else [folder]
    with_clips = {parent for path, *_ in found for parent in path.parents}
    empty = sorted(
        str(each.relative_to(folder))
        for place in in_fold
        for each in place.iterdir()
        if each.is_dir() and not each.name.startswith(".") and each not in with_clips
    )
    if empty:
        raise ValueError(
            f"{folder}: {', '.join(empty[:_SHOWN])}{', ...' if len(empty) > _SHOWN else ''} without any "
            "audio file; add clips, or remove the folder"
        )
    labels = label_set(label for _, label, _ in found)
    recordings = tuple(Recording(path, (labels.index(label),), fold) for path, label, fold in found)
    return Listed(folder, labels, recordings)


def listed_table(path: Path) -> Listed:
    """A CSV with the columns file (relative to it) and label.

    Optional columns: fold, start_s, duration_s, group, unknown.

    Several labels of a clip are separated by ``;``; one such clip makes the data set multi-label. So does a
    clip with unknown labels, whose presence nobody has checked: separated by ``;``, or ``*`` for all other
    labels. The folds ``train`` and ``test`` are one split, with an optional ``validation`` (or ``valid``,
    ``val``); any others are held out in turn. The column may also be named split. Without folds, five are
    made (:mod:`pannsx.transfer.folds`), with all clips of a group, or else of a file, in one.

    Raises:
        ValueError: missing columns or clips, or cells that cannot be read.
        OSError: it cannot be read.
    """
    rows = list(table_rows(path, {"file", "label"}))
    if not rows:
        raise ValueError(f"{path} has no clips; a line for each clip is needed")
    if {"fold", "split"} <= rows[0].keys():
        raise ValueError(f"{path} has the columns fold and split; leave one out")
    for row in rows:
        if not row["file"].strip():
            raise ValueError(f"{path} has a line without a file; give every clip its file")
    names = [[name.strip() for name in row["label"].split(";") if name.strip()] for row in rows]
    if not any(names):
        raise ValueError(f"{path} has no label; give the clips labels")
    labels = label_set(name for several in names for name in several)
    recordings = tuple(
        Recording(
            listed_file(path.parent, row["file"]),
            tuple(labels.index(name) for name in dict.fromkeys(several)),
            _fold(row),
            _seconds(row, "start_s", path) or 0.0,
            _seconds(row, "duration_s", path),
            (row.get("group") or "").strip(),
            _unknown(row, several, labels, path),
        )
        for row, several in zip(rows, names, strict=True)
    )
    clips = Counter((clip.path, clip.start_s, clip.duration_s) for clip in recordings)
    repeated = [str(file) for (file, *_), n in clips.items() if n > 1]
    if repeated:
        raise ValueError(
            f"{path} has several lines for {_some(repeated)}; give a clip one line, with its labels "
            "separated by ;"
        )
    multi_label = any(len(several) != 1 for several in names) or any(clip.unknown for clip in recordings)
    return Listed(path, labels, recordings, multi_label)


def _unknown(row: dict[str, str], own: Collection[str], labels: LabelSet, path: Path) -> tuple[int, ...]:
    """Positions of the labels in the column ``unknown``."""
    names = [name.strip() for name in (row.get("unknown") or "").split(";") if name.strip()]
    if names == [ALL_OTHERS]:
        return tuple(k for k, name in enumerate(labels) if name not in own)
    found = []
    for name in names:
        if name not in labels.names:
            raise ValueError(
                f"{path}: {name!r} is unknown of {row['file']}, but no clip has that label"
                f"{did_you_mean(name, labels.names)}"
            )
        if name in own:
            raise ValueError(f"{path}: {name!r} is a label of {row['file']}, so it is not unknown")
        found.append(labels.names.index(name))
    return tuple(found)


def _fold(row: dict[str, str]) -> str:
    fold = (row.get("fold") or row.get("split") or "").strip()
    return _FOLD_NAMES.get(fold, fold)


def _seconds(row: dict[str, str], column: str, path: Path) -> float | None:
    """The number in a column of a row of the CSV; None if the cell is empty."""
    if not (cell := row.get(column)):
        return None
    try:
        seconds = float(cell)
    except ValueError:
        seconds = -1.0
    if not (math.isfinite(seconds) and (seconds > 0 or (seconds == 0 and column == "start_s"))):
        raise ValueError(f"{path}: {column} of {row['file']} is {cell!r}; seconds are needed")
    return seconds

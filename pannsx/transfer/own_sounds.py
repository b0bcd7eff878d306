"""Sounds of one's own as a data set: a folder of folders, or a CSV."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pannsx.transfer.data_set import (
    TRAIN_TEST,
    DataSet,
    Recording,
    audio_files,
    check_files,
    each_fold,
    label_set,
    listed_file,
    table_rows,
)
from pannsx.transfer.folds import make_folds

_SHOWN = 3


def read_own(place: str | Path) -> DataSet:
    """The data set of a folder with a folder for each class, or of a CSV, checked before any work.

    Raises:
        ValueError: neither, missing files, one class only, or a class whose clips are all of one file or
            group, so that they cannot be both learned and held out.
        OSError: it cannot be read.
    """
    place = Path(place)
    if place.is_dir():
        data = folder_of_classes(place)
    elif place.is_file():
        data = table(place)
    else:
        raise ValueError(f"{place} does not exist; a folder of folders, one a class, or a CSV is needed")
    _check(data, place)
    return data


def _check(data: DataSet, place: Path) -> None:
    check_files(data.recordings, str(place))
    if len(data.labels) < 2 and not data.multi_label:
        raise ValueError(
            f"{place} has one class, {data.labels[0]!r}; two are needed, such as the sound and all else"
        )
    units = Counter[int]()
    for label, _ in {(label, clip.group or clip.path) for clip in data.recordings for label in clip.labels}:
        units[label] += 1
    alone = [data.labels[label] for label in range(len(data.labels)) if units[label] < 2]
    if alone:
        names = ", ".join(repr(name) for name in alone[:_SHOWN]) + (" ..." if len(alone) > _SHOWN else "")
        raise ValueError(
            f"{place}: {names} {'has' if len(alone) == 1 else 'have'} clips of one file or group only; two "
            "are needed, one to learn from and one to test on. Add clips, or leave the class out"
        )


def folder_of_classes(folder: Path) -> DataSet:
    """Any folder: ``<class>/<file>``, or ``<fold>/<class>/<file>``, the folds being ``train`` and ``test``.

    Without folds, five are made, each with an equal number of clips of every class; a clip's fold depends
    only on the file names.
    """
    has_folds = all((folder / fold).is_dir() for fold in ("train", "test"))
    found = []
    for path in audio_files(folder):
        inner = path.relative_to(folder).parts
        if len(inner) > 1 + has_folds and (not has_folds or inner[0] in ("train", "test")):
            found.append((path, inner[has_folds], inner[0] if has_folds else ""))
    if not found:
        raise ValueError(f"{folder} has no clips; audio files in a folder for each class are needed")
    in_fold = [folder / "train", folder / "test"] if has_folds else [folder]
    with_clips = {parent for path, *_ in found for parent in path.parents}
    silent = sorted(
        str(each.relative_to(folder))
        for place in in_fold
        for each in place.iterdir()
        if each.is_dir() and not each.name.startswith(".") and each not in with_clips
    )
    if silent:
        raise ValueError(
            f"{folder}: {', '.join(silent[:_SHOWN])}{', ...' if len(silent) > _SHOWN else ''} without any "
            "audio file; add clips, or remove the folder"
        )
    labels = label_set(label for _, label, _ in found)
    recordings = [Recording(path, (labels.index(label),), fold) for path, label, fold in found]
    if has_folds:
        return DataSet(folder.name, labels, tuple(recordings), (TRAIN_TEST,), 10.0)
    recordings = make_folds(recordings)
    return DataSet(folder.name, labels, tuple(recordings), each_fold(recordings), 10.0)


def _seconds(row: dict[str, str], column: str, path: Path) -> float | None:
    """The number in a column of a row of the CSV; None if the cell is empty."""
    if not (cell := row.get(column)):
        return None
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{path}: {column} of {row['file']} is {cell!r}; seconds are needed") from None


def table(path: Path) -> DataSet:
    """Any CSV with the columns file (relative to it) and label; optionally fold, start_s, duration_s, group.

    Several labels of a clip are separated by ``;``; one such clip makes the data set multi-label.  The
    folds ``train`` and ``test`` are one split, any others are held out in turn. Without folds, five are made
    (:mod:`pannsx.transfer.folds`), with all clips of a group, or else of a file, in one.
    """
    rows = list(table_rows(path, {"file", "label"}))
    if not rows:
        raise ValueError(f"{path} has no clips; a line for each clip is needed")
    names = [[name.strip() for name in row["label"].split(";") if name.strip()] for row in rows]
    labels = label_set(name for several in names for name in several)
    recordings = [
        Recording(
            listed_file(path.parent, row["file"]),
            tuple(labels.index(name) for name in several),
            (row.get("fold") or "").strip(),
            _seconds(row, "start_s", path) or 0.0,
            _seconds(row, "duration_s", path),
            (row.get("group") or "").strip(),
        )
        for row, several in zip(rows, names, strict=True)
    ]
    folds = {recording.fold for recording in recordings}
    if "" in folds and len(folds) > 1:
        raise ValueError(f"{path}: some clips have a fold and some have none; give every clip one")
    if folds == {""}:
        recordings = make_folds(recordings)
    splits = (TRAIN_TEST,) if {"train", "test"} <= folds else each_fold(recordings)
    multi_label = any(len(several) != 1 for several in names)
    return DataSet(path.stem, labels, tuple(recordings), splits, 10.0, multi_label)

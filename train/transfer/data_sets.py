"""Data sets for transfer, as short declarations of files, labels and folds.

A declaration reads the authors' original files and keeps the official folds.  Any other
data set is a folder of folders or a CSV (:mod:`pannsx.transfer.own_sounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pannsx.errors import did_you_mean
from pannsx.labels import LabelSet
from pannsx.transfer.data_set import (
    TRAIN_TEST,
    DataSet,
    Recording,
    audio_files,
    each_fold,
    label_set,
    listed_file,
    table_rows,
)
from pannsx.transfer.own_sounds import folder_of_classes, table


def esc50(folder: Path, *, only_ten: bool = False) -> DataSet:
    """ESC-50 (Piczak 2015): 2,000 clips of 5 s, 50 classes, five folds; ``meta/esc50.csv`` and ``audio/``.

    Also accepted: an ``index.csv`` with the columns file, category and fold, and chunk for files with many
    clips of 5 s in sequence.
    """
    official = folder / "meta" / "esc50.csv"
    rows = list(
        table_rows(official, {"filename", "category", "fold"})
        if official.is_file()
        else table_rows(folder / "index.csv", {"file", "category", "fold"})
    )
    if only_ten and any("esc10" in row for row in rows):
        rows = [row for row in rows if row["esc10"].strip().casefold() == "true"]
    root = folder / "audio" if official.is_file() else folder
    file_column = "filename" if official.is_file() else "file"
    labels = label_set(row["category"] for row in rows)
    recordings = [
        Recording(
            listed_file(root, row[file_column]),
            (labels.index(row["category"]),),
            row["fold"],
            5.0 * int(row.get("chunk") or 0),
            5.0,
        )
        for row in rows
    ]
    return DataSet("ESC-10" if only_ten else "ESC-50", labels, tuple(recordings), each_fold(recordings), 5.0)


def esc10(folder: Path) -> DataSet:
    """ESC-10: the 400 clips of ESC-50 under Creative Commons Attribution, ten classes, five folds."""
    return esc50(folder, only_ten=True)


def gtzan(folder: Path) -> DataSet:
    """GTZAN (Tzanetakis 2002): 1,000 clips of 30 s, ten genres, ``<genre>/<genre>.00042.wav``.

    It has no official folds; these ten are the paper's, by the last digit of the number.
    Known repetitions and wrong labels (Sturm 2013) are kept, as in the paper.
    """
    files = [path for path in audio_files(folder) if path.stem.rpartition(".")[2].isdigit()]
    labels = label_set(path.stem.partition(".")[0] for path in files)
    recordings = [
        Recording(
            path,
            (labels.index(path.stem.partition(".")[0]),),
            str(int(path.stem.rpartition(".")[2]) % 10 + 1),
        )
        for path in files
    ]
    return DataSet("GTZAN", labels, tuple(recordings), each_fold(recordings), 30.0)


RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
_SPEECH, _N_ACTORS, _ACTORS_PER_FOLD = "01", 24, 6


def ravdess(folder: Path) -> DataSet:
    """RAVDESS speech (Livingstone 2018): 1,440 clips, eight emotions, ``03-01-<emotion>-...-<actor>.wav``.

    Four folds of six actors each, so that no voice is on both sides; songs are excluded.
    """
    recordings = []
    for path in audio_files(folder):
        fields = path.stem.split("-")
        if len(fields) == 7 and all(field.isdigit() for field in fields) and fields[1] == _SPEECH:
            fold = (int(fields[6]) - 1) // _ACTORS_PER_FOLD + 1
            recordings.append(Recording(path, (int(fields[2]) - 1,), str(fold)))
    return DataSet("RAVDESS", LabelSet(RAVDESS_EMOTIONS), tuple(recordings), each_fold(recordings), 4.0)


def msos(folder: Path) -> DataSet:
    """Making Sense of Sounds (Kroos 2018): 1,500 clips of 5 s to train on and 500 to test on, five classes.

    ``Development/<class>/*.wav`` with ``Logsheet_Development.csv``, ``Evaluation/*.wav`` with
    ``Logsheet_EvaluationMaster.csv``.
    """
    sheets = {"train": "Logsheet_Development.csv", "test": "Logsheet_EvaluationMaster.csv"}
    rows = [
        (fold, row)
        for fold, name in sheets.items()
        for row in table_rows(folder / name, {"Category", "File"})
    ]
    labels = label_set(row["Category"] for _, row in rows)
    recordings = [
        Recording(
            listed_file(
                folder / "Development" / row["Category"] if fold == "train" else folder / "Evaluation",
                row["File"],
            ),
            (labels.index(row["Category"]),),
            fold,
        )
        for fold, row in rows
    ]  # fmt: skip
    return DataSet("MSoS", labels, tuple(recordings), (TRAIN_TEST,), 5.0)


def dcase2018_task2(folder: Path) -> DataSet:
    """DCASE 2018 task 2 (FSDKaggle2018): 9,473 clips to train on, 1,600 to test on, 41 classes."""
    meta = folder / "FSDKaggle2018.meta"
    tables = {
        "train": (meta / "train_post_competition.csv", folder / "FSDKaggle2018.audio_train"),
        "test": (meta / "test_post_competition_scoring_clips.csv", folder / "FSDKaggle2018.audio_test"),
    }
    rows = [
        (fold, listed_file(root, row["fname"]), row["label"])
        for fold, (path, root) in tables.items()
        for row in table_rows(path, {"fname", "label"})
    ]
    labels = label_set(label for _, _, label in rows)
    recordings = tuple(Recording(path, (labels.index(label),), fold) for fold, path, label in rows)
    return DataSet("DCASE 2018 task 2", labels, recordings, (TRAIN_TEST,), 10.0)


def dcase2019_task1(folder: Path) -> DataSet:
    """DCASE 2019 task 1A (TAU Urban Acoustic Scenes 2019, development): ten scenes, 10 s, official fold 1."""
    recordings, rows = [], []
    for fold, name in (("train", "fold1_train.csv"), ("test", "fold1_evaluate.csv")):
        for row in table_rows(
            folder / "evaluation_setup" / name, {"filename", "scene_label"}, delimiter="\t"
        ):
            rows.append((fold, listed_file(folder, row["filename"]), row["scene_label"]))
    labels = label_set(label for _, _, label in rows)
    recordings = [Recording(path, (labels.index(label),), fold) for fold, path, label in rows]
    return DataSet("DCASE 2019 task 1", labels, tuple(recordings), (TRAIN_TEST,), 10.0)


DATA_SETS: Mapping[str, Callable[[Path], DataSet]] = {
    "esc50": esc50,
    "esc10": esc10,
    "gtzan": gtzan,
    "ravdess": ravdess,
    "msos": msos,
    "dcase2018_task2": dcase2018_task2,
    "dcase2019_task1": dcase2019_task1,
    "folder": folder_of_classes,
    "table": table,
}


def read_data_set(name: str, place: str | Path) -> DataSet:
    """A data set by its name in ``DATA_SETS``, from its folder or file.

    Raises:
        ValueError: unknown name, or files of another data set.
        OSError: a file of it cannot be read.
    """
    if name not in DATA_SETS:
        raise ValueError(
            f"unknown data set {name!r}{did_you_mean(name, DATA_SETS)}; "
            f"the known ones are {', '.join(DATA_SETS)}"
        )
    return DATA_SETS[name](Path(place))

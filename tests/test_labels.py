"""Label sets: AudioSet's, those of files, and how a label is found."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest

from pannsx.labels import LabelSet, audioset, read_labels


def test_audioset_is_complete_and_in_order() -> None:
    labels = audioset()
    assert len(labels) == 527
    assert labels[0] == "Speech"
    assert labels[526] == "Field recording"
    assert labels.ids is not None
    assert labels.ids[0] == "/m/09x0r"
    assert len(set(labels.names)) == len(set(labels.ids)) == 527
    assert labels.names[288] == "Water"
    assert audioset() is labels


def test_every_audioset_label_finds_its_own_position() -> None:
    labels = audioset()
    assert labels.ids is not None
    for position, (name, machine_id) in enumerate(zip(labels, labels.ids, strict=True)):
        assert labels.index(name) == labels.index(name.upper()) == labels.index(machine_id) == position


def test_unknown_label_suggests() -> None:
    with pytest.raises(ValueError, match=r"unknown label 'Speach' among 527 labels; did you mean 'Speech'"):
        audioset().index("Speach")


def test_exact_spelling_wins_over_case() -> None:
    labels = LabelSet(("a", "A"))
    assert (labels.index("a"), labels.index("A")) == (0, 1)


@pytest.mark.parametrize(
    ("names", "ids", "complaint"),
    [
        ((), None, "at least one label"),
        (("dog", "dog"), None, "'dog' is repeated"),
        (("dog", " "), None, "label name 1 is empty"),
        (("dog", "cat"), ("/m/1",), "2 label names and 1 ids"),
    ],
)
def test_a_wrong_set_is_refused(names: tuple[str, ...], ids: tuple[str, ...] | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        LabelSet(names, ids)


def test_a_label_set_is_frozen_and_picklable() -> None:
    labels = LabelSet(("dog", "cat"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        labels.names = ()  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(labels)) == labels


@pytest.mark.parametrize(
    ("file_name", "text", "ids"),
    [
        ("own.csv", 'index,mid,display_name\n0,/x/1,dog\n1,/x/2,"cat, small"\n', ("/x/1", "/x/2")),
        ("own.txt", "dog\n\ncat, small\n", None),
        ("own.json", json.dumps(["dog", "cat, small"]), None),
        ("mark.txt", "\ufeffdog\ncat, small", None),
    ],
)
def test_label_files(tmp_path: Path, file_name: str, text: str, ids: tuple[str, ...] | None) -> None:
    (tmp_path / file_name).write_text(text, encoding="utf-8")
    labels = read_labels(tmp_path / file_name)
    assert labels == LabelSet(("dog", "cat, small"), ids)


@pytest.mark.parametrize(
    ("file_name", "text", "complaint"),
    [
        ("own.csv", "name\ndog\n", "needs index,mid,display_name"),
        ("own.csv", "index,mid,display_name\n1,/x/1,dog\n", "index is '1'; 0 is needed here"),
        ("own.json", "{}", "a JSON list of label names is needed, got dict"),
        ("own.json", "[", "is not JSON"),
        ("own.txt", "\n", "at least one label"),
    ],
)
def test_wrong_label_files(tmp_path: Path, file_name: str, text: str, complaint: str) -> None:
    (tmp_path / file_name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        read_labels(tmp_path / file_name)

"""Indexes: which clips a training or evaluation set holds."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from packing import LABELS, clip_ids, noise, write_list

from pannsx.labels import LabelSet
from train.data.store import Store, StoreError
from train.data.store_writer import write_store
from train.index import Indexed, faulty, hold_out, main, open_index, read_ids, select, write_index

RATE, N_SAMPLES = 8000, 200


def make(folder: Path, numbers: range, labels: LabelSet = LABELS) -> Store:
    """A store of the clips of some numbers; clip ``i`` has label ``i % K`` and sounds like ``noise(i)``."""
    ids = clip_ids(1000)
    clips = ((ids[i], [i % len(labels)], noise(i, N_SAMPLES)) for i in numbers)
    write_store(folder, clips, labels=labels, sample_rate=RATE, n_samples=N_SAMPLES)
    return Store(folder)


def test_rows_of_several_stores(tmp_path: Path) -> None:
    """Like one store; a clip that both have is taken from the first."""
    first, second = make(tmp_path / "a", range(6)), make(tmp_path / "b", range(4, 12))
    index = select([first, second], without=[clip_ids(12)[1]])
    numbers = [0, 2, 3, 4, 5, *range(6, 12)]
    assert len(index) == len(numbers)
    assert list(index.ids) == [clip_ids(12)[i] for i in numbers]
    for position, number in enumerate(numbers):
        np.testing.assert_array_equal(index.read(position), noise(number, N_SAMPLES))
        assert np.flatnonzero(index.targets[position]).tolist() == [number % 9]
    assert (index.sample_rate, index.n_samples, index.labels) == (RATE, N_SAMPLES, LABELS.names)
    assert index.lengths.tolist() == [N_SAMPLES] * len(numbers)
    with pytest.raises(IndexError, match="clip 11 of an index of 11"):
        index.read(11)


def test_written_and_opened(tmp_path: Path) -> None:
    """Index and stores may move together; workers get the index by pickle."""
    make(tmp_path / "old" / "a", range(6))
    index = select(
        [Store(tmp_path / "old" / "a"), make(tmp_path / "old" / "b", range(6, 9))], only=clip_ids(8)[2:]
    )
    write_index(tmp_path / "old" / "train.npz", index)
    (tmp_path / "old").rename(tmp_path / "new")
    again = open_index(tmp_path / "new" / "train.npz")
    again = pickle.loads(pickle.dumps(again))
    assert list(again.ids) == clip_ids(8)[2:]
    np.testing.assert_array_equal(again.read(5), noise(7, N_SAMPLES))
    np.testing.assert_array_equal(again.targets[:], index.targets[:])
    assert isinstance(open_index(tmp_path / "new" / "a"), Store), "a folder is all of its clips"


def test_an_index_of_other_rows_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path / "train.npz", select([make(tmp_path / "a", range(6))]))
    make(tmp_path / "a", range(1, 7))
    with pytest.raises(StoreError, match="was packed again since"):
        open_index(tmp_path / "train.npz")
    (tmp_path / "other.npz").write_text("no index")
    with pytest.raises(StoreError, match="cannot read the index"):
        open_index(tmp_path / "other.npz")


def test_stores_must_be_alike(tmp_path: Path) -> None:
    first = make(tmp_path / "a", range(3))
    with pytest.raises(StoreError, match="differ in labels; pack them alike"):
        select([first, make(tmp_path / "b", range(3), LabelSet(("x", "y")))])
    with pytest.raises(StoreError, match="asks for row 3 of 3"):
        Indexed([first], [np.array([0, 3])])
    with pytest.raises(StoreError, match="0 stores"):
        Indexed([], [])


def test_hold_out_depends_on_ids_and_seed_alone(tmp_path: Path) -> None:
    few, many = select([make(tmp_path / "few", range(200))]), select([make(tmp_path / "many", range(600))])
    train, held = hold_out(many, 0.25, seed=3)
    assert sorted([*train.ids, *held.ids]) == sorted(many.ids)
    # A binomial of 600 draws: five standard deviations.
    assert abs(len(held) - 150) < 5 * np.sqrt(600 * 0.25 * 0.75)
    assert set(hold_out(few, 0.25, seed=3)[1].ids) == set(held.ids) & set(few.ids)
    assert set(hold_out(many, 0.5, seed=3)[1].ids) > set(held.ids)
    assert set(hold_out(many, 0.25, seed=4)[1].ids) != set(held.ids)
    with pytest.raises(ValueError, match="share to hold out is 1"):
        hold_out(many, 1, seed=3)


def test_black_lists(tmp_path: Path) -> None:
    """Plain ids, CSV with or without a header, and the published file names."""
    (tmp_path / "plain.txt").write_text("# made by hand\n-abc\n\nYdef\n")
    (tmp_path / "table.csv").write_text("id,why\n-abc,loud\n")
    (tmp_path / "published.csv").write_text("Y-abc.wav\nYdef.wav\n")
    assert read_ids(tmp_path / "plain.txt") == ["-abc", "Ydef"]
    assert read_ids(tmp_path / "table.csv") == ["-abc"]
    assert read_ids(tmp_path / "published.csv") == ["-abc", "def"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = clip_ids(40)
    store = make(tmp_path / "store", range(40))
    (store.folder / "report.csv").write_text(
        f"id,fault,detail\n{ids[3]},silent,\n{ids[4]},duplicate,\n{ids[5]},missing,\n"
    )
    listed = write_list(tmp_path / "list.csv", {name: [0] for name in ids[:30]})
    (tmp_path / "black.txt").write_text(f"{ids[0]}\n{ids[1]}\n")
    arguments = [
        str(tmp_path / "train.npz"),
        str(store.folder),
        "--segments",
        str(listed),
        "--leave-out",
        "silent",
    ]
    arguments += ["--black-list", str(tmp_path / "black.txt"), "--hold-out", "0.2", "--seed", "7"]
    arguments += ["--held-out", str(tmp_path / "held.npz")]
    assert main(arguments) == 0
    train, held = open_index(tmp_path / "train.npz"), open_index(tmp_path / "held.npz")
    assert sorted([*train.ids, *held.ids]) == sorted({*ids[:30]} - {ids[0], ids[1], ids[3]})
    said = capsys.readouterr().out
    assert f"train.npz: {len(train)} clips" in said
    assert f"held.npz: {len(held)} clips" in said
    assert faulty(store, ["silent", "duplicate"]) == ids[3:5]
    assert main([str(tmp_path / "train.npz"), str(tmp_path / "nothing")]) == 1
    assert "is not a store" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path / "train.npz"), str(store.folder), "--hold-out", "0.2"])

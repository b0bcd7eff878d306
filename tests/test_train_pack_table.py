"""A labelled table, or a folder of classes, packed and trained on by a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from packing import noise
from training import RATE, overrides, tone

from pannsx.labels import LabelSet
from train import index, pack
from train.data.indexed import open_index
from train.data.segments import Listing
from train.data.sources_table import table_chunks
from train.data.store import Store
from train.loop import log
from train.run import main as run

SETTINGS = ["--sample-rate", str(RATE), "--duration", "0.5", "--workers", "0"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """24 clips of two places: dogs, bells, both and neither; one file is missing, one line is a part."""
    rows = ["file,label,split,group"]
    for number in range(24):
        path = tmp_path / "dev" / f"{number:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(number), RATE)
        label = ("dog", "bell", "bell;dog", "")[number % 4]
        rows.append(f"dev/{number:02d}.wav,{label},{'train' if number < 18 else 'val'},place {number // 3}")
    rows.append("dev/gone.wav,dog,train,")
    (tmp_path / "sounds.csv").write_text("\n".join(rows), encoding="utf-8")
    # A validation part stands beside training and test set.
    with (tmp_path / "sounds.csv").open("a", encoding="utf-8") as file:
        file.write("\ndev/23.wav,owl,test,place 8\n".replace("dev/23", "dev/24"))
    soundfile.write(tmp_path / "dev" / "24.wav", tone(24), RATE)
    return tmp_path / "sounds.csv"


def test_a_table_becomes_stores_of_its_classes_and_a_recipe_trains_on_them(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = {}
    for split in ("train", "validation"):
        stores[split] = tmp_path / split
        assert pack.main([str(stores[split]), str(table), "--split", split, *SETTINGS]) == 0
    assert "18 clips packed, 1 missing" in capsys.readouterr().out
    store = Store(stores["train"])
    assert store.labels == ("bell", "dog", "owl"), "of all splits, so that the stores agree"
    assert list(store.ids)[:2] == ["dev/00.wav", "dev/01.wav"]
    assert store.targets[np.arange(4)].tolist() == [
        [False, True, False], [True, False, False], [True, True, False], [False, False, False],
    ]  # fmt: skip
    np.testing.assert_array_equal(store.read(3), tone(3))

    # Clips of a place are held out together.
    chosen, held = tmp_path / "train.npz", tmp_path / "held.npz"
    given = [str(chosen), str(stores["train"]), "--hold-out", "0.4", "--held-out", str(held)]
    assert index.main(given) == 0
    places = [{int(name[4:6]) // 3 for name in open_index(path).ids} for path in (chosen, held)]
    assert all(places)
    assert not places[0] & places[1]

    folder = tmp_path / "run"
    given = overrides(stores["train"], data__evaluation=stores["validation"], data__workers=0, run__steps=3,
                      keep__evaluate_every=3, keep__save_every=3)  # fmt: skip
    assert run(["LeeNet11", *given, "--folder", str(folder), "--device", "cpu"]) == 0
    kinds = [entry["kind"] for entry in log.read(folder)]
    assert kinds.count("train") == 3
    assert "evaluate" in kinds
    assert "owl" in (folder / "classes.csv").read_text(encoding="utf-8")


def test_a_folder_of_classes_and_parts_of_files(tmp_path: Path) -> None:
    for label in ("bell", "dog"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "sounds" / label / "0.wav", noise(len(label), 4000), RATE)
    assert pack.main([str(tmp_path / "a"), str(tmp_path / "sounds"), "--by-folder", *SETTINGS]) == 0
    store = Store(tmp_path / "a")
    assert (list(store.ids), store.labels) == (["bell/0.wav", "dog/0.wav"], ("bell", "dog"))
    rows = "file,label,start_s,duration_s\ndog/0.wav,dog,0.1,0.2\ndog/0.wav,dog,,0.1\n"
    (tmp_path / "sounds" / "parts.csv").write_text(rows, encoding="utf-8")
    assert pack.main([str(tmp_path / "b"), str(tmp_path / "sounds" / "parts.csv"), *SETTINGS]) == 0
    store = Store(tmp_path / "b")
    assert list(store.ids) == ["dog/0.wav", "dog/0.wav@0.1"]
    whole = noise(3, 4000)
    np.testing.assert_array_equal(store.read(1)[:1600], whole[800:2400])
    assert not store.read(1)[1600:].any()


def test_what_is_wrong_with_a_table_is_said(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.txt").write_text("dog\ncat\n", encoding="utf-8")
    (tmp_path / "list.csv").write_text("", encoding="utf-8")
    for more, message in (
        ([str(table)], "has the splits test, train, validation, which belong into stores of their own"),
        ([str(table), "--split", "eval"], "has the splits test, train, validation; got eval"),
        ([str(table), "--split", "train", "--labels", str(tmp_path / "labels.txt")], "'bell'"),
        ([str(table), "--segments", str(tmp_path / "list.csv")], "leave out --segments"),
        ([str(table), str(table.parent / "dev")], "some sources have classes of their own"),
        ([str(table.parent / "dev"), "--by-folder"], "audio files in a folder for each class are needed"),
        ([str(table.parent / "dev")], "give the segment list, or --by-folder"),
    ):
        assert pack.main([str(tmp_path / "store"), *more, *SETTINGS]) == 1
        assert message in capsys.readouterr().err


def test_unknown_labels_are_not_packed_as_absent(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,label,unknown\na.wav,x,\nb.wav,y,x\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"t\.csv has unknown labels, which a store does not hold"):
        table_chunks(table, Listing(LabelSet(("x", "y"))), 10)

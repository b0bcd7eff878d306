"""Declarations of data sets against folders laid out as their authors ship them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pannsx.transfer.data_set import MADE_UP_FOLDS, DataSet, Recording, Split
from train.transfer.data_sets import DATA_SETS, read_data_set

DATA = Path(os.environ.get("PANNSX_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def put(folder: Path, *names: str) -> None:
    """Empty files: declarations read names and tables, not sounds."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def described(data: DataSet) -> dict[str, tuple[str, str]]:
    return {r.path.name: (data.labels[r.labels[0]], r.fold) for r in data.recordings}


def names(data: DataSet) -> list[str]:
    return [split.name for split in data.splits]


def test_esc50_and_esc10(tmp_path: Path) -> None:
    write(
        tmp_path / "meta" / "esc50.csv",
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
        "2-100038-A-14.wav,2,14,chirping_birds,False,100038,A\n"
        "5-1-A-10.wav,5,10,rain,True,1,A\n",
    )
    data = read_data_set("esc50", tmp_path)
    assert data.labels.names == ("chirping_birds", "dog", "rain")
    assert data.recordings[0] == Recording(tmp_path / "audio" / "1-100032-A-0.wav", (1,), "1", 0.0, 5.0)
    assert names(data) == ["fold 1", "fold 2", "fold 5"]
    assert data.splits[0] == Split("fold 1", frozenset({"2", "5"}), frozenset({"1"}))
    assert described(read_data_set("esc10", tmp_path)) == {
        "1-100032-A-0.wav": ("dog", "1"),
        "5-1-A-10.wav": ("rain", "5"),
    }


def test_many_clips_in_a_file(tmp_path: Path) -> None:
    write(tmp_path / "index.csv", "file,chunk,category,fold\ndogs.flac,0,dog,1\ndogs.flac,3,dog,2\n")
    assert [(r.start_s, r.duration_s) for r in read_data_set("esc50", tmp_path).recordings] == [
        (0, 5),
        (15, 5),
    ]


def test_gtzan(tmp_path: Path) -> None:
    put(
        tmp_path,
        *(f"genres/{g}/{g}.{i:05d}.wav" for g in ("blues", "rock") for i in range(20)),
        "genres/notes.wav",
    )
    data = read_data_set("gtzan", tmp_path)
    assert len(data.recordings) == 40
    assert names(data) == [f"fold {n}" for n in range(1, 11)]
    assert described(data)["rock.00013.wav"] == ("rock", "4")


def test_ravdess(tmp_path: Path) -> None:
    put(tmp_path, "Actor_01/03-01-05-01-01-01-01.wav", "Actor_24/03-01-01-01-01-01-24.wav")
    put(tmp_path, "Actor_07/03-01-08-01-01-01-07.wav", "Actor_07/03-02-08-01-01-01-07.wav")
    assert described(read_data_set("ravdess", tmp_path)) == {
        "03-01-05-01-01-01-01.wav": ("angry", "1"),
        "03-01-01-01-01-01-24.wav": ("neutral", "4"),
        "03-01-08-01-01-01-07.wav": ("surprised", "2"),
    }


def test_msos(tmp_path: Path) -> None:
    write(
        tmp_path / "Logsheet_Development.csv", "Category,Event,File\nEffects,Beep,1.wav\nNature,Wind,2.wav\n"
    )
    write(tmp_path / "Logsheet_EvaluationMaster.csv", "Category,Event,File\nNature,Rain,9.wav\n")
    data = read_data_set("msos", tmp_path)
    assert [r.path.relative_to(tmp_path).as_posix() for r in data.recordings] == [
        "Development/Effects/1.wav",
        "Development/Nature/2.wav",
        "Evaluation/9.wav",
    ]
    assert described(data)["9.wav"] == ("Nature", "test")
    assert names(data) == ["test"]


def test_dcase2018_task2(tmp_path: Path) -> None:
    meta = tmp_path / "FSDKaggle2018.meta"
    write(
        meta / "train_post_competition.csv",
        "fname,label,manually_verified,freesound_id,license\na.wav,Bark,1,2,x\n",
    )
    write(
        meta / "test_post_competition_scoring_clips.csv",
        "fname,label,usage,freesound_id,license\nb.wav,Meow,Public,2,x\n",
    )
    data = read_data_set("dcase2018_task2", tmp_path)
    assert described(data) == {"a.wav": ("Bark", "train"), "b.wav": ("Meow", "test")}
    assert data.recordings[1].path == tmp_path / "FSDKaggle2018.audio_test" / "b.wav"


def test_dcase2019_task1(tmp_path: Path) -> None:
    setup = tmp_path / "evaluation_setup"
    write(
        setup / "fold1_train.csv", "filename\tscene_label\naudio/airport-lisbon-1000-40000-a.wav\tairport\n"
    )
    write(setup / "fold1_evaluate.csv", "filename\tscene_label\naudio/bus-lyon-1-2-a.wav\tbus\n")
    data = read_data_set("dcase2019_task1", tmp_path)
    assert described(data) == {
        "airport-lisbon-1000-40000-a.wav": ("airport", "train"),
        "bus-lyon-1-2-a.wav": ("bus", "test"),
    }


def test_a_folder_without_folds(tmp_path: Path) -> None:
    """Every class is spread evenly."""
    put(tmp_path, *(f"{label}/{i}.wav" for label in ("dog", "rain") for i in range(10)))
    data = read_data_set("folder", tmp_path)
    assert len(data.splits) == MADE_UP_FOLDS
    for fold in range(1, MADE_UP_FOLDS + 1):
        labels = [data.recordings[row].labels for row in data.rows({str(fold)})]
        assert sorted(labels) == [(0,), (0,), (1,), (1,)]


def test_a_folder_with_folds(tmp_path: Path) -> None:
    put(tmp_path, "train/dog/1.wav", "train/rain/deep/2.flac", "test/dog/3.wav", "notes/x/4.wav")
    data = read_data_set("folder", tmp_path)
    assert described(data) == {
        "1.wav": ("dog", "train"),
        "2.flac": ("rain", "train"),
        "3.wav": ("dog", "test"),
    }


def test_a_table(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv", "file,label,fold,start_s,duration_s\na/1.wav,dog,a,2.5,3\nb.wav,rain,b,,\n"
    )
    data = read_data_set("table", path)
    assert not data.multi_label
    assert data.recordings == (
        Recording(tmp_path / "a" / "1.wav", (0,), "a", 2.5, 3.0),
        Recording(tmp_path / "b.wav", (1,), "b", 0.0, None),
    )
    assert names(data) == ["fold a", "fold b"]


def test_a_table_of_several_labels(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv", "file,label,fold\n1.wav,dog; rain,train\n2.wav,,train\n3.wav,rain,test\n"
    )
    data = read_data_set("table", path)
    assert data.multi_label
    assert [r.labels for r in data.recordings] == [(0, 1), (), (1,)]
    assert names(data) == ["test"]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown data set 'esc_50'; did you mean 'esc50'"):
        read_data_set("esc_50", tmp_path)
    with pytest.raises(ValueError, match="has no clips"):
        read_data_set("folder", tmp_path)
    with pytest.raises(ValueError, match="has the columns a; file and label are needed"):
        read_data_set("table", write(tmp_path / "t.csv", "a\n1\n"))
    with pytest.raises(ValueError, match="some clips have a fold and some have none"):
        read_data_set("table", write(tmp_path / "t.csv", "file,label,fold\n1.wav,a,1\n2.wav,a,\n"))
    with pytest.raises(ValueError, match="needs clips on both sides"):
        read_data_set("table", write(tmp_path / "t.csv", "file,label,fold\n1.wav,a,1\n2.wav,a,1\n"))


@pytest.mark.parametrize(
    ("name", "folder", "n_clips", "n_labels", "n_splits"),
    [("esc10", "esc10", 400, 10, 5), ("esc50", "esc50_16k", 2000, 50, 5), ("ravdess", "ravdess", 1440, 8, 4)],
)
def test_real_data(name: str, folder: str, n_clips: int, n_labels: int, n_splits: int) -> None:
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is not there (set PANNSX_TEST_DATA)")
    data = read_data_set(name, DATA / folder)
    assert (len(data.recordings), len(data.labels), len(data.splits)) == (n_clips, n_labels, n_splits)
    assert all(recording.path.is_file() for recording in data.recordings)
    assert set(DATA_SETS) >= {name}

"""Labels that nobody has checked: from a table to a run whose loss leaves them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from packing import LABELS
from training import make_store, overrides

from train.data.store import Store
from train.data.unknown import read_unknown
from train.loop import checkpoints
from train.run import main


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(make_store(tmp_path_factory.mktemp("packed") / "store", 12))


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(("id,unknown", *rows)) + "\n", encoding="utf-8")
    return path


def test_names_ids_and_a_star(tmp_path: Path, store: Store) -> None:
    ids = store.ids
    path = table(tmp_path / "u.csv", f"{ids[0]},Rain; /m/08", f"{ids[2]},*", f"{ids[3]},", "elsewhere,Rain")
    unknown = read_unknown(path, ids, LABELS, store.targets)
    assert unknown.shape == (12, 9)
    assert np.flatnonzero(unknown[0]).tolist() == [1, 8]
    assert unknown[2].tolist() == (~store.targets[2]).tolist(), "all that the clip does not have"
    assert not unknown[3].any()
    assert not unknown[4:].any()


def test_what_is_wrong_is_said(tmp_path: Path, store: Store) -> None:
    first = store.ids[0]
    for rows, said in (
        ((f"{first},Rian",), r"u\.csv, line 2: .*'Rian'"),
        ((f"{first},Dog",), r"line 2: 'Dog' is a label of the clip, so it is not unknown"),
        (("elsewhere,Rain",), "names none of the 12 clips"),
    ):
        with pytest.raises(ValueError, match=said):
            read_unknown(table(tmp_path / "u.csv", *rows), store.ids, LABELS, store.targets)
    (tmp_path / "u.csv").write_text("clip,labels\n", "utf-8")
    with pytest.raises(ValueError, match="id and unknown are needed"):
        read_unknown(tmp_path / "u.csv", store.ids, LABELS, store.targets)
    with pytest.raises(ValueError, match="cannot read the unknown labels"):
        read_unknown(tmp_path / "absent.csv", store.ids, LABELS, store.targets)


def test_a_class_that_is_always_unknown_is_not_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(make_store(tmp_path / "store", 8))  # none has the last label
    path = table(tmp_path / "u.csv", *(f"{clip_id},Wind" for clip_id in store.ids))
    given = overrides(
        store.folder, data__workers=0, run__steps=2, loss__unknown=path, sampler="none", average__kind="none",
        run__batch_size=2, keep__save_every=1,
    )  # fmt: skip
    last = ["--folder", str(tmp_path / "run"), "--device", "cpu"]
    assert main(["LeeNet11", *given, *last]) == 0
    first, second = (
        checkpoints.load(checkpoints.path_of(tmp_path / "run", step))["model"]["head.fc_audioset.weight"]
        for step in (1, 2)
    )
    moved = (first != second).any(dim=1).tolist()
    assert moved == [True] * 8 + [False]
    table(path, f"{store.ids[0]},Wind")
    assert main(["LeeNet11", *given, "run.steps=3", *last]) == 1
    assert "u.csv has changed since the start of the run" in capsys.readouterr().err

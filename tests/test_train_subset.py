"""Subsets of banks: packed, carried, unpacked, and trained on for some minutes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_banks import N_CLASSES, SteadyTeacher, tone, write_bank

from train import lent, subset
from train.data.banks import open_bank
from train.data.subset import SHARD_CLIPS, pack, unpack
from train.loop import distil, log

# Root mean square of what Vorbis changes in a tone, of the tone's.
OF_VORBIS = 0.1


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy clips of one class, four of four other classes, and one that is kept apart."""
    folder = tmp_path_factory.mktemp("banks")
    dogs = [(tone(300 + 10 * i, 0.3), "animals", "train", 74) for i in range(70)]
    write_bank(folder / "dogs", dogs)
    others = [(tone(90 + i, 0.5), "surroundings", "train", 280 + i) for i in range(4)]
    write_bank(folder / "others", [*others, (tone(95, 1.0), "surroundings", "valid", 1)])
    return folder


def test_clips_come_back(banks: Path, tmp_path: Path) -> None:
    found = pack(banks, tmp_path / "packed", max_bytes=10_000_000, quality=0.6)
    assert found.n_clips == found.n_available == 74
    assert found.n_classes == 5
    assert found.n_bytes == sum(each.stat().st_size for each in (tmp_path / "packed").iterdir())
    assert unpack(tmp_path / "packed", tmp_path / "bank") == 74
    bank = open_bank(tmp_path / "bank")
    assert set(bank.splits) == {"train"}
    # In turn by class, so the first five clips are of five classes.
    assert len({int(row.argmax()) for row in bank.logits[:5]}) == 5
    originals = {
        (each.name, int(each.logits[i].argmax()), int(each.lengths[i]), each.names[i]): each.clips[i]
        for each in (open_bank(banks / "dogs"), open_bank(banks / "others"))
        for i in range(len(each))
    }
    for i in range(74):
        source = "dogs" if bank.logits[i].argmax() == 74 else "others"
        name = bank.names[i].replace("//", "/")
        original = originals.pop((source, int(bank.logits[i].argmax()), int(bank.lengths[i]), name))
        n = bank.lengths[i]
        error = bank.clips[i, :n].astype(float) - original[:n]
        assert np.sqrt(np.mean(error**2)) < OF_VORBIS * np.sqrt(np.mean(original[:n].astype(float) ** 2))
        assert not bank.clips[i, n:].any()
    assert len(originals) == 1  # the one kept apart


def test_size_is_kept(banks: Path, tmp_path: Path) -> None:
    whole = pack(banks, tmp_path / "whole", max_bytes=10_000_000).n_bytes
    found = pack(banks, tmp_path / "part", max_bytes=whole - 1_000)
    assert found.n_clips == SHARD_CLIPS
    assert found.n_bytes < whole
    with pytest.raises(ValueError, match="20,000 bytes do not hold 64 clips"):
        pack(banks, tmp_path / "small", max_bytes=20_000)
    assert not (tmp_path / "small").exists()
    with pytest.raises(OSError, match="part"):
        pack(banks, tmp_path / "part", max_bytes=10_000_000)


def test_damaged_subsets_are_refused(banks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    pack(banks, folder, max_bytes=10_000_000)
    about = json.loads((folder / "subset.json").read_text())
    shard = folder / "shard-000.ogg"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"shard-000\.ogg is damaged"):
        unpack(folder, tmp_path / "a")
    shard.write_bytes(content)
    about["shards"][0]["file"] = "../elsewhere.ogg"
    (folder / "subset.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="a plain name is needed"):
        unpack(folder, tmp_path / "b")
    (folder / "subset.json").write_text("{}")
    with pytest.raises(ValueError, match="'pannsx subset 1' at 32000 Hz is needed"):
        unpack(folder, tmp_path / "c")
    (folder / "lengths.npy").unlink()
    with pytest.raises(ValueError, match=r"lacks lengths\.npy"):
        unpack(folder, tmp_path / "d")


def test_a_lent_machine_trains_and_hands_weights_back(
    banks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distil, "load_teacher", lambda path: SteadyTeacher())
    monkeypatch.setattr(lent, "EXPORT_S", 0)
    assert subset.main([str(banks), str(tmp_path / "packed"), "--megabytes", "1"]) == 0
    assert "74 of 74 clips, 5 classes" in capsys.readouterr().out
    command = [
        str(tmp_path / "packed"), str(tmp_path / "out"), "--teacher", "teacher.pt",
        "--start", "MobileNetV1_distilled", "--device", "cpu", "data.workers=0", "run.batch_size=2",
        "scenes.durations_s=0.5", "scenes.duration_shares=1", "run.precision=float32", "keep.log_every=1",
    ]  # fmt: skip
    assert lent.main([*command, "--minutes", "0.01"]) == 0
    (weights,) = (tmp_path / "out").glob("*.safetensors")
    assert weights.name in capsys.readouterr().out
    assert log.read(tmp_path / "out")[0]["step"] == 1
    from pannsx import AudioTagger

    assert len(AudioTagger(checkpoint=weights).labels) == N_CLASSES
    assert lent.main([*command, "--minutes", "1e-9"]) == 1
    assert "unpacking and export alone take longer" in capsys.readouterr().err
    assert lent.main([*command, "--minutes", "1", "run.stepz=2"]) == 1

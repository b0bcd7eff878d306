"""Offsets of classes, fitted to a teacher on clips of banks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from narrow_checkpoint import narrow_checkpoint
from scipy.special import softmax
from small_banks import N_CLASSES, tone, write_bank

from pannsx import AudioTagger, weights
from pannsx.metrics import accuracy
from train import offsets
from train.data.banks import RATE, open_banks
from train.offsets import Clips, chosen, fitted

DOG, RAIN = 74, 288


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """Seven clips of dogs and two of rain to train on, and one kept apart."""
    dogs = [(tone(300 + 40 * i, 0.6), "animals", "train", DOG) for i in range(7)]
    rain = [(tone(95 + 10 * i, 1.0), "surroundings", "train", RAIN) for i in range(2)]
    return write_bank(tmp_path / "banks" / "a", [*dogs, *rain, (tone(900, 1.0), "animals", "valid", RAIN)])


def test_what_lacks_in_a_class_comes_back() -> None:
    """A student that is the teacher but for constants: these are found, as far as the penalty lets them."""
    rng = np.random.default_rng(0)
    teacher = rng.normal(0, 3, (400, 12)).astype(np.float32)
    lacking = rng.normal(0, 1, 12).astype(np.float32)
    clips = Clips(teacher - lacking, teacher)
    found = fitted(clips)
    first = teacher.argmax(axis=1)
    assert accuracy(first, clips.student) < 0.9 < accuracy(first, clips.student + found)
    # Of the softmax, all constants together are free, and the penalty takes the smallest.
    np.testing.assert_allclose(found, lacking - lacking.mean(), rtol=0.3, atol=0.02)


def test_the_gradient_vanishes_there() -> None:
    rng = np.random.default_rng(1)
    student, teacher = (rng.normal(0, 2, (50, 6)).astype(np.float32) for _ in range(2))
    found = fitted(Clips(student, teacher))
    slope = (softmax(student + found, axis=1) - softmax(teacher, axis=1)).mean(axis=0)
    np.testing.assert_allclose(slope + offsets.PENALTY * found, 0, atol=1e-4)


def test_clips_are_of_the_training_and_few_of_a_kind(bank: Path) -> None:
    (read,) = open_banks(bank.parent)
    rows = chosen(read, 3, 0)
    assert [read.kinds[row] for row in rows] == ["animals"] * 3 + ["surroundings"] * 2
    assert {read.splits[row] for row in rows} == {"train"}
    assert rows == chosen(read, 3, 0)
    assert len(chosen(read, 99, 0)) == 9


def test_a_checkpoint_gets_its_offsets(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "banks" / "again"
    copy.mkdir()
    for path in bank.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    bundled = AudioTagger()
    (own := tmp_path / "own").mkdir()
    network = weights.load()
    weights.save_checkpoint(
        own / "MobileNetV1_distilled.safetensors", network.model.state_dict(), network.record
    )
    checkpoint = own / "MobileNetV1_distilled.safetensors"
    command = [str(bank.parent), str(tmp_path / "new"), "--checkpoint", str(checkpoint), "-q"]
    assert offsets.main(command) == 0
    assert "in 0.000 of 9 clips before" in capsys.readouterr().out, "equal banks count once"
    made = AudioTagger(checkpoint=tmp_path / "new")
    sound = np.random.default_rng(2).normal(0, 0.1, RATE).astype(np.float32)
    before, after = bundled.inference(sound), made.inference(sound)
    change = after.logits - before.logits
    assert change[DOG] == change.max() > 0.1
    assert change[RAIN] > np.median(change)
    np.testing.assert_allclose(after.embedding, before.embedding, atol=1e-4)
    record = json.loads((tmp_path / "new" / "MobileNetV1_distilled.json").read_text("utf-8"))
    assert record["trained_on"].endswith("offsets of the classes fitted on 9 clips, seed 20002")
    assert len(bundled.labels) == N_CLASSES


def test_what_cannot_be_fitted_is_said(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with narrow_checkpoint(tmp_path) as own:
        assert offsets.main([str(bank), str(tmp_path / "new"), "--checkpoint", str(own), "-q"]) == 1
        assert "the teacher 527" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            offsets.main([str(bank), str(own.parent), "--checkpoint", str(own)])
        assert "give another folder" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()

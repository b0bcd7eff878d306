"""Operating points of a checkpoint from scenes of banks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_banks import tone, write_bank

from pannsx import AudioTagger
from pannsx.events import read_operating_points
from pannsx.weights.manifest import DEFAULT_CHECKPOINT
from train import calibrate
from train.calibrate import events_of
from train.data.banks import RATE
from train.data.scenes import BLOCK, Scene, Scenes
from train.recipe import read_recipe

DOG, RAIN = 74, 288


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    clips = [(tone(300 + 40 * i, 0.6), "animals", "train", DOG) for i in range(9)]
    return write_bank(tmp_path / "bank", [*clips, (tone(95, 5.0), "surroundings", "train", RAIN)])


def test_points_are_written_and_read(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "SCENE_S", 2.0)
    out = tmp_path / "points.json"
    command = [str(bank), "--scenes", "30", "-q", "-o", str(out)]
    assert calibrate.main(command) == 0
    assert "1 classes" in capsys.readouterr().out  # nine clips of dogs, one of rain
    points = read_operating_points(out)
    tagger = AudioTagger()
    assert list(points.points) == [tagger.labels[DOG]]
    assert points.model == DEFAULT_CHECKPOINT
    assert points.weights_sha256 == tagger.record.sha256
    assert points.both_ends
    assert 0 < points.default < 1
    assert "30 scenes of 2 s, seed 20001" in str(points.data)
    points.check(tagger.labels, DEFAULT_CHECKPOINT, tagger.record.sha256)
    first = out.read_bytes()
    assert calibrate.main(command) == 0
    assert out.read_bytes() == first
    monkeypatch.setattr(calibrate, "FEWEST_CLIPS", 100)
    assert calibrate.main(command) == 1
    assert "fewer than 100 training clips of every class" in capsys.readouterr().err


def test_events_are_where_a_part_sounds(bank: Path) -> None:
    settings = read_recipe("MobileNetV1_distilled").scenes
    assert settings is not None
    scenes = Scenes(bank, settings, 0)
    sounding = np.zeros((2, 100), np.bool_)
    sounding[0, 10:20] = sounding[0, 50:60] = True
    sounding[1, 15:30] = True
    scene = Scene(np.zeros(100 * BLOCK, np.float32), (0, 1), sounding)
    block_s = BLOCK / RATE
    found = [(event.label, event.onset_s, event.offset_s) for event in events_of(scene, scenes)]
    assert found == [
        (scenes.labels[DOG], 10 * block_s, 30 * block_s), (scenes.labels[DOG], 50 * block_s, 60 * block_s),
    ]  # fmt: skip

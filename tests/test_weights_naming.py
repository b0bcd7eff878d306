"""What names a model, decided once: the manifest, a path, a repository, or a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pannsx
from pannsx.errors import WeightsError
from pannsx.weights import load
from pannsx.weights.naming import at_revision, kind_of, record_of


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with labels of its own."""
    path = tmp_path_factory.mktemp("own") / "doors.safetensors"
    pannsx.save(pannsx.create_model("LeeNet11", n_classes=2), path, labels=["creak", "slam"])
    return path


def test_kinds(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Cnn14").mkdir()
    (tmp_path / "me" / "doors").mkdir(parents=True)
    for name, kind in (
        ("Cnn14", "published"), ("cnn14", "published"), ("./Cnn14", "own"), (str(own), "own"), (".", "own"),
        ("weights/mine.pth", "own"), ("missing.SAFETENSORS", "own"), ("me/doors", "own"),
        ("me/windows", "repository"), ("me/windows@v1.0", "repository"), ("me/Cnn14_mAP=0.431.pth", "own"),
    ):  # fmt: skip
        assert kind_of(name) == kind, name
    for name in ("", "Cnn_14", "a/b/c", "street.wav"):
        with pytest.raises(ValueError, match="unknown model"):
            kind_of(name)


@pytest.mark.parametrize("suffix", [".safetensors", ".json", None])
def test_an_own_checkpoint_is_a_model(own: Path, suffix: str | None) -> None:
    """By its weights, its record or its folder, wherever a model is named."""
    name = str(own.parent if suffix is None else own.with_suffix(suffix))
    assert record_of(name).name == "doors"
    assert pannsx.AudioTagger(name, device="cpu").labels == ("creak", "slam")
    assert load(name, prefix=None).record.folder == own.parent


def test_own_points_stay_apart_from_the_bundled_ones(tmp_path: Path) -> None:
    """A copy of the bundled checkpoint under its name, given as a model or as a checkpoint, has none."""
    copy = tmp_path / "MobileNetV1_distilled.safetensors"
    pannsx.save(load(), copy)
    record = json.loads(copy.with_suffix(".json").read_text("utf-8"))
    bundled = record_of(None)
    record["operating_points_sha256"] = bundled.operating_points_sha256
    copy.with_suffix(".json").write_text(json.dumps(record), "utf-8")
    assert bundled.operating_points_sha256 is not None
    for tagger in (pannsx.AudioTagger(str(copy)), pannsx.AudioTagger(checkpoint=copy)):
        assert tagger.operating_points is None


def test_mistakes(own: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no file .*mine\.pth"):
        load(str(tmp_path / "mine.pth"))
    with pytest.raises(ValueError, match=r"and checkpoint='.*' is given, too"):
        load("me/doors", checkpoint=own)
    with pytest.raises(ValueError, match=r"and checkpoint='.*' is given, too"):
        load(str(own), checkpoint=own)


def test_revisions() -> None:
    assert at_revision("me/doors", None) == "me/doors"
    assert at_revision(None, None) is None
    assert at_revision("me/doors", "v1") == "me/doors@v1"
    with pytest.raises(ValueError, match="no model is given"):
        at_revision(None, "v1")
    with pytest.raises(ValueError, match="and 'Cnn14' is given"):
        load("Cnn14", revision="v1")
    with pytest.raises(ValueError, match="leave one out"):
        at_revision("me/doors@v1", "v2")

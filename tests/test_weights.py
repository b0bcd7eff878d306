"""Models from names, files and records; saving, fetching and verifying them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import same_tensors
from torch import Tensor

from pannsx import AudioTagger
from pannsx.errors import WeightsError
from pannsx.events import OperatingPoint, OperatingPoints, write_operating_points
from pannsx.labels import LabelSet, audioset
from pannsx.models.convert import to_published
from pannsx.models.zoo import build
from pannsx.weights import (
    create_model,
    fetch_all,
    load,
    local,
    resolve,
    save,
    save_checkpoint,
    verify,
)
from pannsx.weights.digests import file_digest
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, find, labels_of, read_record
from pannsx.weights.operating_points import points_of
from pannsx.weights.record import Checkpoint

SMALLEST = "LeeNet11"  # 748,367 parameters


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """A state dict of the smallest architecture, as it would be published."""
    torch.manual_seed(0)
    record = find(SMALLEST)
    return to_published(build(SMALLEST, record.sample_rate, record.frontend, 527))


@pytest.fixture(scope="module")
def three_classes() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return to_published(build(SMALLEST, 32000, None, 3))


def own_record() -> Checkpoint:
    return Checkpoint(
        name="mine", architecture=SMALLEST, sample_rate=32000, frontend=None, labels="audioset", n_classes=527
    )


def logits(model: torch.nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(torch.linspace(-1, 1, 32000).sin()[None]).logits  # type: ignore[no-any-return]


def test_bundled_is_the_default() -> None:
    loaded = load()
    assert loaded.record is find("MobileNetV1_distilled")
    assert loaded.labels[0] == "Speech"
    assert not loaded.model.training
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert torch.isfinite(logits(loaded.model)).all()


def test_name_and_file(tmp_path: Path, published: dict[str, Tensor]) -> None:
    torch.save({"iteration": 1, "model": published}, tmp_path / "w.pth")
    loaded = load("leenet11", checkpoint=tmp_path / "w.pth")
    assert loaded.record is find(SMALLEST)
    assert same_tensors(to_published(loaded.model), published)


def test_our_own_layout(tmp_path: Path, published: dict[str, Tensor]) -> None:
    model = load(SMALLEST, checkpoint=_saved(tmp_path / "a.pth", published)).model
    again = load(SMALLEST, checkpoint=_saved(tmp_path / "b.pth", model.state_dict())).model
    assert same_tensors(again.state_dict(), model.state_dict())


def _saved(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


def test_name_and_file_of_other_classes(tmp_path: Path, three_classes: dict[str, Tensor]) -> None:
    torch.save(three_classes, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"has 3 classes and LeeNet11 has 527; .* need a record next to"):
        load(SMALLEST, checkpoint=tmp_path / "w.pth")


def test_name_and_file_of_another_architecture(tmp_path: Path, published: dict[str, Tensor]) -> None:
    torch.save(published, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: .*does not fit Cnn6"):
        load("Cnn6", checkpoint=tmp_path / "w.pth")


def test_unknown_name_and_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'LeeNet11'"):
        load("LeNet11")
    with pytest.raises(WeightsError, match="cannot read"):
        load(SMALLEST, checkpoint=tmp_path / "absent.pth")


def test_own_checkpoint_with_own_labels(tmp_path: Path, three_classes: dict[str, Tensor]) -> None:
    labels = LabelSet(("dog", "cat", "rain"))
    path = tmp_path / "mine.safetensors"
    written = save_checkpoint(path, three_classes, own_record(), labels=labels)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "mine.json",
        "mine.labels.txt",
        "mine.safetensors",
    ]
    assert written == read_record(tmp_path / "mine.json")
    assert written.sha256 == file_digest(path, "sha256")
    for way in (path, tmp_path / "mine.json", tmp_path, str(path)):
        loaded = load(checkpoint=way)
        assert loaded.labels == labels
        assert loaded.record == written
        assert same_tensors(to_published(loaded.model), three_classes)
        assert logits(loaded.model).shape == (1, 3)


def test_a_checkpoint_folder_can_be_moved(tmp_path: Path, three_classes: dict[str, Tensor]) -> None:
    (tmp_path / "a").mkdir()
    save_checkpoint(
        tmp_path / "a" / "mine.safetensors", three_classes, own_record(), labels=LabelSet(("a", "b", "c"))
    )
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert load(checkpoint=tmp_path / "b").labels.names == ("a", "b", "c")


def test_an_altered_own_checkpoint_is_refused(tmp_path: Path, published: dict[str, Tensor]) -> None:
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, published, own_record())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is altered: its digest is sha256"):
        load(checkpoint=path)


def test_a_hand_written_record_needs_no_digest(tmp_path: Path, published: dict[str, Tensor]) -> None:
    torch.save(published, tmp_path / "w.pth")
    record = {
        "name": "by hand",
        "architecture": SMALLEST,
        "sample_rate": 32000,
        "frontend": None,
        "labels": "audioset",
        "n_classes": 527,
        "filename": "w.pth",
    }
    (tmp_path / "w.json").write_text(json.dumps(record), encoding="utf-8")
    assert load(checkpoint=tmp_path / "w.pth").record.name == "by hand"
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"holds 2 \.json files"):
        load(checkpoint=tmp_path)
    shutil.copy(tmp_path / "w.pth", tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"is of 'w\.pth', not of 'w\.pt'"):
        load(checkpoint=tmp_path / "w.pt")


def test_a_file_without_a_record(tmp_path: Path, published: dict[str, Tensor]) -> None:
    torch.save(published, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"there is no record .*w\.json .*give the model's name as well"):
        load(checkpoint=tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"there is no file .*v\.pth; check the path"):
        load(checkpoint=tmp_path / "v.pth")


def test_a_wrong_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text('{"name": "x"}', encoding="utf-8")
    with pytest.raises(WeightsError, match=r"cannot use the record .*w\.json: .*missing architecture"):
        load(checkpoint=tmp_path / "w.json")


def test_saving_refuses_what_it_cannot_do(tmp_path: Path, published: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"written as \.safetensors"):
        save_checkpoint(tmp_path / "w.pth", published, own_record())
    with pytest.raises(ValueError, match="give the labels"):
        save_checkpoint(tmp_path / "w.safetensors", published, replace(own_record(), labels="my.txt"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "w.safetensors", published, own_record())


@pytest.mark.parametrize("kind", ["model", "compiled", "parallel", "loaded", "tagger"])
def test_a_model_is_saved_in_one_call(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(SMALLEST, 32000, None, 2)
    path = tmp_path / "doors.safetensors"
    network: Any = {"model": model, "parallel": torch.nn.DataParallel(model)}.get(kind)
    if kind == "compiled":
        network = torch.nn.Module()  # as torch.compile makes it, whose import takes seconds
        network._orig_mod = model
    labels: Any = ["creak", "slam, loud"]
    if network is None:
        first = save(model, tmp_path / "first.safetensors", labels=labels, description="Doors")
        # Of these weights as a file; as another file they have another digest.
        points = OperatingPoints({"creak": OperatingPoint(0.3)}, model="first", weights_sha256=first.sha256)
        write_operating_points(points, tmp_path / "first.operating_points.json")
        if kind == "loaded":
            network = load(checkpoint=tmp_path / "first.safetensors")
        else:
            network = AudioTagger(checkpoint=tmp_path / "first.safetensors")
        labels = None
    before = {key: tensor.clone() for key, tensor in to_published(model).items()}
    written = save(network, path, labels=labels)
    assert (written.name, written.n_classes, written.architecture) == ("doors", 2, SMALLEST)
    loaded = load(checkpoint=path)
    assert loaded.record == written
    assert loaded.labels.names == ("creak", "slam, loud")
    assert same_tensors(to_published(loaded.model), before)
    tagger = AudioTagger(checkpoint=path)
    assert tagger.labels == ("creak", "slam, loud")
    if kind == "tagger":
        assert tagger.record.description == "Doors"
        assert tagger.operating_points is not None
        assert tagger.operating_points.thresholds() == {"creak": 0.3}
        assert tagger.operating_points.weights_sha256 == written.sha256


def test_saved_labels_are_kept_exactly(tmp_path: Path) -> None:
    model = build(SMALLEST, 32000, None, 2)
    path = tmp_path / "w.safetensors"
    for labels in (
        LabelSet(("dog", "cat"), ("/m/0bt9lr", "/m/01yrx")),
        LabelSet((" dog", "cat\nand dog")),
        LabelSet(("Hund\u2028e", "Kätzchen")),
        LabelSet(("dog", "cat")),
    ):
        save(model, path, labels=labels)
        assert load(checkpoint=path).labels == labels
    save(build(SMALLEST, 32000, None, 527), path)
    assert load(checkpoint=path).labels == audioset()
    assert load(checkpoint=path).record.labels == "audioset"


def test_a_model_that_cannot_be_saved(tmp_path: Path) -> None:
    model = build(SMALLEST, 32000, None, 2)
    path = tmp_path / "w.safetensors"
    with pytest.raises(ValueError, match="2 classes of unknown names; give them as labels="):
        save(model, path)
    with pytest.raises(ValueError, match="2 classes, and there are 3 labels"):
        save(model, path, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="the text 'ab'"):
        save(model, path, labels="ab")
    with pytest.raises(ValueError, match=r"name it 'w\.safetensors'"):
        save(model, tmp_path / "w.pth", labels=["a", "b"])
    with pytest.raises(ValueError, match="got Linear; a model of create_model"):
        save(torch.nn.Linear(2, 2), path)
    with torch.no_grad():
        model.head.fc_audioset.bias[0] = float("nan")
    with pytest.raises(WeightsError, match=r"the model: fc_audioset\.bias has 1 values of 2 that are NaN"):
        save(model, path, labels=["a", "b"])
    assert list(tmp_path.iterdir()) == []


def test_the_published_layout_of_our_own_model_and_a_prefix(
    tmp_path: Path, published: dict[str, Tensor]
) -> None:
    path = tmp_path / "w.pth"
    torch.save(create_model(SMALLEST).state_dict(), path)
    assert load(SMALLEST, checkpoint=path).record.name == SMALLEST
    inside = {f"encoder.{key}": tensor for key, tensor in published.items()}
    torch.save(inside | {"loss.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"prefix='encoder\.'"):
        AudioTagger(SMALLEST, checkpoint=path)
    tagger = AudioTagger(SMALLEST, checkpoint=path, prefix="encoder.")
    assert same_tensors(to_published(tagger._pipeline.engine.model), published)
    with pytest.raises(ValueError, match="give checkpoint= as well"):
        load(SMALLEST, prefix="encoder.")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PANNSX_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("no_network")
def test_fetch_all_says_what_it_cannot_get_and_why(tmp_path: Path) -> None:
    outcomes = {outcome.name: outcome for outcome in fetch_all(tmp_path / "to", progress=False)}
    assert len(outcomes) == 30
    assert outcomes["MobileNetV1_distilled"].path is not None
    assert "no weights were ever released" in (outcomes["Cnn14_mel128"].problem or "")
    assert "allow_unverified" in (outcomes["Cnn14_8k"].problem or "")
    assert "HF_HUB_OFFLINE" in (outcomes["Cnn14"].problem or "")
    with pytest.raises(ValueError, match="unknown model"):
        fetch_all(tmp_path / "to", ["Cnn13"])


@pytest.mark.usefixtures("no_network")
def test_a_folder_with_an_unverifiable_file(tmp_path: Path, published: dict[str, Tensor]) -> None:
    """A file put there by hand, of which no digest was ever published."""
    record = find("MobileNetV2")
    assert record.filename is not None
    torch.save(published, tmp_path / record.filename)
    with pytest.raises(WeightsError, match="allow_unverified"):
        load("MobileNetV2", cache_dir=tmp_path)
    assert verify(record, cache_dir=tmp_path).ok is None
    assert fetch_all(tmp_path, ["MobileNetV2"], allow_unverified=True)[0].path == tmp_path / record.filename
    assert verify(record, cache_dir=tmp_path).ok is True
    assert fetch_all(tmp_path, ["MobileNetV2"])[0].problem is None
    torch.save({**published, "x": torch.zeros(1)}, tmp_path / record.filename)
    assert "is altered" in (fetch_all(tmp_path, ["MobileNetV2"])[0].problem or "")
    assert verify(record, cache_dir=tmp_path).ok is False


@pytest.mark.usefixtures("no_network")
def test_verify() -> None:
    report = verify(find("MobileNetV1_distilled"))
    assert report.ok is True
    assert report.digest == report.expected_digest
    with pytest.raises(WeightsError, match="no file of Cnn14 is on this computer"):
        verify(find("Cnn14"))
    with pytest.raises(WeightsError, match="no weights were ever released"):
        verify(find("Cnn14_mel32"))


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_user_without_a_home_has_the_bundled_checkpoint(
    has_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container for a user whom the system does not know: ``~`` stays as it is."""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr(local, "private_folder", lambda: tmp_path if has_folder else None)
    for name in ("PANNSX_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert local.cache_home().is_absolute()
    assert (tmp_path in local.cache_home().parents) == has_folder
    record = find(DEFAULT_CHECKPOINT)
    assert local.find(record) == resolve(record, progress=False)
    assert points_of(record, labels_of(record).names) is not None
    assert local.find(find("Cnn14")) is None

"""Weights within other networks' files, and weights on another front end than that of their training."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_models import FRONT_END, noise, run
from torch import Tensor

from pannsx import WeightsError, create_model, save
from pannsx.models import ARCHITECTURES, Pann
from pannsx.models.convert import to_published
from pannsx.models.settings import CnnSettings
from pannsx.weights import load

CLAP = replace(FRONT_END, sample_rate=48000, hop_length=480)
"""The same log-mel at another rate: shapes and hop in seconds are those of Cnn10's own."""


@pytest.fixture(autouse=True)
def narrow_cnn10(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cnn10 with narrow layers, as its width is not the point."""
    narrow = replace(ARCHITECTURES["Cnn10"], trunk=CnnSettings((8, 8, 8, 8), (2, 2, 2, 2)), embedding=16)
    monkeypatch.setitem(ARCHITECTURES, "Cnn10", narrow)


@pytest.fixture
def network() -> Iterator[Pann]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield create_model("Cnn10", frontend=CLAP)


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in state.items()}


TEXT = {"text_branch.embedding": torch.ones(3), "logit_scale": torch.ones(1)}

FILES: dict[str, tuple[str | None, Any]] = {
    "bare": (None, lambda state: state),
    "DataParallel": (None, lambda state: under("module.", state)),
    "Lightning": (None, lambda state: {"state_dict": under("model.", state), "epoch": 3}),
    "sed_model": (None, lambda state: {"state_dict": under("sed_model.", state), "epoch": 3}),
    "sed_model, and a loss": (
        "sed_model.",
        lambda state: {"state_dict": under("sed_model.", state) | {"loss.weight": torch.ones(2)}},
    ),
    "audio_branch": ("audio_branch.", lambda state: under("audio_branch.", state) | TEXT),
    "CLAP": (
        "audio_branch.",
        lambda state: {
            "epoch": 5,
            "state_dict": under("module.", under("audio_branch.", state) | TEXT),
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        },
    ),
    "an outer name of some": (
        "audio_branch",
        lambda state: {"state_dict": under("model.audio_branch.", state) | {"loss.weight": torch.ones(2)}},
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_network_is_found_where_others_keep_it(kind: str, network: Pann, tmp_path: Path) -> None:
    prefix, nest = FILES[kind]
    path = tmp_path / "w.pt"
    torch.save(nest(to_published(network)), path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = load("Cnn10", checkpoint=path, prefix=prefix, ignore_front_end=True)
    assert len(said) == 1  # its constants are of 48 kHz
    for key, tensor in network.state_dict().items():
        assert torch.equal(found.model.state_dict()[key], tensor), key


def test_a_prefix_at_several_places(network: Pann, tmp_path: Path) -> None:
    state = to_published(network)
    path = tmp_path / "w.pt"
    torch.save(under("student.audio_branch.", state) | under("teacher.audio_branch.", state), path)
    with pytest.raises(WeightsError, match=r"at several places, 'student\.audio_branch\.', 'teacher\."):
        load("Cnn10", checkpoint=path, prefix="audio_branch.")
    found = load("Cnn10", checkpoint=path, prefix="teacher.audio_branch.", frontend=CLAP)
    assert torch.equal(found.model.trunk.conv_block1.conv1.weight, network.trunk.conv_block1.conv1.weight)


def test_a_front_end_that_the_file_has(network: Pann, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(under("audio_branch.", to_published(network)) | TEXT, path)
    with pytest.raises(WeightsError, match=r"melW of the checkpoint differs .* another front end"):
        load("Cnn10", checkpoint=path, prefix="audio_branch.")
    loaded = load("Cnn10", checkpoint=path, prefix="audio_branch.", frontend=CLAP)
    assert (loaded.record.sample_rate, loaded.record.frontend) == (48000, CLAP)
    assert loaded.record.front_end_mismatch is None
    waveform = noise(1, 48000)
    assert torch.equal(run(loaded.model, waveform).logits, run(network, waveform).logits)
    save(loaded, tmp_path / "clap.safetensors")
    assert load(checkpoint=tmp_path / "clap.safetensors").record.frontend == CLAP


def test_ignored_constants_are_told_of(network: Pann, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(to_published(network), path)
    with pytest.warns(UserWarning, match=r"Cnn10: its weights were trained with another .*melW of its file"):
        loaded = load("Cnn10", checkpoint=path, ignore_front_end=True)
    assert "melW of its file" in str(loaded.record.front_end_mismatch)
    assert loaded.model.front_end_mismatch == loaded.record.front_end_mismatch
    assert loaded.model.sample_rate == 32000
    larger = create_model("Cnn10", frontend=replace(FRONT_END, n_fft=2048))
    torch.save(to_published(larger), path)
    with pytest.warns(UserWarning, match=r"conv_real.weight of its file is \(1025, 1, 2048\), and \(513, "):
        load("Cnn10", checkpoint=path, ignore_front_end=True)


def test_constants_that_fit_or_are_missing_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    state = to_published(create_model("Cnn10"))
    for saved in (state, {key: value for key, value in state.items() if "extractor" not in key}):
        torch.save(saved, path)
        loaded = load("Cnn10", checkpoint=path, ignore_front_end=True)  # a warning would be an error
        assert loaded.record.front_end_mismatch is None


def test_pretrained_weights_on_another_front_end(tmp_path: Path) -> None:
    """With the bundled checkpoint."""
    name = "MobileNetV1_distilled"
    with pytest.warns(UserWarning, match=r"trained with FrontEnd\(sample_rate=32000.*run with .*48000"):
        model = create_model(name, pretrained=True, n_classes=3, frontend=CLAP)
    assert (model.sample_rate, model.frontend, model.grid.hop_samples) == (48000, CLAP, 480 * 32)
    assert run(model, noise(1, 48000)).logits.shape == (1, 3)
    own = create_model(name, pretrained=True)
    assert torch.equal(model.head.fc1.weight, own.head.fc1.weight)
    assert own.front_end_mismatch is None
    assert create_model(name, pretrained=True, frontend=own.frontend).front_end_mismatch is None

    path = tmp_path / "w.safetensors"
    save(model, path, labels=["a", "b", "c"])
    record = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert record["front_end_mismatch"] == model.front_end_mismatch
    loaded = load(checkpoint=path)
    assert loaded.record.front_end_mismatch == loaded.model.front_end_mismatch == model.front_end_mismatch
    save(loaded.model, path, labels=["a", "b", "c"])
    assert load(checkpoint=path).record.front_end_mismatch == model.front_end_mismatch
    with pytest.raises(ValueError, match="give ignore_front_end=True"):
        load(checkpoint=path, frontend=FRONT_END)


def test_front_ends_that_weights_cannot_have() -> None:
    with pytest.raises(ValueError, match="for 64 mel bands, and the front end has 128"):
        create_model("MobileNetV1_distilled", pretrained=True, frontend=replace(FRONT_END, n_mels=128))
    with pytest.raises(ValueError, match="give ignore_front_end=True"):
        load("MobileNetV1_distilled", frontend=CLAP)
    with pytest.raises(ValueError, match="takes no front end"):
        load("DaiNet19", checkpoint="w.pt", frontend=CLAP)

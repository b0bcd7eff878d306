"""HEAR 2021's contract: by its own validator where that is installed, and by ours, which asks for more."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from parties import party

import pannsx
from pannsx import FeatureExtractor
from pannsx.audio.resample import resample
from pannsx.errors import AudioError
from pannsx.integrations import hear
from pannsx.integrations.dense_frames import dense_frames

SAME = 1e-6
"""Absolute, of embeddings: the same network on the same samples, alone and in a batch."""


@pytest.fixture(scope="module")
def model() -> hear.HearModel:
    return hear.load_model()


def sounds(n: int, n_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(n, n_samples, generator=torch.Generator().manual_seed(seed))


def test_attributes(model: hear.HearModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate == 48_000
    assert model.scene_embedding_size == model.timestamp_embedding_size == 1024
    assert model.to("cpu") is model


def test_a_file_or_a_name_is_a_model(tmp_path: Path) -> None:
    own = pannsx.create_model("LeeNet11", n_classes=2)
    pannsx.save(own, tmp_path / "mine.safetensors", labels=["creak", "slam"])
    by_file = hear.load_model(str(tmp_path / "mine.safetensors"))
    assert by_file.extractor.record.name == "mine"
    assert by_file.scene_embedding_size == own.embedding_size
    assert hear.load_model("MobileNetV1_distilled").extractor.record.name == "MobileNetV1_distilled"
    with pytest.raises(ValueError, match="did you mean 'Cnn14"):
        hear.load_model("Cnn_14").extractor.fit()


def test_scene_embeddings_are_those_of_the_extractor(model: hear.HearModel) -> None:
    audio = sounds(2, 40_000)
    embeddings = hear.get_scene_embeddings(audio, model)
    assert embeddings.dtype == torch.float32
    expected = FeatureExtractor().extract([resample(each, 48_000, 32_000) for each in audio.numpy()])
    np.testing.assert_allclose(embeddings.numpy(), expected, atol=SAME)
    assert torch.equal(model(audio), embeddings)


@pytest.mark.parametrize("n_samples", [1, 4_000, 14_880, 48_000, 123_457, 48_000 * 11])
def test_timestamps(model: hear.HearModel, n_samples: int) -> None:
    """Any length: at least one frame, 40 ms apart, within the sound; every eighth is the network's own."""
    audio = sounds(2, n_samples)
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == timestamps.dtype == torch.float32
    assert embeddings.shape == (2, timestamps.shape[1], 1024)
    assert torch.equal(timestamps[0], timestamps[1])
    steps = timestamps[0].double().diff()
    if len(steps):
        assert (steps - 40).abs().max() < 0.01  # a float32 of a minute in ms
        assert timestamps[0, -1] <= n_samples / 48
        assert timestamps[0, -1] + 320 + 160 > n_samples / 48
    own = FeatureExtractor().extract_frames(resample(audio[0].numpy(), 48_000, 32_000))
    every = embeddings[0, ::8].numpy()
    n = min(len(every), len(own.embeddings))
    np.testing.assert_allclose(every[:n], own.embeddings[:n], atol=SAME)
    np.testing.assert_allclose(timestamps[0, ::8].numpy()[:n], 1000 * own.times_s[:n], atol=0.01)


def test_a_click_is_in_its_time(model: hear.HearModel) -> None:
    audio = 0.001 * sounds(1, 3 * 48_000)
    audio[0, 72_000:73_000] = 0.9
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    quiet = hear.get_timestamp_embeddings(0.001 * sounds(1, 3 * 48_000), model)[0]
    change = (embeddings - quiet)[0].norm(dim=1)
    weight = change / change.sum()
    assert abs(float((weight * timestamps[0]).sum()) - 1510) < 160


def test_a_row_does_not_depend_on_the_batch(model: hear.HearModel) -> None:
    audio = sounds(3, 30_000)
    together, _ = hear.get_timestamp_embeddings(audio, model)
    alone, _ = hear.get_timestamp_embeddings(audio[1:2], model)
    np.testing.assert_allclose(together[1].numpy(), alone[0].numpy(), atol=SAME)


def test_what_cannot_be_heard(model: hear.HearModel) -> None:
    with pytest.raises(ValueError, match=r"shape \(48000,\); \(n_sounds, n_samples\) is needed"):
        hear.get_scene_embeddings(torch.zeros(48_000), model)
    with pytest.raises(AudioError, match=r"not finite|NaN"):
        hear.get_scene_embeddings(torch.full((1, 48_000), float("nan")), model)
    with pytest.raises(ValueError, match="hop_s is 0"):
        dense_frames(model.extractor, np.zeros((1, 32_000), np.float32), 0.0)


def test_the_validator_of_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    # It also takes TensorFlow models, and imports TensorFlow to tell.
    tensorflow = ModuleType("tensorflow")
    tensorflow.Module = type("Module", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    validator = party("hearvalidator.validate", "doors")
    validator.ValidateModel("pannsx.integrations.hear", "", device="cpu")()

"""panns_inference's interface: its own classes and ours on one checkpoint file, side by side."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parties import party
from seeded_models import golden_waveform, seeded_state

from pannsx.integrations import panns_inference as ours
from pannsx.labels import audioset

SAME = 2e-5
"""Absolute, of probabilities and, relative to the largest, of embeddings."""


def test_names_of_the_package() -> None:
    config = ours.config
    assert ours.labels == config.labels == list(audioset().names)
    assert config.classes_num == 527
    assert config.sample_rate == 32_000
    assert config.lb_to_ix["Speech"] == 0
    assert config.ix_to_lb[0] == "Speech"
    assert config.id_to_ix["/m/09x0r"] == 0
    assert config.ix_to_id[0] == "/m/09x0r"
    with pytest.raises(AttributeError, match="has no attribute 'models'"):
        ours.models  # noqa: B018


def test_what_it_cannot_do() -> None:
    with pytest.raises(TypeError, match=r"model is a Linear; give a name"):
        ours.AudioTagging(torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"device is 'tpu'; use 'cuda' or 'cpu'"):
        ours.AudioTagging("MobileNetV1_distilled", device="tpu")
    with pytest.raises(ValueError, match="interpolate_mode is 'linear'; use 'nearest'"):
        ours.SoundEventDetection("MobileNetV1_distilled", interpolate_mode="linear")  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"nowhere\.pth"):
        ours.AudioTagging(checkpoint_path="nowhere.pth")
    tagging = ours.AudioTagging("MobileNetV1_distilled")
    with pytest.raises(ValueError, match=r"\(32000,\); \(B, S\) is needed: audio\[None, :\]"):
        tagging.inference(np.zeros(32_000, np.float32))


def test_layout() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, (2, 32_000 * 11 + 5)).astype(np.float32)
    tagging = ours.AudioTagging("MobileNetV1_distilled", device="cuda")
    clipwise, embedding = tagging.inference(audio)
    assert clipwise.shape == (2, 527)
    assert embedding.shape == (2, 1024)
    framewise = ours.SoundEventDetection("MobileNetV1_distilled").inference(audio)
    assert framewise.shape == (2, audio.shape[1] // 320 + 1, 527)
    assert (framewise[:, :32] == framewise[:, :1]).all()
    assert (framewise[:, 32] != framewise[:, 31]).any()
    assert tagging.labels[0] == "Speech"


@pytest.mark.parametrize("name", ["Cnn14", "Cnn14_DecisionLevelMax"])
def test_the_real_package_says_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # It looks for AudioSet's labels in the home folder, and would download them there.
    monkeypatch.setenv("HOME", str(tmp_path))
    labels = tmp_path / "panns_data" / "class_labels_indices.csv"
    labels.parent.mkdir()
    names, ids = audioset().names, audioset().ids
    assert ids is not None
    rows = [f'{i},{mid},"{label}"' for i, (mid, label) in enumerate(zip(ids, names, strict=True))]
    labels.write_text("\n".join(["index,mid,display_name", *rows]) + "\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of librosa and others, of themselves
        theirs: Any = party("panns_inference", "doors")
        models: Any = sys.modules["panns_inference.models"]
        settings = {"window_size": 1024, "hop_size": 320, "mel_bins": 64, "fmin": 50, "fmax": 14_000}
        network = getattr(models, name)(sample_rate=32_000, classes_num=527, **settings)
    # The seeded weights, and the constants of the front end that it insists on.
    state = {**network.state_dict(), **seeded_state(name)}
    path = tmp_path / f"{name}.pth"
    torch.save({"model": state}, path)
    audio = golden_waveform(32_000).numpy()[:, : 3 * 32_000]
    audio = np.concatenate([audio, audio[:, ::-1]])
    given = {"checkpoint_path": str(path), "device": "cpu"}
    if name == "Cnn14":
        expected = theirs.AudioTagging(model=network, **given).inference(audio)
        capsys.readouterr()
        got = ours.AudioTagging(**given).inference(audio)
        np.testing.assert_allclose(got[0], expected[0], atol=SAME)
        np.testing.assert_allclose(got[1], expected[1], atol=SAME * np.abs(expected[1]).max())
    else:
        expected = theirs.SoundEventDetection(model=network, **given).inference(audio)
        capsys.readouterr()
        framewise = ours.SoundEventDetection(**given).inference(audio)
        assert framewise.shape == expected.shape
        np.testing.assert_allclose(framewise, expected, atol=SAME)
    assert capsys.readouterr().out == ""

"""transformers: its real pipeline and Auto classes run our checkpoints."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_server import Client
from hub_uploads import upload_hub
from parties import party

import pannsx
from pannsx import AudioTagger

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of transformers' companions
    transformers: Any = party("transformers", "transformers")
    from pannsx.integrations import transformers as ours

SAME = 2e-5
"""Absolute, of probabilities: the network as a module, and in its form for the CPU."""

NAME = "MobileNetV1_distilled"


@pytest.fixture(scope="module")
def model() -> Any:
    return ours.PannsxForAudioClassification.from_pretrained(NAME)


@pytest.fixture(scope="module")
def classify(model: Any) -> Any:
    extractor = ours.PannsxFeatureExtractor.from_pretrained(NAME)
    return transformers.pipeline("audio-classification", model=model, feature_extractor=extractor)


def sound(n_samples: int = 48_000) -> np.ndarray:
    time_s = np.arange(n_samples) / 32_000
    rng = np.random.default_rng(0)
    return (0.3 * np.sin(2 * np.pi * 880 * time_s) + rng.normal(0, 0.02, n_samples)).astype(np.float32)


def test_the_pipeline_says_what_the_tagger_says(classify: Any) -> None:
    found = classify(sound(), top_k=3)
    expected = AudioTagger().inference(sound()).top(3)
    assert [each["label"] for each in found] == [tag.label for tag in expected]
    np.testing.assert_allclose(
        [each["score"] for each in found], [tag.probability for tag in expected], atol=SAME
    )
    assert sum(each["score"] for each in classify(sound(), top_k=None)) != pytest.approx(1.0)  # no softmax
    assert len(classify([sound(), sound(20_000)], top_k=2)) == 2


def test_training_through_it(model: Any) -> None:
    waveform = torch.from_numpy(sound()[None]).requires_grad_()
    targets = torch.zeros(1, 527)
    output = model(input_values=waveform, labels=targets)
    assert output.logits.shape == (1, 527)
    assert output.hidden_states[0].shape == (1, 1024)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output.logits, targets)
    assert float(output.loss.detach()) == pytest.approx(float(expected.detach()))
    output.loss.backward()
    assert waveform.grad is not None
    assert waveform.grad.abs().max() > 0
    assert model(waveform, return_dict=False)[0].shape == (1, 527)


def test_what_the_extractor_refuses() -> None:
    extractor = ours.PannsxFeatureExtractor(32_000)
    with pytest.raises(ValueError, match=r"at 16000 Hz; 32000 Hz are needed"):
        extractor(sound(), sampling_rate=16_000)
    with pytest.raises(ValueError, match=r"waveforms of \[100, 200\] samples; equal lengths are needed"):
        extractor([sound(100), sound(200)])
    with pytest.raises(ValueError, match=r"shape \(10, 2\)"):
        extractor([np.zeros((10, 2))])
    assert extractor([sound(50), sound(50)], return_tensors="pt")["input_values"].shape == (2, 50)
    with pytest.raises(ValueError, match="from_pretrained"):
        ours.PannsxForAudioClassification(ours.PannsxConfig())


def test_saved_and_loaded_by_the_auto_classes(tmp_path: Path) -> None:
    own = pannsx.create_model("LeeNet11", n_classes=2)
    pannsx.save(own, tmp_path / "own.safetensors", labels=["creak", "slam"])
    model = ours.PannsxForAudioClassification.from_pretrained(str(tmp_path / "own.safetensors"))
    assert model.config.id2label == {0: "creak", 1: "slam"}
    folder = tmp_path / "doors"
    model.save_pretrained(folder)
    again = transformers.AutoModelForAudioClassification.from_pretrained(str(folder))
    waveform = torch.from_numpy(sound()[None])
    with torch.inference_mode():
        assert torch.equal(again(waveform).logits, model(waveform).logits)
    assert transformers.AutoConfig.from_pretrained(str(folder)).problem_type == "multi_label_classification"
    extractor = transformers.AutoFeatureExtractor.from_pretrained(str(folder))
    assert extractor.sampling_rate == 32_000
    classify = transformers.pipeline("audio-classification", model=str(folder))
    assert {each["label"] for each in classify(sound())} == {"creak", "slam"}


_FROM_HUB = """
import os, sys
import numpy as np
from transformers import pipeline
import pannsx
from pannsx.integrations.transformers import PannsxForAudioClassification
from pannsx.weights import load

model = PannsxForAudioClassification.from_pretrained(sys.argv[1])
model.push_to_hub("me/doors", private=True)
token = os.environ.pop("HF_TOKEN")  # private: from here on only who gives the token
classify = pipeline("audio-classification", model="me/doors", token=token, revision="main")
found = classify(np.zeros(32_000, np.float32))
try:
    PannsxForAudioClassification.from_pretrained("me/doors", revision="other", token=False)
except RuntimeError as error:
    assert "the Hub refused access" in str(error), error
else:
    raise AssertionError("opened without a token")
print(sorted(each["label"] for each in found))
"""


def test_pushed_and_run_from_the_hub(tmp_path: Path) -> None:
    own = pannsx.create_model("LeeNet11", n_classes=2)
    pannsx.save(own, tmp_path / "own.safetensors", labels=["creak", "slam"])
    with upload_hub("hf_secret") as hub:
        done = subprocess.run(
            [sys.executable, "-c", _FROM_HUB, str(tmp_path / "own.safetensors")],
            env=Client(hub, tmp_path / "home").environment(HF_TOKEN="hf_secret"),
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['creak', 'slam']"

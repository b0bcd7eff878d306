"""A MobileNetV1 of few weights with steps for products in 8 bits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_models import FRONT_END

from pannsx import save
from pannsx.models import ARCHITECTURES
from pannsx.models.settings import MobileNetSettings
from pannsx.models.zoo import build

LABELS = ("Dog", "Rain", "Siren")
STEPS = {"features.1.4": 0.02, "features.2.4": 0.01}


@pytest.fixture
def narrow_mobilenet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A MobileNetV1 of two separable blocks, with its record and steps; the architecture is narrow."""
    trunk = MobileNetSettings(((1, 24, 1, 2), (1, 40, 1, 2)), residual=False, out_channels=40)
    monkeypatch.setitem(
        ARCHITECTURES, "MobileNetV1", replace(ARCHITECTURES["MobileNetV1"], trunk=trunk, embedding=16)
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build("MobileNetV1", FRONT_END.sample_rate, FRONT_END, len(LABELS))
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("bn0.weight") or ".5.weight" in name:
                tensor.uniform_(-1, 1)
    path = tmp_path / "narrow.safetensors"
    save(model, path, labels=LABELS)
    with_steps(path, STEPS)
    return path


def with_steps(path: Path, steps: Any) -> Path:
    record = json.loads(path.with_suffix(".json").read_text("utf-8"))
    path.with_suffix(".json").write_text(json.dumps({**record, "int8_steps": steps}), "utf-8")
    return path

"""Published classes with the golden data's seeded weights, for the tests of models."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pannsx import manifest
from pannsx.models import Pann
from pannsx.models.convert import load_published
from pannsx.models.zoo import build_empty

GOLDEN = Path(__file__).resolve().parent / "golden"


def golden_path(name: str) -> Path:
    """A golden file; without it nothing is tested, so its absence is a failure."""
    path = GOLDEN / name
    if not path.is_file():
        raise AssertionError(f"{path} is missing: copy the golden data with tools/copy_golden.py")
    return path


@cache
def golden_json(name: str) -> Any:
    return json.loads(golden_path(name).read_text(encoding="utf-8"))


@cache
def golden_arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(golden_path(name)) as arrays:
        return dict(arrays)


def published_classes() -> list[str]:
    return list(golden_json("state_dict_shapes.json"))


def golden_waveform(sample_rate: int) -> Tensor:
    """``(1, S)``: the five seconds of synthetic sound that the golden outputs were computed from."""
    samples = golden_arrays("inputs.npz")[f"w{sample_rate}"]
    return torch.from_numpy(samples.astype(np.float32) / 32768)[None]


@cache
def _seeded_weights() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seeded_weights", golden_path("seeded_weights.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _seeded_tensor(key: str, shape: tuple[int, ...], is_batch_norm: bool, has_logmel: bool) -> Tensor:
    # Architectures share most of their keys: each tensor is drawn once.
    return torch.from_numpy(
        np.asarray(_seeded_weights().seeded_tensor(key, shape, is_batch_norm, has_logmel))
    )


def forget_seeded_tensors() -> None:
    """Free the memory of all seeded tensors (over a gigabyte after all classes)."""
    _seeded_tensor.cache_clear()


def seeded_state(name: str) -> dict[str, Tensor]:
    """The seeded weights of a published class in the published layout, front-end constants left out.

    The tensors are shared between calls: clone what is to be changed.
    """
    shapes = golden_json("state_dict_shapes.json")[name]
    has_logmel = any(key.startswith("logmel_extractor.") for key in shapes)
    norms = {key.removesuffix(".running_var") for key in shapes if key.endswith(".running_var")}
    return {
        key: _seeded_tensor(key, tuple(shape), key.rpartition(".")[0] in norms, has_logmel)
        for key, shape in shapes.items()
        if not key.startswith(_seeded_weights().FRONTEND_PREFIXES)
    }


def empty_model(name: str) -> Pann:
    record = manifest.find(name)
    return build_empty(record.architecture, record.sample_rate, record.frontend, record.n_classes)


def seeded_model(name: str) -> Pann:
    """A published class with its seeded weights, in evaluation mode."""
    model = empty_model(name)
    load_published(model, seeded_state(name))
    return model

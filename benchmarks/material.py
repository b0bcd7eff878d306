"""Inputs of the benchmarks: waveforms and weights, computed deterministically."""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.conditions import ROOT
from pannsx.models import Pann
from pannsx.models.convert import load_published, to_published
from pannsx.models.zoo import build_empty
from pannsx.weights import manifest

Samples = NDArray[np.float32]


def sound(n_samples: int, sample_rate: int, seed: int = 0) -> Samples:
    """``(S,)``: a rising tone in noise, in [-1, 1]."""
    time_s = np.arange(n_samples) / sample_rate
    end_hz, duration_s = 0.4 * sample_rate, max(n_samples / sample_rate, 1e-3)
    tone = np.sin(2 * np.pi * (100 * time_s + (end_hz - 100) / (2 * duration_s) * time_s**2))
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    return (0.3 * tone + 0.1 * noise).clip(-1, 1).astype(np.float32)


def seeded_model(name: str) -> Pann:
    """A model by its published name with the weights of the golden data.

    They are drawn with seeds from the names of the parameters: as large and as slow as published ones, and
    without a download.
    """
    record = manifest.find(name)
    model = build_empty(record.architecture, record.sample_rate, record.frontend, record.n_classes)
    tensors = to_published(model)
    norms = {key.removesuffix(".running_var") for key in tensors if key.endswith(".running_var")}
    prefixes = _seeded_weights().FRONTEND_PREFIXES
    load_published(
        model,
        {
            key: _seeded_tensor(
                key, tuple(tensor.shape), key.rpartition(".")[0] in norms, model.frontend is not None
            )
            for key, tensor in tensors.items()
            if not key.startswith(prefixes)
        },
    )
    return model.eval()


def forget_seeded_tensors() -> None:
    """Free the tensors cached for the next model; most are shared between architectures."""
    _seeded_tensor.cache_clear()


@cache
def _seeded_tensor(key: str, shape: tuple[int, ...], is_batch_norm: bool, has_log_mel: bool) -> Tensor:
    return torch.from_numpy(
        np.asarray(_seeded_weights().seeded_tensor(key, shape, is_batch_norm, has_log_mel))
    )


@cache
def _seeded_weights() -> ModuleType:
    """The module for the weights of the golden data."""
    path = ROOT / "tests" / "golden" / "seeded_weights.py"
    spec = importlib.util.spec_from_file_location("seeded_weights", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Checkpoints of small models with seeded weights, and lively noise, for the tests of what runs models."""

from __future__ import annotations

import numpy as np
from seeded_models import seeded_model

from pannsx import labels
from pannsx.weights import LoadedCheckpoint, manifest


def seeded_checkpoint(name: str = "Cnn6") -> LoadedCheckpoint:
    """A published class with the golden data's seeded weights, as if loaded from disk."""
    return LoadedCheckpoint(manifest.find(name), seeded_model(name), labels.audioset())


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    """``(n_samples,)`` float32 noise whose loudness changes, so that windows differ."""
    rng = np.random.default_rng(seed)
    envelope = 0.02 + 0.2 * np.abs(np.sin(np.arange(n_samples) / 20000 + seed))
    return (envelope * rng.standard_normal(n_samples)).astype(np.float32)

"""Checkpoints of small models with seeded weights, and lively noise, for the tests of what runs models."""

from __future__ import annotations

import numpy as np
import torch
from seeded_models import narrow_model, seeded_model
from torch import Tensor

from pannsx import labels
from pannsx.weights import LoadedCheckpoint, manifest

SAME_ALONE = 1e-5
"""Between two orders of summation, as batches of another size may take: of a probability, and relative to the
largest value of an embedding.

A float32 sum of K products, one after the other, is off by 2^-24 sqrt(K / 6) of its own size, root mean
square: every partial sum rounds, and partial sums grow like the root of their number. That is 1.1e-6 for
the 3 x 3 convolutions of a ResNet22 (K = 2,160 on average) and 0.65e-6 for a ResNet54 (K = 700). Their 20 and
54 layers in series, and two orders, give 7e-6 of a value's size. Of thousands of values the worst is 4 times
as far off; the largest is as much larger than the rest, and a sigmoid's slope is at most 1 / 4.
Fused and blocked sums, of processors with AVX2, stay several times below."""


def seeded_checkpoint(name: str = "Cnn6") -> LoadedCheckpoint:
    """A published class with the golden data's seeded weights, as if loaded from disk."""
    return LoadedCheckpoint(manifest.find(name), seeded_model(name), labels.audioset())


def narrow_published(name: str) -> LoadedCheckpoint:
    """The same with a quarter of the channels and lively weights (`narrow_model`)."""
    return LoadedCheckpoint(manifest.find(name), narrow_model(name), labels.audioset())


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    """``(n_samples,)`` float32 noise whose loudness changes, so that windows differ."""
    rng = np.random.default_rng(seed)
    envelope = 0.02 + 0.2 * np.abs(np.sin(np.arange(n_samples) / 20000 + seed))
    return (envelope * rng.standard_normal(n_samples)).astype(np.float32)


def same_tensors(got: dict[str, Tensor], want: dict[str, Tensor], rtol: float = 0.0) -> bool:
    """Whether two state dicts have the same keys and numbers."""
    return set(got) == set(want) and all(
        torch.allclose(got[key].float(), want[key].float(), rtol=rtol, atol=0) for key in want
    )

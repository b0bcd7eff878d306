"""Augmentation of a batch of waveforms in fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pannsx.models.pann import Augment, Pann


class Augmented(NamedTuple):
    """A batch after its augmentation.

    Attributes:
        waveform: ``(B, S)``.
        targets: ``(B, K)``; with mixup, of the ``B / 2`` mixed clips.
        representations: augmentation of log-mel and wavegram inside the network, if any.
    """

    waveform: Tensor
    targets: Tensor
    representations: Augment | None = None


Augmenter = Callable[[Tensor, Tensor, int, Pann], Augmented]
"""``(B, S)`` clips, ``(B, K)`` targets, a seed for this step and the model -> the batch to train on."""

GAIN_DB, ROLL_S = 6.0, 0.5


def gain_and_roll(waveform: Tensor, targets: Tensor, seed: int, model: Pann) -> Augmented:
    """Each clip up to 6 dB softer or louder, and rolled in time by up to half a second."""
    rng = np.random.default_rng(seed)
    gains = 10.0 ** (rng.uniform(-GAIN_DB, GAIN_DB, len(waveform)) / 20.0)
    rolls = np.round(rng.uniform(-ROLL_S, ROLL_S, len(waveform)) * model.sample_rate).astype(int)
    clips = [clip.roll(roll) * gain for clip, roll, gain in zip(waveform, rolls, gains, strict=True)]
    return Augmented(torch.stack(clips).to(waveform.dtype), targets)


def unchanged(waveform: Tensor, targets: Tensor, seed: int, model: Pann) -> Augmented:
    """No augmentation."""
    return Augmented(waveform, targets)

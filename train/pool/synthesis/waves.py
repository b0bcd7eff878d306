"""Types and sizes for recipes of sounds: five seconds at 32 kHz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from train.pool.cutting import CLIP_SAMPLES, SAMPLE_RATE
from train.pool.synthesis.lineage import Lineage

RATE = SAMPLE_RATE
SIZE = CLIP_SAMPLES
TIME: Wave = np.arange(SIZE) / RATE
"""``(S,)`` in seconds."""

Draws: TypeAlias = np.random.Generator | Lineage
"""Source of random numbers."""

Wave: TypeAlias = NDArray[Any]
"""``(S,)`` samples, in floating point."""

Curve: TypeAlias = Wave | float
"""A value for each sample, or one for all."""

Numbers: TypeAlias = Sequence[float] | Wave

Points: TypeAlias = Sequence[tuple[float, float]]
"""Frequencies in Hz with gains in dB."""

Track: TypeAlias = Sequence[tuple[float, str]]
"""Times in seconds with vowels."""

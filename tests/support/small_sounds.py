"""A few short sounds of three kinds, which any classifier tells apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 32000
KINDS = ("clicks", "noise", "tone")
LABELS = [*KINDS] * 3
"""Of :func:`sounds`."""


def sounds() -> list[NDArray[np.float32]]:
    """Nine clips of a quarter second: clicks, noise and tones in turn."""
    rng, times = np.random.default_rng(0), np.arange(RATE // 4) / RATE
    made = []
    for number in range(9):
        kinds = (
            (np.arange(len(times)) % (900 + 100 * number) < 8).astype(float),
            rng.standard_normal(len(times)) / 4,
            np.sin(2 * np.pi * (400 + 50 * number) * times),
        )
        made.append((0.5 * kinds[number % 3]).astype(np.float32))
    return made

"""Logits to probabilities, in NumPy."""

from __future__ import annotations

import numpy as np

from pannsx.types import FloatArray


def sigmoid(logits: FloatArray) -> FloatArray:
    """Logits of any shape -> probabilities; by the hyperbolic tangent, which does not overflow."""
    probabilities: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return probabilities

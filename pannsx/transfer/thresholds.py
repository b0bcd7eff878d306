"""Thresholds of new classes, chosen on a validation part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pannsx.events import OperatingPoints, calibrate
from pannsx.transfer.experiment import Divide, Fitted


def calibrated(
    fitted: Fitted,
    divide: Divide,
    targets: NDArray[np.bool_],
    labels: Sequence[str],
    known: NDArray[np.bool_] | None = None,
) -> OperatingPoints | None:
    """The thresholds of the best F1 on the validation part of all clips, if there is one.

    Args:
        fitted: the trained network and head.
        divide: gives the validation part.
        targets: ``(N, K)``.
        labels: ``K`` names.
        known: ``(N, K)``, which targets are known; None: all.
    """
    _, held = divide(range(len(targets)))
    if not held:
        return None
    probabilities = expit(fitted.predict(held).astype(np.float64))
    return calibrate(targets[held], probabilities, labels, known=None if known is None else known[held])

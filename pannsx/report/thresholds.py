"""The thresholds of a page: one number that its slider moves, or those of each class."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from pannsx.events import EventSettings, OperatingPoints
from pannsx.events.operating_points import DEFAULT_THRESHOLD
from pannsx.events.thresholds import Threshold

LEAST_THRESHOLD = 0.05
MOST_THRESHOLD = 0.99


class PageThresholds(NamedTuple):
    """Thresholds a page begins with.

    Attributes:
        slider: initial position of the slider.
        own: thresholds of each class, with which the page begins; None: the slider's.
        name: name of the classes' own thresholds, ``""`` without them.
        origin: where these are from, as a sentence.
    """

    slider: float
    own: Threshold | None
    name: str
    origin: str


def page_thresholds(settings: EventSettings, points: OperatingPoints | None) -> PageThresholds:
    """The thresholds of the settings; without any, the operating points, else 0.5.

    Raises:
        ValueError: one number outside of the slider's range.
    """
    given = settings.threshold
    if given is None:
        given = DEFAULT_THRESHOLD if points is None else points
    if isinstance(given, (int, float, np.number)):
        if isinstance(given, bool) or not LEAST_THRESHOLD <= float(given) <= MOST_THRESHOLD:
            raise ValueError(
                f"threshold is {given}; a number from {LEAST_THRESHOLD} to {MOST_THRESHOLD}, the range of "
                "the page's slider, is needed"
            )
        return PageThresholds(float(given), None, "", "")
    calibrated = isinstance(given, (OperatingPoints, str, os.PathLike))
    rule = f" ({given.rule})" if isinstance(given, OperatingPoints) and given.rule else ""
    name = "Calibrated thresholds" if calibrated else "Given thresholds"
    kind = "calibrated" if calibrated else "given"
    return PageThresholds(
        DEFAULT_THRESHOLD, given, name, f"Each class begins with its own {kind} threshold{rule}."
    )

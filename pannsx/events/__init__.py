"""Sound event detection: from framewise probabilities to onset, offset and label.

:func:`detect` handles a whole recording, :class:`EventDetector` one in pieces;
:mod:`pannsx.events.calibration` finds the thresholds of each class from labelled data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.events.calibration import calibrate, frame_targets
from pannsx.events.detector import EventDetector, EventSettings, detect
from pannsx.events.event import Event
from pannsx.events.event_list import EventList
from pannsx.events.frames import frame_edges
from pannsx.events.operating_points import (
    OperatingPoint,
    OperatingPoints,
    read_operating_points,
    write_operating_points,
)
from pannsx.events.parents import hide_parents
from pannsx.events.super_classes import noisy_or, read_super_classes
from pannsx.events.tuning import Annotated, median_filter, tune_events
from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.events import formats as formats
else:
    __getattr__, __dir__ = attach(__name__, {}, ["formats"])

__all__ = [
    "Annotated",
    "Event",
    "EventDetector",
    "EventList",
    "EventSettings",
    "OperatingPoint",
    "OperatingPoints",
    "calibrate",
    "detect",
    "frame_edges",
    "frame_targets",
    "hide_parents",
    "median_filter",
    "noisy_or",
    "read_operating_points",
    "read_super_classes",
    "tune_events",
    "write_operating_points",
]

"""One sound event."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One sound event: a class, from ``onset_s`` to ``offset_s``.

    Attributes:
        label: the class.
        onset_s: begin in seconds.
        offset_s: end in seconds.
        probability: greatest probability of the class in the event's frames.
    """

    label: str
    onset_s: float
    offset_s: float
    probability: float

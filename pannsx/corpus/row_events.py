"""The events of rows: a detector by the settings of a stage and the operating points of its checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pannsx.events import Event, EventDetector, EventSettings
from pannsx.results import TaggingResult
from pannsx.tagger import AudioTagger


class RowEvents:
    """Finds the events of recordings.

    Args:
        tagger: the open network.
        settings: settings of the events; without a threshold, the operating points of the checkpoint apply.

    Raises:
        OSError, ValueError: as :class:`pannsx.events.EventDetector`.
    """

    def __init__(self, tagger: AudioTagger, settings: EventSettings | None) -> None:
        settings = settings or EventSettings()
        if settings.threshold is None:
            settings = replace(settings, threshold=tagger.operating_points)
        self._tagger = tagger
        self._settings = settings

    def detector(self) -> EventDetector:
        """A detector of all events of a recording; `chosen` leaves out the parents of the classes found."""
        grid = self._tagger._grid
        settings = replace(self._settings, leaves=False)
        detector = EventDetector(grid.label_set, grid.hop_s, settings, offset_s=grid.offset_s)
        if self._settings.leaves:
            detector.check_has_parents()
        return detector

    def chosen(self, detector: EventDetector, events: Sequence[Event]) -> list[Event]:
        """The events of a recording to keep, in order."""
        return detector.in_order(detector.without_parents(events) if self._settings.leaves else events)

    def of(self, result: TaggingResult) -> list[Event]:
        """The events of a result with frames."""
        detector = self.detector()
        return self.chosen(detector, [*detector.push(result._frames), *detector.close(result.duration_s)])

    def describe(self) -> dict[str, Any]:
        """Everything that the events depend on, except the frames, as plain values."""
        detector = self.detector()
        return {
            "labels": list(detector.labels) if detector.labels != self._tagger.labels else "all",
            "thresholds": digest(*(each.tobytes() for each in detector.thresholds)),
            "smoothing": digest(*(each.tobytes() for each in detector.smoothing)),
            "both ends": detector.both_ends,
            "leaves": self._settings.leaves,
        }


def digest(*parts: bytes) -> str:
    """SHA-256 of the parts together, in hexadecimal digits."""
    return hashlib.sha256(b"".join(parts)).hexdigest()

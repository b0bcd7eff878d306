"""Sound events in the formats of other programs: written, and where they hold truth, read.

:func:`write_events` and :func:`read_events` go by the ending of a file or by a name of
:data:`FORMATS`; scores by frame, which are no events, have :mod:`pannsx.events.formats.scores`.
"""

from __future__ import annotations

from pannsx.events.formats.recording import Recording
from pannsx.events.formats.registry import FORMATS, Format, format_of, read_events, write_events
from pannsx.events.formats.scores import read_scores, write_scores

__all__ = [
    "FORMATS",
    "Format",
    "Recording",
    "format_of",
    "read_events",
    "read_scores",
    "write_events",
    "write_scores",
]

"""Writing and reading sound events in the formats of other programs.

:func:`write_events` and :func:`read_events` choose the format by the file's extension or by a name of
:data:`FORMATS`; framewise scores are in :mod:`pannsx.events.formats.scores`.
"""

from __future__ import annotations

from pannsx.events.formats.recording import Recording
from pannsx.events.formats.registry import (
    FORMATS,
    Format,
    check_representable,
    format_of,
    read_events,
    suffix_of,
    write_events,
)
from pannsx.events.formats.scores import read_scores, write_scores

__all__ = [
    "FORMATS",
    "Format",
    "Recording",
    "check_representable",
    "format_of",
    "read_events",
    "read_scores",
    "suffix_of",
    "write_events",
    "write_scores",
]

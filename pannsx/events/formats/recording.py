"""Recordings and their events, and helpers shared by the readers of all formats."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from pannsx.events.event import Event
from pannsx.events.event_list import EventList

CERTAIN = 1.0
"""Probability of an event in a format without probabilities: an annotation."""

_SEPARATOR = re.compile(r"/|\\(?!udc[89a-f][0-9a-f])")
_EXTENSION = re.compile(r"\.[A-Za-z]\w{0,7}$")
_DIGITS = 6  # of a second: a microsecond, well below a sample


@dataclass(frozen=True)
class Recording:
    """The events of one recording.

    Attributes:
        name: name of its file.
        events: by onset; their probability is 1 in a format without probabilities.
        duration_s: its length in seconds; None if unknown.
    """

    name: str
    events: list[Event]
    duration_s: float | None = None

    @property
    def mids(self) -> dict[str, str]:
        """Machine ids by label, as far as the events know them: those of an ``EventList`` do."""
        return self.events.mids if isinstance(self.events, EventList) else {}

    @property
    def stem(self) -> str:
        """The name without folder and extension."""
        return PurePath(base_name(self.name)).stem


def base_name(path: str) -> str:
    r"""The last part of a path, of Windows too, whose lists are read everywhere: ``a\b.wav`` -> ``b.wav``.

    A backslash that escapes a byte of a name that is not text separates nothing.
    """
    return _SEPARATOR.split(path)[-1]


def base_stem(path: str) -> str:
    """The last part of a path without an extension; ``.1`` and the like are no extension."""
    return _EXTENSION.sub("", base_name(path))


def seconds(time_s: float) -> str:
    """A time as text: to the microsecond, without trailing zeros, but at least one digit after the point."""
    text = f"{time_s:.{_DIGITS}f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def probability(value: float) -> str:
    """A probability as text, to six significant digits."""
    return f"{value:.6g}"


def in_one_cell(text: str, what: str) -> str:
    """The text, if it fits into a cell of a table without quoting; otherwise ValueError."""
    if any(character in text for character in "\t\r\n"):
        raise ValueError(
            f"the {what} {text!r} contains a tab or line break, which this format cannot represent"
        )
    return text


def event(
    label: str, onset: str | float, offset: str | float, where: str, likely: str | float = CERTAIN
) -> Event:
    """An event from the cells of a file.

    Raises:
        ValueError: an invalid time, or an end before the begin; the message starts with ``where``.
    """
    try:
        onset_s, offset_s, value = float(onset), float(offset), float(likely)
    except ValueError:
        raise ValueError(
            f"{where}: onset {onset!r}, offset {offset!r} and probability {likely!r} are not numbers"
        ) from None
    if not (math.isfinite(offset_s) and 0 <= onset_s <= offset_s):
        raise ValueError(
            f"{where}: an event from {onset} to {offset} s; 0 <= onset <= offset in seconds is needed"
        )
    if not label:
        raise ValueError(f"{where}: an event without a label")
    return Event(label, onset_s, offset_s, value)


def gathered(
    rows: Iterable[tuple[str, Event | None]],
    durations: dict[str, float] | None = None,
    mids: dict[str, str] | None = None,
) -> list[Recording]:
    """Pairs of name and event, None for a recording without events -> recordings, in order of appearance."""
    found: dict[str, list[Event]] = {}
    for name, each in rows:
        events = found.setdefault(name, [])
        if each is not None:
            events.append(each)
    durations = durations or {}
    return [
        Recording(
            name,
            EventList(sorted(events, key=lambda one: one.onset_s), file=name, mids=mids),
            durations.get(name),
        )
        for name, events in found.items()
    ]


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """The non-blank lines of a text, with their numbers from 1."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line

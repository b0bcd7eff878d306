"""What every format holds: recordings and their events; and what their readers have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from pannsx.events.detector import Event

CERTAIN = 1.0
"""Probability of an event of a format that has none: what a person wrote down."""

_DIGITS = 6  # of a second: a microsecond, well below a sample


@dataclass(frozen=True)
class Recording:
    """The events of one recording.

    Attributes:
        name: of its file.
        events: by onset; their probability is 1 where a format knows none.
        duration_s: its length in seconds; None where a format does not say.
    """

    name: str
    events: list[Event]
    duration_s: float | None = None

    @property
    def stem(self) -> str:
        """The name without folder and ending."""
        return PurePath(self.name).stem


def seconds(time_s: float) -> str:
    """A time as text: to the microsecond, without superfluous zeros, but one digit after the point."""
    text = f"{time_s:.{_DIGITS}f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def probability(value: float) -> str:
    """A probability as text, to six significant digits."""
    return f"{value:.6g}"


def in_one_cell(text: str, what: str) -> str:
    """The text, if it fits into a cell of a table that has no quoting; ValueError else."""
    if any(character in text for character in "\t\r\n"):
        raise ValueError(
            f"the {what} {text!r} has a tab or a line break in it, which this format cannot hold"
        )
    return text


def event(
    label: str, onset: str | float, offset: str | float, where: str, likely: str | float = CERTAIN
) -> Event:
    """An event from the cells of a file.

    Raises:
        ValueError: times that are no times, or an end before the begin; ``where`` says where.
    """
    try:
        onset_s, offset_s, value = float(onset), float(offset), float(likely)
    except ValueError:
        raise ValueError(
            f"{where}: onset {onset!r}, offset {offset!r} and probability {likely!r} are no numbers"
        ) from None
    if not (math.isfinite(offset_s) and 0 <= onset_s <= offset_s):
        raise ValueError(
            f"{where}: an event from {onset} to {offset} s; 0 <= onset <= offset in seconds is needed"
        )
    if not label:
        raise ValueError(f"{where}: an event without a label")
    return Event(label, onset_s, offset_s, value)


def gathered(
    rows: Iterable[tuple[str, Event | None]], durations: dict[str, float] | None = None
) -> list[Recording]:
    """Name and event, or None for a recording without any -> recordings, by when they are first named."""
    found: dict[str, list[Event]] = {}
    for name, each in rows:
        events = found.setdefault(name, [])
        if each is not None:
            events.append(each)
    durations = durations or {}
    return [
        Recording(name, sorted(events, key=lambda one: one.onset_s), durations.get(name))
        for name, events in found.items()
    ]


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text that are not blank, with their numbers from 1 on."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line

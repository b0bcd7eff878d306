"""Formats with one line per event or recording and no header: Audacity label tracks, RTTM, JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pannsx.events.event import Event
from pannsx.events.formats.recording import (
    CERTAIN,
    Recording,
    event,
    gathered,
    in_one_cell,
    numbered,
    probability,
    seconds,
)

_NOTHING = "<NA>"


def audacity_lines(recording: Recording) -> Iterator[str]:
    """``onset offset label``, separated by tabs, for File, Import, Labels."""
    for each in recording.events:
        label = in_one_cell(each.label, "label")
        yield f"{seconds(each.onset_s)}\t{seconds(each.offset_s)}\t{label}\n"


def read_audacity(text: str, source: str) -> list[Recording]:
    """One label track; lines of spectral selections, marked by a backslash, are skipped."""
    events = []
    for number, line in numbered(text):
        if line.startswith("\\"):
            continue
        cells = line.split("\t")
        where = f"{source}, line {number}"
        if len(cells) != 3:
            raise ValueError(
                f"{where}: {len(cells)} cells; onset, offset and label, separated by tabs, are needed"
            )
        events.append(event(cells[2].strip(), cells[0], cells[1], where))
    return gathered([(source, each) for each in events]) or [Recording(source, [])]


def rttm_lines(recording: Recording) -> Iterator[str]:
    """One ``SPEAKER`` line per event, with the label as speaker: tools read no other type.

    White space separates cells, so that it is replaced by ``_`` in names and labels.
    """
    name = _joined(recording.name)
    for each in recording.events:
        times = f"{seconds(each.onset_s)} {seconds(each.offset_s - each.onset_s)}"
        rest = f"{_NOTHING} {_NOTHING} {_joined(each.label)} {probability(each.probability)} {_NOTHING}"
        yield f"SPEAKER {name} 1 {times} {rest}\n"


def read_rttm(text: str, source: str) -> list[Recording]:
    """The lines of type SPEAKER; other types and comments are skipped."""

    def each() -> Iterator[tuple[str, Event]]:
        for number, line in numbered(text):
            cells = line.split()
            if cells[0] != "SPEAKER":
                continue
            where = f"{source}, line {number}"
            if len(cells) < 8:
                raise ValueError(
                    f"{where}: {len(cells)} cells; an RTTM line has 10, with the label in the eighth"
                )
            likely = cells[8] if len(cells) > 8 and cells[8] != _NOTHING else CERTAIN
            try:
                offset = float(cells[3]) + float(cells[4])
            except ValueError:
                raise ValueError(
                    f"{where}: onset {cells[3]!r} and duration {cells[4]!r} are not numbers"
                ) from None
            yield cells[1], event(cells[7], cells[3], offset, where, likely)

    return gathered(each())


def json_lines(recording: Recording) -> Iterator[str]:
    """One object per recording and line: ``file``, ``duration_s``, ``events``."""
    yield from json_object(recording)
    yield "\n"


def json_object(recording: Recording) -> Iterator[str]:
    """One object per recording: ``file``, ``duration_s``, ``events``."""
    events = [
        {
            "onset_s": round(each.onset_s, 6),
            "offset_s": round(each.offset_s, 6),
            "label": each.label,
            "mid": recording.mids.get(each.label),
            "probability": float(probability(each.probability)),
        }
        for each in recording.events
    ]
    content = {"file": recording.name, "duration_s": recording.duration_s, "events": events}
    yield json.dumps(content, ensure_ascii=False)


def read_json_lines(text: str, source: str) -> list[Recording]:
    """Objects in the form of :func:`json_lines`; ``duration_s``, ``mid`` and ``probability`` are optional."""

    def each() -> Iterator[tuple[str, Any]]:
        for number, line in numbered(text):
            where = f"{source}, line {number}"
            try:
                yield where, json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{where} is not JSON: {error}") from error

    return _read_objects(each())


def read_json(text: str, source: str) -> list[Recording]:
    """An array of such objects."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not JSON: {error}") from error
    if not isinstance(found, list):
        raise ValueError(f"{source}: an array of objects with file and events is needed")
    return _read_objects((f"{source}, object {number}", each) for number, each in enumerate(found, start=1))


def _read_objects(objects: Iterable[tuple[str, Any]]) -> list[Recording]:
    """Places and objects -> recordings."""
    rows: list[tuple[str, Event | None]] = []
    durations: dict[str, float] = {}
    mids: dict[str, str] = {}
    for where, content in objects:
        try:
            name, events = str(content["file"]), list(content["events"])
            rows.append((name, None))
            for each in events:
                likely = each.get("probability", CERTAIN)
                found = event(str(each["label"]), each["onset_s"], each["offset_s"], where, likely)
                rows.append((name, found))
                if each.get("mid") is not None:
                    mids[found.label] = str(each["mid"])
            if content.get("duration_s") is not None:
                durations[name] = float(content["duration_s"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{where}: an object with file and events, each with label, onset_s and offset_s, is needed "
                f"({error!r})"
            ) from error
    return gathered(rows, durations, mids)


def _joined(text: str) -> str:
    return re.sub(r"\s", "_", text) or _NOTHING

"""JAMS, the JSON of music and audio annotations: one recording, its events in the namespace ``tag_open``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pannsx.events.formats.recording import CERTAIN, Recording, event, gathered
from pannsx.version import __version__

_JAMS_VERSION = "0.3.4"
_NAMESPACES = ("tag_open", "segment_open", "sound_event", "scaper")


def jams_lines(recording: Recording) -> Iterator[str]:
    """The lines of the whole file."""
    # The format requires a duration; if it is unknown, the end of the last event is a lower bound.
    known = [each.offset_s for each in recording.events]
    duration_s = max(known, default=0.0) if recording.duration_s is None else recording.duration_s
    observations = [
        {
            "time": round(each.onset_s, 6),
            "duration": round(each.offset_s - each.onset_s, 6),
            "value": each.label,
            "confidence": float(f"{each.probability:.6g}"),
        }
        for each in recording.events
    ]
    about = {
        "curator": {"name": "", "email": ""},
        "annotator": {},
        "version": "",
        "corpus": "",
        "annotation_tools": f"pannsx {__version__}",
        "annotation_rules": "",
        "validation": "",
        "data_source": "program",
    }
    annotation = {
        "annotation_metadata": about,
        "namespace": "tag_open",
        "data": observations,
        "sandbox": {},
        "time": 0.0,
        "duration": duration_s,
    }
    content = {
        "annotations": [annotation],
        "file_metadata": {
            "title": recording.name,
            "artist": "",
            "release": "",
            "duration": duration_s,
            "identifiers": {},
            "jams_version": _JAMS_VERSION,
        },
        "sandbox": {},
    }
    yield json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_jams(text: str, source: str) -> list[Recording]:
    """The event annotations of all annotators together; other namespaces are skipped."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not JSON: {error}") from error
    try:
        about = content["file_metadata"]
        name = str(about.get("title") or source)
        events = [
            _event(each, source)
            for annotation in content["annotations"]
            if annotation["namespace"] in _NAMESPACES
            for each in annotation["data"]
        ]
        durations = {} if about.get("duration") is None else {name: float(about["duration"])}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{source} is JSON, but not a JAMS file: {error!r}") from error
    return gathered([(name, None), *((name, each) for each in events)], durations)


def _event(observation: dict[str, Any], source: str) -> Any:
    value = observation["value"]
    label = str(value["label"]) if isinstance(value, dict) else str(value)
    confidence = observation.get("confidence")
    offset_s = float(observation["time"]) + float(observation["duration"])
    likely = CERTAIN if confidence is None else confidence
    return event(label, observation["time"], offset_s, source, likely)

"""A self-contained HTML page with a recording, its pictures and its events."""

from __future__ import annotations

import html
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from pannsx.events import EventSettings, frame_edges
from pannsx.report.overview import Overview, overview_of
from pannsx.report.picture import data_uri, levels_of_log_mel, png
from pannsx.report.scores import pack_scores
from pannsx.report.sound import playable
from pannsx.types import Source

if TYPE_CHECKING:
    from pannsx.report.result import Result

LEAST_THRESHOLD = 0.05
MOST_THRESHOLD = 0.99
_WAVE_HEIGHT = 100


def page_of(
    result: Result, settings: EventSettings, audio: Source | None, source_rate: int | None, *, title: str
) -> str:
    """The text of the page.

    Raises:
        AudioError: the audio cannot be used.
        ValueError: no frames, a result of another recording, or a threshold out of range.
    """
    if result.framewise is None:
        raise ValueError("there are no frames to show; call inference without framewise=False")
    threshold = settings.threshold
    if not isinstance(threshold, (int, float)) or not LEAST_THRESHOLD <= threshold <= MOST_THRESHOLD:
        raise ValueError(
            f"threshold is {threshold}; a number from {LEAST_THRESHOLD} to {MOST_THRESHOLD}, the range of "
            "the page's slider, is needed"
        )
    frame_edges(
        len(result.framewise), result.hop_s, offset_s=result.offset_s, duration_s=result.duration_s
    )  # raises an error if the frames do not fit the duration
    player, pictures = "", ""
    if audio is not None:
        seen = overview_of(audio, source_rate)
        _check_length(seen, result)
        player = f'<audio id="audio" controls preload="auto" src="{playable(audio, source_rate)}"></audio>'
        pictures = _waveform(seen) + _log_mel(seen)
    data = {
        "name": title,
        "duration_s": result.duration_s,
        "hop_s": result.hop_s,
        "offset_s": result.offset_s,
        "threshold": threshold,
        "least_threshold": LEAST_THRESHOLD,
        "most_threshold": MOST_THRESHOLD,
        "max_gap_s": settings.max_gap_s,
        "min_duration_s": settings.min_duration_s,
        **pack_scores(result.framewise, result.labels, LEAST_THRESHOLD),
    }
    return _filled(
        _part("page.html"),
        {
            "title": html.escape(title),
            "subtitle": html.escape(_subtitle(result)),
            "style": _part("page.css"),
            "player": player,
            "pictures": pictures,
            "note": html.escape(_note(result, data)),
            "data": _json(data),
            "events_script": _part("events.js"),
            "page_script": _part("page.js"),
        },
    )


def _check_length(seen: Overview, result: Result) -> None:
    if abs(seen.duration_s - result.duration_s) > max(0.1, 2 * result.hop_s):
        raise ValueError(
            f"the audio lasts {seen.duration_s:.2f} s and the result is of {result.duration_s:.2f} s; give "
            "the audio of this result, and for an array its source_rate"
        )


def _subtitle(result: Result) -> str:
    best = ", ".join(f"{label} {probability:.2f}" for label, probability in result.top(3))
    return f"{result.duration_s:.1f} s. Whole recording: {best}"


def _note(result: Result, data: dict[str, Any]) -> str:
    trained = (
        "the network was trained on frames"
        if result.frame_source == "native"
        else "the network was trained on clips; its head is applied to each frame and its neighbours"
    )
    n_left_out = data["n_classes_left_out"]
    left_out = f" This page leaves out {n_left_out} less probable classes." if n_left_out else ""
    return (
        f"A frame every {result.hop_s:.3g} s ({trained}). Classes below {LEAST_THRESHOLD:g} throughout are "
        f"not shown.{left_out}"
    )


def _waveform(seen: Overview) -> str:
    """Least and greatest sample of each column as one closed outline, stretched to the timeline."""
    loudest = max(float(np.abs(seen.peaks).max()), 1e-4)
    y = np.rint((0.5 - 0.48 * seen.peaks / loudest) * _WAVE_HEIGHT * 10) / 10
    there = [f"{i} {value:g}" for i, value in enumerate(y[:, 1])]
    back = [f"{i} {value:g}" for i, value in reversed(list(enumerate(y[:, 0])))]
    width = seen.duration_s / seen.column_s
    return (
        f'<svg id="waveform" viewBox="-0.5 0 {width:.3f} {_WAVE_HEIGHT}" preserveAspectRatio="none" '
        f'aria-hidden="true"><path d="M{"L".join(there + back)}Z"/></svg>'
    )


def _log_mel(seen: Overview) -> str:
    image = data_uri(png(levels_of_log_mel(seen.log_mel)), "image/png")
    # The last column may extend past the end of the recording; the timeline clips it.
    width = 100 * len(seen.log_mel) * seen.column_s / seen.duration_s
    return f'<img id="log-mel" src="{image}" alt="" style="width: {width:.4f}%; max-width: none">'


def _json(data: dict[str, Any]) -> str:
    """JSON that is safe in a script element, whatever is in a label or name."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _part(name: str) -> str:
    return resources.files("pannsx.report").joinpath(name).read_text(encoding="utf-8")


def _filled(template: str, parts: dict[str, str]) -> str:
    """The template with ``{{name}}`` replaced, in one pass: inserted text is not searched again."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)

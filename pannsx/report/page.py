"""A self-contained HTML page with a recording, its pictures and its events."""

from __future__ import annotations

import base64
import html
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from pannsx.events import Event, EventDetector, EventSettings, OperatingPoints, frame_edges
from pannsx.events.parents import SHORTEST_REST_S, SLACK_S
from pannsx.readable import duration
from pannsx.report.details import origin_facts, source_facts
from pannsx.report.groups import Groups, groups_of
from pannsx.report.overview import Overview, axis_of, overview_of
from pannsx.report.picture import data_uri, levels_of_log_mel, png
from pannsx.report.result import Grid, Result
from pannsx.report.scores import Scores
from pannsx.report.sound import CODECS, Codec, Player, Sound, check_choice, encode, link_to, media_type
from pannsx.report.template import filled, json_in_page, part, source_hash, write_page
from pannsx.report.thresholds import LEAST_THRESHOLD, MOST_THRESHOLD, page_thresholds
from pannsx.types import FloatArray

_WAVE_HEIGHT = 100
_SOUND_BYTES = 3_000_000  # in one script element; a multiple of 3, so that base64 needs no padding within
_SPOOLED_BYTES = 32_000_000  # of encoded audio in memory; the rest on disk
_MEDIA = {"embed": "blob:", "link": "'self' file:", "none": "'none'"}


class PageMaker:
    """Makes the page of one recording from its frames, block by block; memory grows slowly with its length.

    Args:
        grid: times and labels of the frames.
        settings: settings of the events: thresholds, ``max_gap_s`` and ``min_duration_s``.
        points: operating points of the checkpoint, the default of the thresholds.
        player: ``"embed"``: the page holds a small copy; ``"link"``: it plays the file; ``"none"``.
        codec: codec of the copy.
        groups: groups of the classes, shown by colour; None: the top of AudioSet's tree.

    Raises:
        OSError: a file of thresholds cannot be read.
        ValueError: thresholds that the page cannot show, or an unknown ``player`` or ``codec``.
    """

    def __init__(
        self,
        grid: Grid,
        settings: EventSettings,
        points: OperatingPoints | None,
        *,
        player: Player = "embed",
        codec: Codec = "opus",
        groups: Groups | None = None,
    ) -> None:
        check_choice(player, tuple(_MEDIA), "player")
        check_choice(codec, CODECS, "codec")
        self._grid, self._settings = grid, settings
        self._player, self._codec = player, codec
        self._groups = groups_of(grid.labels) if groups is None else groups
        self._thresholds = page_thresholds(settings, points)
        self._scores = Scores(np.full(len(grid.labels), LEAST_THRESHOLD, np.float32))
        # Events with thresholds and smoothing of each class are found here, not by the page's script.
        self._detector: EventDetector | None = None
        self._events: list[Event] = []
        if self._thresholds.own is not None:
            settings = replace(settings, threshold=self._thresholds.own)
            self._detector = EventDetector(grid.labels, grid.hop_s, settings, offset_s=grid.offset_s)

    def push(self, framewise: FloatArray) -> None:
        """``(n, K)`` probabilities of the next frames."""
        self._scores.push(framewise)
        if self._detector is not None:
            self._events += self._detector.push(framewise)

    def write(self, result: Result, path: Path, sound: Sound | None, *, title: str) -> None:
        """Write the page of the frames pushed so far; ``result`` is of the whole recording.

        Raises:
            AudioError: the audio cannot be used.
            OSError: the page cannot be written.
            ValueError: a result of another recording.
        """
        frame_edges(
            self._scores.n_frames, result.hop_s, offset_s=result.offset_s, duration_s=result.duration_s
        )  # raises an error if the frames do not fit the duration
        if self._detector is not None:
            self._events = self._detector.in_order([*self._events, *self._detector.close(result.duration_s)])
        seen = None
        if sound is not None:
            seen = overview_of(sound)
            _check_length(seen, result)
        with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as copy:
            audio = self._write_sound(sound, seen, copy, path)
            write_page(self._pieces(result, seen, sound, audio, copy, title), path)

    def _write_sound(
        self, sound: Sound | None, seen: Overview | None, copy: IO[bytes], path: Path
    ) -> dict[str, Any] | None:
        """Facts about the player for its script; None without one."""
        if sound is None or seen is None or self._player == "none":
            return None
        if self._player == "link":
            return {"link": link_to(sound, path), "start_s": sound.selection.start_s}
        loudest = float(np.abs(seen.peaks).max(initial=0.0))
        rate = encode(sound, copy, self._codec, gain=1 / max(1.0, loudest))
        return {"type": media_type(self._codec), "start_s": 0.0, "rate": rate}

    def _pieces(
        self,
        result: Result,
        seen: Overview | None,
        sound: Sound | None,
        audio: dict[str, Any] | None,
        copy: IO[bytes],
        title: str,
    ) -> Iterator[str]:
        scripts = {name: part(f"{name}.js") for name in ("events", "formats", "page")}
        data = self._data(result, audio, title)
        pictures = "" if seen is None else _waveform(seen) + _log_mel(seen)
        facts = [
            *source_facts(sound),
            ("Length", duration(result.duration_s)),
            *origin_facts(result.model),
            ("Thresholds", self._threshold_fact()),
            ("Frames", _frames_fact(result)),
            ("Audio", self._audio_fact(audio, title)),
        ]
        script = "\n" + "\n".join(scripts.values()) + "\n"
        parts = {
            "title": html.escape(title),
            "subtitle": html.escape(duration(result.duration_s)),
            "tags": _tags(result),
            "policy": (
                f"default-src 'none'; img-src data:; media-src {_MEDIA[self._player]}; "
                f"style-src 'unsafe-inline'; script-src {source_hash(script)}"
            ),
            "style": part("page.css"),
            "unit": "" if result.duration_s >= 60 else " (s)",
            "player": '<audio id="audio" controls preload="metadata"></audio>' if audio else "",
            "pictures": pictures,
            "facts": "".join(map(_fact, facts)),
            "note": html.escape(_note(data)),
            "data": json_in_page(data),
            "sound": _sound_elements(copy) if audio and "type" in audio else "",
            "script": script,
        }
        return filled(part("page.html"), parts)

    def _data(self, result: Result, audio: dict[str, Any] | None, title: str) -> dict[str, Any]:
        own = self._thresholds
        place = {label: k for k, label in enumerate(result.labels)}
        own_events = [
            [place[event.label], event.onset_s, event.offset_s, event.probability] for event in self._events
        ]
        needed = {place[event.label] for event in self._events}
        packed = self._scores.packed(result.labels, result.duration_s, needed)
        groups = self._groups
        for each in packed["classes"]:
            k = each["place"]
            if groups.of[k] is not None:
                each["group"] = groups.of[k]
            if groups.above[k]:
                each["above"] = list(groups.above[k])
            if result.label_ids is not None:
                each["mid"] = result.label_ids[k]
        return {
            "name": title,
            "duration_s": result.duration_s,
            "hop_s": result.hop_s,
            "offset_s": result.offset_s,
            "threshold": own.slider,
            "least_threshold": LEAST_THRESHOLD,
            "most_threshold": MOST_THRESHOLD,
            "own_thresholds": own.name,
            "own_events": own_events,
            "max_gap_s": self._settings.max_gap_s or 0.0,
            "min_duration_s": self._settings.min_duration_s or 0.0,
            "shortest_rest_s": SHORTEST_REST_S,
            "rest_slack_s": SLACK_S,
            "groups": list(groups.names),
            "audio": audio,
            **packed,
        }

    def _threshold_fact(self) -> str:
        settings, own = self._settings, self._thresholds
        text = own.origin or f"{own.slider:g} for all classes at first."
        if settings.max_gap_s:
            text += f" Events at most {settings.max_gap_s:g} s apart are joined."
        if settings.min_duration_s:
            text += f" Events below {settings.min_duration_s:g} s are left out."
        return text

    def _audio_fact(self, audio: dict[str, Any] | None, title: str) -> str:
        if audio is None:
            return "none in this page"
        if "link" in audio:
            return f"played from {title}, which is not in this page"
        kind = {"opus": "Opus", "mp3": "MP3"}[self._codec]
        return f"{kind}, {audio['rate'] / 1000:g} kHz, mono: what the network heard, compressed for this page"


def _check_length(seen: Overview, result: Result) -> None:
    if abs(seen.duration_s - result.duration_s) > max(0.1, 2 * result.hop_s):
        raise ValueError(
            f"the audio lasts {seen.duration_s:.2f} s and the result is of {result.duration_s:.2f} s; give "
            "the audio of this result, and for an array its source_rate"
        )


def _fact(fact: tuple[str, str]) -> str:
    name, value = map(html.escape, fact)
    return f"<div><dt>{name}</dt><dd>{value}</dd></div>"


def _tags(result: Result) -> str:
    return "".join(
        f"<li>{html.escape(label)} <b>{probability:.2f}</b></li>" for label, probability in result.top(5)
    )


def _frames_fact(result: Result) -> str:
    trained = (
        "the network was trained on frames"
        if result.frame_source == "native"
        else "the network was trained on clips; its head is applied to each frame and its neighbours"
    )
    return f"one every {result.hop_s:.3g} s; {trained}"


def _note(data: dict[str, Any]) -> str:
    n_left_out = data["n_classes_left_out"]
    left_out = f" This page leaves out {n_left_out} less probable classes." if n_left_out else ""
    return f"Classes below {LEAST_THRESHOLD:g} throughout are not in this page.{left_out}"


def _sound_elements(copy: IO[bytes]) -> Iterator[str]:
    """The encoded audio in elements of bounded size, which the page's script puts together."""
    copy.seek(0)
    while block := copy.read(_SOUND_BYTES):
        yield f'<script type="text/plain" class="sound">{base64.b64encode(block).decode("ascii")}</script>\n'


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
    marks = "".join(
        f'<span style="bottom: {max(0.0, 100 * height - 4):.2f}%">{text}</span>' for text, height in axis_of()
    )
    return (
        f'<div id="spectrogram"><img id="log-mel" src="{image}" alt="" style="width: {width:.4f}%; '
        f'max-width: none"><div class="axis" aria-hidden="true">{marks}</div></div>'
    )

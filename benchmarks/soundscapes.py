"""Soundscapes of several minutes with known events, composed from ESC-10 clips over noise.

ESC-10's folder is the user's: ``index.csv`` (``file, category, fold``), its clips, and
``audioset_labels.json``, the AudioSet labels of each category. The event of a clip is its audible part: ESC
pads short sounds with silence, and a padded bark is not an event of five seconds.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pannsx import audio
from pannsx.events import Event

RATE = 32_000
LABELS_FILE = "audioset_labels.json"

_FRAME = RATE // 50
_AUDIBLE_DB = -40.0  # relative to the loudest 20 ms of a clip: below it is silence
_LONGEST_SILENCE_S = 0.5  # within an event; longer silences separate events
_SHORTEST_S = 0.1
_NOISE_RMS = 0.005
_PEAK = 0.99

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sound:
    """One audible stretch of a clip.

    Attributes:
        category: class of the sound.
        waveform: ``(S,)`` at 32 kHz.
    """

    category: str
    waveform: Samples


@dataclass(frozen=True, slots=True)
class Scene:
    """Parameters of the composition of soundscapes.

    Attributes:
        duration_s: length of a soundscape.
        snr_db: mean power of an event over that of the noise.
        overlap: maximum number of simultaneous events.
        repetition: probability of another repetition of a sound, half a second after each end.
        pause_s: mean time from an event's end to the next onset, in each of ``overlap`` layers.
    """

    duration_s: float = 180.0
    snr_db: float = 12.0
    overlap: int = 2
    repetition: float = 0.3
    pause_s: float = 6.0


@dataclass(frozen=True, slots=True)
class Soundscape:
    """A soundscape and its events.

    Attributes:
        name: name of the recording.
        waveform: ``(S,)`` at 32 kHz.
        events: reference events in order of onset.
    """

    name: str
    waveform: Samples
    events: tuple[Event, ...]


def read_sounds(folder: Path, folds: Iterable[int]) -> list[Sound]:
    """The sounds of all clips of some folds, in the order of the index.

    Raises:
        OSError, AudioError: the folder is not ESC-10's, or a clip cannot be read.
    """
    wanted = {str(fold) for fold in folds}
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] in wanted]
    return [
        Sound(row["category"], part)
        for row in rows
        for part in audible_parts(audio.load(folder / row["file"], RATE).waveform)
    ]


def read_categories(folder: Path) -> dict[str, tuple[str, ...]]:
    """The categories, and the AudioSet labels of each."""
    content = json.loads((folder / LABELS_FILE).read_text("utf-8"))
    return {category: tuple(labels) for category, labels in content.items()}


def audible_parts(waveform: Samples) -> list[Samples]:
    """``(S,)`` of a clip -> its audible stretches, without the silence around and long silence between."""
    n_frames = len(waveform) // _FRAME
    power = np.square(waveform[: n_frames * _FRAME].reshape(n_frames, _FRAME), dtype=np.float64).mean(axis=1)
    if n_frames == 0 or power.max() == 0:
        return []
    heard = np.flatnonzero(power >= power.max() * 10 ** (_AUDIBLE_DB / 10))
    gaps = np.flatnonzero(np.diff(heard) * _FRAME > _LONGEST_SILENCE_S * RATE)
    firsts, lasts = heard[np.append(0, gaps + 1)], heard[np.append(gaps, len(heard) - 1)]
    parts = [
        waveform[first * _FRAME : (last + 1) * _FRAME] for first, last in zip(firsts, lasts, strict=True)
    ]
    return [part for part in parts if len(part) >= _SHORTEST_S * RATE]


def compose(sounds: list[Sound], scene: Scene, seed: int) -> Soundscape:
    """A soundscape; the same for the same arguments.

    Each of ``overlap`` layers plays one sound after another, with pauses of random length between them, over
    pink noise. Sounds of one category never overlap, as the limits of their common event would be ambiguous.
    """
    rng = np.random.default_rng(seed)
    n_samples = round(scene.duration_s * RATE)
    mixed = _NOISE_RMS * pink_noise(n_samples, rng)
    events: list[Event] = []
    for _ in range(scene.overlap):
        at_s = float(rng.exponential(scene.pause_s))
        sound = sounds[rng.integers(len(sounds))]
        while at_s + (length_s := len(sound.waveform) / RATE) < scene.duration_s:
            if all(
                event.label != sound.category or event.offset_s < at_s or event.onset_s > at_s + length_s
                for event in events
            ):
                begin = round(at_s * RATE)
                rms = float(np.sqrt(np.square(sound.waveform, dtype=np.float64).mean()))
                gain = _NOISE_RMS * 10 ** (scene.snr_db / 20) / rms
                mixed[begin : begin + len(sound.waveform)] += gain * sound.waveform
                events.append(Event(sound.category, begin / RATE, begin / RATE + length_s, 1.0))
            if rng.random() < scene.repetition:
                at_s += length_s + 0.5
            else:
                at_s += length_s + float(rng.exponential(scene.pause_s))
                sound = sounds[rng.integers(len(sounds))]
    peak = float(np.abs(mixed).max())
    waveform = (mixed * min(1.0, _PEAK / peak)).astype(np.float32)
    return Soundscape(f"soundscape-{seed}", waveform, tuple(sorted(events, key=lambda each: each.onset_s)))


def pink_noise(n_samples: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """``(S,)`` noise of unit RMS, with power falling as 1/f from 20 Hz on."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequencies_hz = np.fft.rfftfreq(n_samples, 1 / RATE)
    spectrum[frequencies_hz < 20] = 0
    spectrum /= np.sqrt(np.maximum(frequencies_hz, 20))
    noise = np.fft.irfft(spectrum, n_samples)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))

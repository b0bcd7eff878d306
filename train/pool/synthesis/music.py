"""Instruments, drums and songs: melodies, chords and beats drawn by seeded generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.pool.synthesis.midi import DRUM_CHANNEL, Score, note, play, program

N_PROGRAMS = 128
HELD_OUT = frozenset({4, 13, 22, 27, 35, 41, 57, 66, 74, 84, 91, 105, 114})
"""General MIDI programs of the valid split."""

_LOWEST_KEYS = (36, 55, 36, 36, 28, 43, 41, 50, 60, 50, 50, 50, 52, 52, 45, 48)  # of each family of eight
_SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 4, 7, 9),
    (0, 3, 5, 6, 7, 10),
    (0, 2, 3, 5, 7, 9, 10),
)
_MANNERS = {"fluid": ("melody", "chords", "held"), "musescore": ("melody", "arpeggio")}

_CLIP_S = 5.0
_SONG_S = 16.0

# Keys of General MIDI's drum kit.
_KICK, _SNARE, _HAT, _OPEN_HAT, _CRASH = 36, 38, 42, 46, 49
_TOMS = (50, 48, 45, 43)
_KITS = (0, 8, 16, 24, 25, 40, 48)

_BEATS = {  # sixteen steps of kick, snare and hat
    "rock": ("x...x...x.x.x...", "....x.......x...", "x.x.x.x.x.x.x.x."),
    "funk": ("x..x..x...x..x..", "....x..x.x..x..x", "xxxxxxxxxxxxxxxx"),
    "techno": ("x...x...x...x...", "............x...", "..x...x...x...x."),
    "reggae": ("........x.......", "........x.......", "x.x.x.x.x.x.x.x."),
    "swing": ("x.......x.......", "......x.......x.", "x...x.xxx...x.xx"),
    "march": ("x.......x.......", "x.xxx.xxx.xxxxxx", "................"),
    "breaks": ("x.x.......xx....", "....x..x.x..x..x", "x.x.x.x.x.x.x.x."),
    "none": ("................",) * 3,
}


class Style(NamedTuple):
    """Parameters of a style's songs.

    Attributes:
        beat: name of the beat.
        kit: drum kit.
        tempi: range of beats a minute, the upper end exclusive.
        bass, chords, lead: programs to choose from.
    """

    beat: str
    kit: int
    tempi: tuple[int, int]
    bass: tuple[int, ...]
    chords: tuple[int, ...]
    lead: tuple[int, ...]


STYLES = {
    "rock": Style("rock", 16, (110, 150), (33, 34), (29, 30), (29, 30, 18)),
    "pop": Style("rock", 0, (95, 125), (33, 39), (4, 24, 88), (80, 52, 11)),
    "funk": Style("funk", 8, (95, 115), (36, 37), (7, 28), (61, 65)),
    "jazz": Style("swing", 40, (110, 180), (32,), (0, 26), (65, 66, 59, 11)),
    "techno": Style("techno", 25, (125, 140), (38, 39), (81, 90), (80, 81)),
    "drum and bass": Style("breaks", 24, (165, 176), (38,), (89, 95), (81, 87)),
    "hip hop": Style("breaks", 25, (80, 96), (38, 33), (4, 5), (80, 73)),
    "reggae": Style("reggae", 0, (70, 85), (33,), (27, 16), (22, 66)),
    "country": Style("rock", 0, (100, 130), (32,), (25,), (110, 105, 22)),
    "strings": Style("none", 48, (60, 100), (42, 43), (48, 49), (40, 68, 73)),
    "orchestra": Style("none", 48, (80, 130), (58, 43), (48, 61), (56, 60, 71)),
    "piano": Style("none", 0, (60, 120), (0,), (0,), (0,)),
    "guitar": Style("none", 0, (80, 120), (24,), (24,), (24, 25)),
    "organ": Style("none", 0, (50, 80), (19,), (19,), (19, 20)),
    "ambient": Style("none", 0, (40, 60), (89,), (88, 91, 94, 95), (92, 98, 100)),
    "choir": Style("none", 0, (50, 80), (52,), (52, 53), (53, 54)),
    "folk": Style("none", 0, (100, 130), (32,), (21, 24), (21, 72, 40)),
    "celtic": Style("none", 0, (110, 140), (46,), (46,), (78, 109, 110)),
    "march": Style("march", 48, (105, 120), (58,), (61,), (56, 72)),
    "indian": Style("none", 0, (70, 110), (104,), (104,), (104, 111)),
    "music box": Style("none", 0, (70, 110), (10,), (10,), (10, 9)),
    "latin": Style("swing", 0, (100, 130), (32,), (0, 24), (56, 61, 12)),
    "synth": Style("techno", 24, (100, 125), (38, 87), (50, 51), (82, 84)),
    "metal": Style("breaks", 16, (150, 190), (34,), (30,), (30,)),
}


def instruments(font: str, held_out: bool) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Five seconds of every General MIDI program, in each manner of playing."""
    jobs = [
        (number, manner)
        for number in range(N_PROGRAMS)
        if (number in HELD_OUT) == held_out
        for manner in _MANNERS[font]
    ]
    scores = [
        _phrase(number, manner, np.random.default_rng([number, place]))
        for place, (number, manner) in enumerate(jobs)
    ]
    for (number, manner), waveform in zip(jobs, play(font, scores, _CLIP_S), strict=True):
        yield f"program {number} {manner}", waveform


def drums(font: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Beats on every kit, and single drums."""
    names, scores = [], []
    for kit in _KITS:
        for beat in list(_BEATS)[:-1]:
            rng = np.random.default_rng([kit, len(beat)])
            names.append(f"kit {kit} {beat}")
            scores.append(_beat(beat, _CLIP_S, int(rng.integers(80, 150)), kit, rng))
        for key in range(27, 88) if kit == 0 else range(35, 60, 5):
            names.append(f"kit {kit} key {key}")
            scores.append(_hits(key, kit, np.random.default_rng([kit, key])))
    yield from zip(names, play(font, scores, _CLIP_S), strict=True)


def songs(font: str, first: int, count: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Sixteen seconds of songs ``first`` to ``first + count - 1`` of every style."""
    jobs = [(style, number) for number in range(first, first + count) for style in STYLES]
    scores = [
        _song(STYLES[style], _SONG_S, np.random.default_rng([number, len(style), ord(style[0])]))
        for style, number in jobs
    ]
    for (style, number), waveform in zip(jobs, play(font, scores, _SONG_S), strict=True):
        yield f"{style} {number}", waveform


def _phrase(number: int, manner: str, rng: np.random.Generator) -> Score:
    """Five seconds of one instrument: a melody, chords, an arpeggio or held notes."""
    score = [program(0, number)]
    base = _LOWEST_KEYS[number // 8] + int(rng.integers(0, 12)) + 12 * int(rng.integers(0, 2))
    scale = _SCALES[rng.integers(len(_SCALES))]
    step_s = float(rng.choice([0.18, 0.25, 0.33, 0.5]))
    time_s, degree = 0.0, int(rng.integers(0, 7))

    def key(degree: int) -> int:
        return base + 12 * (degree // len(scale)) + scale[degree % len(scale)]

    if manner == "held":
        for place in range(2):
            score += note(2.4 * place, 2.2, 0, key(int(rng.integers(0, 8))), rng.integers(70, 115))
        return score
    while time_s < 4.6:
        if manner == "melody":
            degree = int(np.clip(degree + rng.integers(-2, 3), 0, 12))
            length_s = step_s * float(rng.choice([1, 1, 2, 3]))
            score += note(time_s, length_s * 0.92, 0, key(degree), rng.integers(65, 115))
            time_s += length_s
        elif manner == "chords":
            root, length_s = int(rng.integers(0, 6)), step_s * float(rng.choice([1, 2, 4]))
            for third in range(3):
                strum_s = 0.012 * third
                score += note(
                    time_s + strum_s, length_s * 0.9, 0, key(root + 2 * third), rng.integers(60, 105)
                )
            time_s += length_s
        else:
            place = (0, 2, 4, 7, 4, 2)[round(time_s / step_s * 2) % 6] + degree % 4
            score += note(time_s, step_s, 0, key(place), rng.integers(60, 105))
            time_s += step_s / 2
    return score


def _beat(name: str, duration_s: float, tempo: int, kit: int, rng: np.random.Generator) -> Score:
    """A beat of so many quarter notes a minute, with a fill every fourth bar."""
    step_s = 15 / tempo
    score = [program(DRUM_CHANNEL, kit)]
    for step in range(int(duration_s / step_s)):
        for pattern, drum in zip(_BEATS[name], (_KICK, _SNARE, _HAT), strict=True):
            if pattern[step % 16] == "x":
                key = _OPEN_HAT if drum == _HAT and rng.random() < 0.08 else drum
                score += note(step * step_s, 0.1, DRUM_CHANNEL, key, rng.integers(75, 120))
        if step % 64 == 60 and rng.random() < 0.7 and name != "none":
            for place, tom in enumerate(_TOMS):
                score += note((step + place) * step_s, 0.1, DRUM_CHANNEL, tom, 110)
            score += note((step + 4) * step_s, 0.5, DRUM_CHANNEL, _CRASH, 115)
    return score


def _hits(key: int, kit: int, rng: np.random.Generator) -> Score:
    """One drum alone, struck once to eleven times."""
    score = [program(DRUM_CHANNEL, kit)]
    n_hits, time_s = int(rng.integers(1, 12)), 0.0
    for _ in range(n_hits):
        score += note(time_s, 0.4, DRUM_CHANNEL, key, rng.integers(60, 125))
        time_s += float(rng.choice([0.15, 0.3, 0.6])) if n_hits > 3 else 1.5
    return score


def _song(style: Style, duration_s: float, rng: np.random.Generator) -> Score:
    """Beat, bass, chords and a melody in a style."""
    tempo = int(rng.integers(*style.tempi))
    bar_s, tonic, scale = 240 / tempo, int(rng.integers(40, 52)), _SCALES[rng.integers(2)]
    voices = [int(rng.choice(group)) for group in (style.bass, style.chords, style.lead)]
    score = _beat(style.beat, duration_s, tempo, style.kit, rng)
    score += [program(channel, voice) for channel, voice in enumerate(voices)]

    def key(degree: int) -> int:
        return tonic + 12 * (degree // 7) + scale[degree % 7]

    roots = [int(rng.choice([0, 3, 4, 5, 1])) for _ in range(4)]
    for bar in range(int(duration_s / bar_s) + 1):
        root, n_chords = roots[bar % 4], int(rng.choice([1, 2, 4]))
        n_bass = max(n_chords, 2)
        for place in range(n_bass):
            time_s = bar * bar_s + place * bar_s / n_bass
            score += note(time_s, 0.9 * bar_s / n_bass, 0, key(root) - 12, 95)
        for place in range(n_chords):
            time_s = bar * bar_s + place * bar_s / n_chords
            for third in (7, 9, 11):
                score += note(time_s, 0.85 * bar_s / n_chords, 1, key(root + third), rng.integers(60, 85))
    time_s, degree = 0.0, 9
    while time_s < duration_s:
        length_s = bar_s / 8 * float(rng.choice([1, 1, 2, 2, 4]))
        if rng.random() < 0.85:
            degree = int(np.clip(degree + rng.integers(-2, 3), 7, 19))
            score += note(time_s, length_s * 0.9, 2, key(degree), rng.integers(80, 112))
        time_s += length_s
    return score

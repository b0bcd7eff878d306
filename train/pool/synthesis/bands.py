"""Bands by genre: generated scores, distorted guitars, singers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from train.pool.synthesis.blocks import level, noise, rms, room, shape, wet
from train.pool.synthesis.genres import ARP, CHOP, CRASH, GENRES, GROOVES, OFF, QUIET_DRUMS, Genre
from train.pool.synthesis.midi import DRUM_CHANNEL, Score, note, play, program
from train.pool.synthesis.singing import SCALES, SINGERS, choir, line, rap
from train.pool.synthesis.waves import RATE, Draws, Wave

# General MIDI programs played through the amplifier, if the genre has one.
GUITARS = (26, 27, 28, 29, 30)
LEAD_GUITARS = (27, 29, 30)
LEAD_CHANNEL = 5


class Vocals(NamedTuple):
    """Properties of a song for its singers and its mix.

    Attributes:
        singer: ``rap``, a name in `SINGERS` or one beginning with ``choir``; None: an instrumental song.
        beat_s: length of a beat, in seconds.
        key: key of the song (MIDI).
        scale: name of the scale.
        drive: overdrive of the guitars' amplifier; 0: clean.
    """

    singer: str | None
    beat_s: float
    key: int
    scale: str
    drive: float


@dataclass(frozen=True)
class _Bars:
    """Positions and pitches in a song.

    Attributes:
        rng: random numbers of the song.
        step_s: length of a sixteenth, in seconds.
        swing_s: delay of every second sixteenth, in seconds.
        n_steps: number of sixteenths of the song.
        key: MIDI key of the first degree.
        degrees: semitones of the scale.
        roots: degree of the chord of each bar.
        first_root: position of the first bar's chord in `roots`.
    """

    rng: Draws
    step_s: float
    swing_s: float
    n_steps: int
    key: int
    degrees: Sequence[int]
    roots: Sequence[int]
    first_root: int

    def time(self, step: int) -> float:
        """Time of a sixteenth in seconds, with a small random deviation."""
        return step * self.step_s + (self.swing_s if step % 2 else 0) + float(self.rng.normal(0, 0.004))

    def pitch(self, degree: int) -> int:
        """MIDI key of a degree."""
        return self.key + 12 * (degree // 7) + self.degrees[degree % 7]

    def root(self, step: int) -> int:
        """Degree of the chord at a sixteenth."""
        return self.roots[(self.first_root + step // 16) % len(self.roots)]


def track(rng: Draws, name: str, seconds: float) -> tuple[Score, Score, Vocals]:
    """A band's scores, without distorted guitars and for these alone, and the song's properties."""
    genre = GENRES[name]
    tempo = int(rng.integers(*genre.tempi))
    step_s = 15 / tempo
    # Chords need a scale of seven notes; that of blues and pentatonic melodies has fewer.
    chords = {"blues": "mixo", "penta": "major"}.get(genre.scale, genre.scale)
    swings = genre.groove in ("swing", "shuffle") and rng.random() < 0.5
    swing_s = 0.3 * step_s if swings else rng.uniform(0, 0.06) * step_s
    key = int(rng.integers(40, 50))
    roots = genre.progressions[int(rng.integers(len(genre.progressions)))]
    first_root = int(rng.integers(len(roots)))
    clean: Score = [program(DRUM_CHANNEL, int(rng.choice(genre.kits)))]
    dirty: Score = []
    bars = _Bars(rng, step_s, swing_s, int(seconds / step_s), key, SCALES[chords], roots, first_root)
    clean += _drums(bars, genre.groove)
    clean += _bass(bars, genre)
    for number, comp in enumerate(genre.comps):
        distorted = bool(genre.drive) and comp[0] in GUITARS
        part = _comp(bars, name, genre, comp, 1 + number, tempo, distorted=distorted)
        (dirty if distorted else clean).extend(part)
    if genre.leads and rng.random() < 0.65:
        number = int(rng.choice(genre.leads))
        distorted = bool(genre.drive) and number in LEAD_GUITARS
        (dirty if distorted else clean).extend(_lead(bars, genre.scale, number, seconds, distorted=distorted))
    singer = genre.singers[int(rng.integers(len(genre.singers)))]
    return clean, dirty, Vocals(singer, 60 / tempo, key, genre.scale, genre.drive)


def _drums(bars: _Bars, groove: str) -> Score:
    rng, score = bars.rng, Score()
    for drum, steps in GROOVES[groove].items():
        loudness = 70 if drum in QUIET_DRUMS else 105
        for step in range(bars.n_steps):
            mark = steps[step % 16]
            if mark != "." and rng.random() < 0.97:
                time_s = max(bars.time(step), 0)
                velocity = loudness + (25 if mark == "X" else 0) + rng.integers(-14, 14)
                score += note(time_s, 0.12, DRUM_CHANNEL, drum, np.clip(velocity, 20, 127))
    if groove in ("rock", "punk", "funk", "breaks", "metal") and rng.random() < 0.5:
        first = 16 * int(rng.integers(0, max(bars.n_steps // 16, 1)))
        for place, drum in enumerate((50, 50, 48, 48, 45, 45, 43, 43)):
            score += note((first + 8 + place) * bars.step_s, 0.1, DRUM_CHANNEL, drum, 115)
        score += note((first + 16) * bars.step_s, 0.8, DRUM_CHANNEL, CRASH, 120)
    return score


def _bass(bars: _Bars, genre: Genre) -> Score:
    number, pattern = genre.bass
    rng, score = bars.rng, [program(0, number)]
    steps = pattern or "."
    drop = 12 if number < 48 or number > 80 else 0
    for step in range(bars.n_steps):
        root = bars.root(step)
        if steps == ARP:
            if step % 2 == 0:
                time_s, degree = max(bars.time(step), 0), root + (0, 4, 7, 4)[step // 2 % 4]
                score += note(time_s, bars.step_s * 1.8, 0, bars.pitch(degree), rng.integers(80, 105))
        elif steps[step % len(steps)] == "x":
            if genre.groove == "swing":
                degree = root + int(rng.choice([0, 2, 4, 6, 1]))
            else:
                degree = root + (int(rng.choice([0, 0, 0, 4, 7])) if step % 16 else 0)
            time_s, length_s = max(bars.time(step), 0), bars.step_s * _steps_to_next(steps, step) * 0.92
            score += note(time_s, length_s, 0, bars.pitch(degree) - drop, rng.integers(88, 112))
    return score


def _comp(
    bars: _Bars,
    name: str,
    genre: Genre,
    comp: tuple[int, str, int],
    channel: int,
    tempo: int,
    *,
    distorted: bool,
) -> Score:
    """Chords or broken chords of one instrument."""
    number, steps, octave = comp
    rng = bars.rng
    if distorted:  # a clean or muted guitar is the amplifier's input
        number = 27 if rng.random() < 0.5 else 28 if rng.random() < 0.3 else 29
    score = [program(channel, number)]
    if distorted:
        chord: tuple[int, ...] = (0, 4, 7)
    elif genre.groove in ("swing", "bossa") or name in ("rhythm and blues", "soul", "jazz"):
        chord = (0, 2, 4, 6)
    else:
        chord = (0, 2, 4)
    is_short = steps in (OFF, CHOP, "....x.......x...")
    every = 2 if tempo >= 100 else 1
    for step in range(bars.n_steps):
        root = bars.root(step)
        if steps == ARP:
            if step % 2 == 0 or tempo < 100:
                time_s, degree = max(bars.time(step), 0), root + (0, 2, 4, 7, 4, 2, 9, 4)[step // every % 8]
                key = bars.pitch(degree) + 12 * octave
                score += note(time_s, bars.step_s * 2.5, channel, key, rng.integers(65, 95))
        elif steps[step % len(steps)] == "x":
            length_s = bars.step_s * _steps_to_next(steps, step) * (0.4 if is_short else 0.93)
            for place, third in enumerate(chord):
                time_s = max(bars.time(step) + 0.006 * place, 0)
                key = bars.pitch(root + third) + 12 * octave
                score += note(time_s, length_s, channel, key, rng.integers(68, 96))
    return score


def _lead(bars: _Bars, scale: str, number: int, seconds: float, *, distorted: bool) -> Score:
    """A melody."""
    rng = bars.rng
    score = [program(LEAD_CHANNEL, 29 if distorted and rng.random() < 0.5 else number)]
    time_s, degree = 0.0, int(rng.integers(7, 12))
    while time_s < seconds:
        length_s = bars.step_s * float(rng.choice([1, 2, 2, 2, 4, 6]))
        if rng.random() < 0.88:
            degree = int(np.clip(degree + rng.integers(-2, 3), 7, 19))
            key = bars.key + 12 * (degree // 7) + SCALES[scale][degree % 7] + (12 if number > 70 else 0)
            score += note(time_s, length_s * 0.95, LEAD_CHANNEL, key, rng.integers(88, 118))
        time_s += length_s
    return score


def _steps_to_next(steps: str, step: int) -> int:
    """Sixteenths from a mark of a pattern to its next one, at most a bar."""
    return next((ahead for ahead in range(1, 17) if steps[(step + ahead) % len(steps)] == "x"), 16)


def amplifier(audio: Wave, drive: float, rng: Draws) -> Wave:
    """A guitar amplifier: a filter, overdrive, the band of a loudspeaker."""
    x = audio / max(np.abs(audio).max(), 1e-6)
    x = shape(x, [(60, -24), (150, 0), (800, 4), (3000, 2), (9000, -12)])
    gain = (4, 15, 60)[min(int(drive + 0.5), 2)] * rng.uniform(0.6, 1.6)
    x = np.tanh(gain * x + 0.15) - np.tanh(0.15)
    return shape(
        x, [(50, -30), (90, 0), (180, 2), (500, -2), (2500, 3), (4500, 0), (6500, -24), (12000, -50)]
    )


def _vocals(rng: Draws, singer: str, song: Vocals, seconds: float) -> Wave:
    """The singing of a song's singer or choir."""
    if singer == "rap":
        return rap(rng, song.beat_s, seconds)
    if singer.startswith("choir"):
        if "children" in singer:
            return choir(rng, ("child", "girl", "child"), 2, seconds, beat=song.beat_s * 2)
        voices = ("woman", "man", "soprano", "bass")
        return choir(rng, voices, 1 + int(rng.integers(2)), seconds, beat=song.beat_s * 2)
    lowest = SINGERS[singer].keys[0]
    key = song.key + 12 * int(np.ceil((lowest - song.key) / 12))
    beats = 1 if song.beat_s > 0.45 else 2 if song.beat_s < 0.33 else 1
    return line(rng, singer, key=key, scale=song.scale, beat=song.beat_s * beats, seconds=seconds)


def band_mix(rng: Draws, clean: Wave, dirty: Wave, song: Vocals, seconds: float) -> Wave:
    """Clean and distorted instruments and voices, mixed as on a record or as in a room."""
    size = len(clean)
    out = clean / rms(clean)
    if np.abs(dirty).max() > 1e-4:
        amp = amplifier(dirty, song.drive, rng)
        double = np.roll(amp, int(rng.integers(200, 700))) if rng.random() < 0.5 else np.zeros(len(amp))
        out = out + rng.uniform(0.6, 1.3) * (amp + 0.7 * double) / rms(amp)
    if song.singer:
        vocals = _vocals(rng, song.singer, song, seconds)
        vocals = vocals[:size] / rms(vocals)
        vocals = shape(vocals, [(80, -20), (200, 0), (3000, 4), (9000, 2)])
        if rng.random() < 0.7:
            vocals = 0.8 * vocals + 0.5 * wet(vocals, room(rng, rng.uniform(0.6, 2)))[:size]
        vocals = np.pad(vocals, (0, size - len(vocals)))
        band_share = 0.02 if song.singer == "choir only" else rng.uniform(0.4, 0.9)
        out = band_share * out + rng.uniform(0.8, 1.4) * vocals / rms(vocals)
    if rng.random() < 0.5:
        out = 0.85 * out + rng.uniform(0.1, 0.5) * wet(out, room(rng, rng.uniform(0.4, 2.2)))[:size]
    low, warm, bright, air = (rng.uniform(*ends) for ends in ((-8, 2), (-2, 3), (-5, 4), (-16, 4)))
    out = shape(out, [(40, low), (120, warm), (1500, 0), (6000, bright), (14000, air)])
    out = np.tanh(rng.uniform(0.2, 0.9) * out / rms(out) / 1.5)  # a mastering limiter
    if rng.random() < 0.15:
        out = wet(out, room(rng, rng.uniform(0.5, 2), direct=0.5))[:size]
        out = out + 0.03 * noise(rng, [(40, 4), (300, 0), (2000, -8), (9000, -25)], size)
    return level(out, rng.uniform(-30, -9)).astype(np.float32)


def bands(font: str, jobs: Sequence[tuple[str, int]], seconds: float = 5.0) -> Iterator[tuple[str, Wave]]:
    """Songs by genre and seed, played with a soundfont."""
    rngs = [np.random.default_rng([number, 41, *map(ord, name)]) for name, number in jobs]
    tracks = [track(rng, name, seconds) for rng, (name, _) in zip(rngs, jobs, strict=True)]
    clean = play(font, [score for score, _, _ in tracks], seconds)
    distorted = [place for place, (_, score, _) in enumerate(tracks) if score]
    played = play(font, [tracks[place][1] for place in distorted], seconds) if distorted else []
    dirty = dict(zip(distorted, played, strict=True))
    size = int(seconds * RATE)
    for place, ((name, number), rng) in enumerate(zip(jobs, rngs, strict=True)):
        base = _of_length(clean[place], size) + 1e-6 * rng.standard_normal(size)
        guitars = _of_length(dirty.get(place, np.zeros(1)), size)
        yield f"{name} {number}", band_mix(rng, base, guitars, tracks[place][2], seconds)


def _of_length(waveform: Wave, size: int) -> Wave:
    return np.pad(waveform[:size].astype(np.float64), (0, max(0, size - len(waveform))))

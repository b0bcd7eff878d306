"""Singing: spoken sentences, sung on generated melodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import signal

from train.pool.synthesis.blocks import curve, level, noise, put, room, shape, wet
from train.pool.synthesis.speech import flite, sentence
from train.pool.synthesis.waves import RATE, Draws, Wave

SCALES = {
    "major": [0, 2, 4, 5, 7, 9, 11],
    "minor": [0, 2, 3, 5, 7, 8, 10],
    "dorian": [0, 2, 3, 5, 7, 9, 10],
    "mixo": [0, 2, 4, 5, 7, 9, 10],
    "blues": [0, 3, 5, 6, 7, 10, 12],
    "hijaz": [0, 1, 4, 5, 7, 8, 10],
    "phrygian": [0, 1, 3, 5, 7, 8, 10],
    "penta": [0, 2, 4, 7, 9, 12, 14],
}


Notes: TypeAlias = Sequence[tuple[float, float]]
"""MIDI keys with lengths in beats."""

LINES = [
    "la la la la, la la la, la la",
    "oh my love, come home to me",
    "ooh ooh, yeah yeah, ooh",
    "hallelujah, hallelujah",
    "ah ah ah, ah ah ah",
    "na na na na, hey hey, na na",
    "I will wait for you by the river tonight",
    "sleep my child, the moon is near",
    "we are one, we are free, we are gold",
    "baby don't you go away from me",
    "the morning sun is on the hill",
    "rain on the window, rain on the road",
]


def words(rng: Draws) -> str:
    """A line to sing."""
    return (
        str(rng.choice(LINES))
        if rng.random() < 0.7
        else sentence(np.random.default_rng(int(rng.integers(1 << 30))))
    )


@lru_cache(maxsize=1024)  # texts repeat
def spoken(voice: str, text: str) -> Wave:
    """A text read by Flite."""
    return flite(voice, text).astype(np.float64)


def envelope(audio: Wave, hop: int = 160, size: int = 1024, lifter: int = 44) -> tuple[Wave, Wave, Wave]:
    """Smooth log spectra (frames x bins) and the share of voicing of each frame."""
    frames = 1 + max(len(audio) - size, 0) // hop
    at = np.arange(frames)[:, None] * hop + np.arange(size)
    power = np.abs(np.fft.rfft(audio[at] * np.hanning(size), axis=1)) ** 2 + 1e-9
    log = 0.5 * np.log(power)
    smooth = log
    for _ in range(4):  # the true envelope: above the harmonics' valleys
        cepstrum = np.fft.irfft(np.maximum(log, smooth) if smooth is not log else log, axis=1)
        cepstrum[:, lifter : size - lifter] = 0
        smooth = np.fft.rfft(cepstrum, axis=1).real
    low, high = power[:, 3:30].sum(1), power[:, 80:].sum(1)
    loud = np.sqrt(power.sum(1))
    voiced = (low > 1.5 * high) & (loud > 0.05 * loud.max())
    return smooth, signal.medfilt(voiced.astype(float), 9), low


def sung(
    rng: Draws,
    voice: str,
    text: str,
    notes: Notes,
    beat: float,
    scale: float = 1.0,
    vibrato: float = 0.02,
    rate: float = 5.6,
    glide: float = 0.05,
    breath: float = 0.02,
    drift: float = 0.01,
    ring: float = 0.0,
    legato: float = 1.0,
) -> Wave:
    """A sung sentence: syllable nuclei held on notes (MIDI keys), consonants as spoken.

    `notes` are (key, beats) pairs, used in turn; text and notes determine the duration.
    """
    audio = spoken(voice, text)
    hop, size = 160, 1024
    spectra, voiced, low = envelope(np.pad(audio, (size // 2, size)))
    energy = signal.filtfilt(*signal.butter(2, 0.12), np.sqrt(low) * voiced)
    peaks, _ = signal.find_peaks(energy, distance=22, prominence=0.08 * energy.max())
    if len(peaks) < 2:
        peaks = np.array([len(spectra) // 3, 2 * len(spectra) // 3])
    edges = [0] + [a + int(np.argmin(energy[a:b])) for a, b in pairwise(peaks)] + [len(spectra) - 1]
    places: list[Wave] = []
    pitches: list[Wave] = []
    gains_of: list[Wave] = []
    for i, peak in enumerate(peaks):
        key, beats = notes[i % len(notes)]
        want = int(beats * beat * RATE / hop * legato)
        start, end = edges[i], edges[i + 1]
        before, after = peak - start, end - peak
        fixed = min(before, 30), min(after, 22)
        hold = max(want - sum(fixed), 4)
        path = np.concatenate(
            [
                np.linspace(peak - fixed[0], peak - 4, fixed[0]),
                peak - 4 + 8 * (np.arange(hold) / hold),
                np.linspace(peak + 4, peak + fixed[1], fixed[1]),
            ]
        )
        places.append(path)
        pitches.append(np.full(len(path), float(key)))
        gains_of.append(np.linspace(1, 0.85, len(path)))
        rest = int(beats * beat * RATE / hop) - want
        if rest > 0:
            places.append(np.full(rest, peak + fixed[1]))
            pitches.append(np.full(rest, float(key)))
            gains_of.append(np.zeros(rest))
    pitch, gain = np.concatenate(pitches), np.concatenate(gains_of)
    place = np.clip(np.round(np.concatenate(places)).astype(int), 0, len(spectra) - 1)
    count = len(place)
    smooth = max(int(glide * RATE / hop), 1)
    pitch = np.convolve(np.pad(pitch, smooth, mode="edge"), np.ones(smooth) / smooth, "same")[smooth:-smooth]
    change = np.flatnonzero(np.diff(pitch) != 0)
    since = np.arange(count) - np.maximum.accumulate(
        np.where(np.isin(np.arange(count), change), np.arange(count), 0)
    )
    depth = vibrato * np.clip(since * hop / RATE / 0.35, 0, 1)
    cents = np.cumsum(rng.standard_normal(count)) if count > 64 else np.zeros(count)
    cents = cents - np.linspace(cents[0], cents[-1], count)
    f0 = (
        440
        * 2 ** ((pitch - 69) / 12)
        * (1 + depth * np.sin(2 * np.pi * rate * np.arange(count) * hop / RATE + rng.uniform(0, 6)))
        * (1 + drift * cents / (np.abs(cents).max() + 1e-9))
    )
    f0 = np.interp(np.arange(count * hop) / hop, np.arange(count), f0)
    phase = np.cumsum(f0 / RATE)
    hits = np.flatnonzero(np.diff(np.floor(phase), prepend=0) > 0)
    part = (phase[hits] - np.floor(phase[hits])) / (f0[hits] / RATE)
    buzz = np.zeros(count * hop + 1)
    weight = np.sqrt(RATE / f0[hits]) * (1 + 0.04 * rng.standard_normal(len(hits)))
    np.add.at(buzz, hits, weight * (1 - part))
    np.add.at(buzz, np.maximum(hits - 1, 0), weight * part)
    buzz = buzz[:-1]
    hiss = rng.standard_normal(count * hop)
    bins = np.arange(size // 2 + 1)
    shifted = np.clip(bins / scale, 0, size // 2)
    base = np.floor(shifted).astype(int)
    frac = shifted - base
    table = np.exp(spectra)
    gains = table[place][:, base] * (1 - frac) + table[place][:, np.minimum(base + 1, size // 2)] * frac
    if ring:
        gains = gains * 10 ** (ring / 20 * np.exp(-(((bins * RATE / size - 2900) / 500) ** 2)))
    loud = voiced[place][:, None]
    window = np.hanning(size)
    out = np.zeros(count * hop + size)
    at = np.arange(count)[:, None] * hop + np.arange(size)
    tone = np.fft.rfft(np.pad(buzz, (0, size))[at] * window, axis=1) * (loud > 0.5)
    air = np.fft.rfft(np.pad(hiss, (0, size))[at] * window, axis=1) * np.where(loud > 0.5, breath, 0.35)
    frames = np.fft.irfft((tone + air) * gains * gain[:, None], axis=1) * window
    for k in range(0, size, hop):  # overlap-add, one slice of all frames at a time
        piece = frames[:, k : k + hop]
        target = out[k : k + count * hop].reshape(count, hop) if k + count * hop <= len(out) else None
        width = piece.shape[1]
        if target is not None and width == hop:
            target += piece
        else:
            for j in range(count):
                out[j * hop + k : j * hop + k + width] += piece[j]
    return out / max(np.abs(out).max(), 1e-9)


def tune(
    rng: Draws,
    scale: str,
    key: int,
    count: int,
    beats: Sequence[float] = (0.5, 0.5, 1, 1, 1.5, 2),
    width: int = 6,
    leap: int = 2,
) -> Notes:
    """A melody: steps of a scale, in turn up and down."""
    degrees, d = SCALES[scale], int(rng.integers(0, 5))
    out: list[tuple[float, float]] = []
    for _ in range(count):
        d = int(np.clip(d + rng.integers(-leap, leap + 1), -2, width))
        out.append((key + 12 * (d // 7) + degrees[d % 7], float(rng.choice(list(beats)))))
    return out


class Singer(NamedTuple):
    """A singer.

    Attributes:
        voice: voice of Flite.
        formants: factor of the voice's formants.
        keys: lowest and highest MIDI key for the start of a melody.
        vibrato: depth, as a share of the pitch.
        more: further arguments of `sung`.
    """

    voice: str
    formants: float
    keys: tuple[int, int]
    vibrato: float
    more: Mapping[str, float]


SINGERS: dict[str, Singer] = {
    "woman": Singer("slt", 1.0, (57, 64), 0.02, {}),
    "girl": Singer("slt", 1.15, (59, 66), 0.012, {}),
    "man": Singer("awb", 1.0, (45, 53), 0.018, {}),
    "bass": Singer("kal16", 0.9, (38, 45), 0.02, {}),
    "tenor": Singer("awb", 1.03, (50, 57), 0.03, {"ring": 10}),
    "soprano": Singer("slt", 1.02, (61, 69), 0.04, {"ring": 8}),
    "child": Singer("slt", 1.25, (60, 65), 0.004, {}),
    "robot": Singer("kal16", 1.0, (45, 57), 0.0, {"glide": 0.002, "drift": 0.0}),
    "man 2": Singer("kal16", 1.05, (47, 55), 0.02, {}),
}


def line(
    rng: Draws,
    singer: str,
    key: int | None = None,
    scale: str | None = None,
    beat: float | None = None,
    seconds: float = 5.0,
    text: str | None = None,
    notes: Notes | None = None,
    **more: Any,
) -> Wave:
    """A melody by one singer, of a duration in seconds."""
    who = SINGERS[singer]
    key = int(rng.integers(*who.keys)) if key is None else key
    beat = rng.uniform(0.35, 0.7) if beat is None else beat
    scale = str(rng.choice(["major", "minor", "penta", "mixo"])) if scale is None else scale
    out, at = np.zeros(int(seconds * RATE)), 0
    settings = {
        "rate": rng.uniform(5, 6.5),
        "vibrato": who.vibrato * rng.uniform(0.5, 1.5),
        "glide": rng.uniform(0.03, 0.09),
        "breath": rng.uniform(0.01, 0.06),
        **who.more,
        **more,
    }
    shift = settings.pop("shift", who.formants) * rng.uniform(0.96, 1.04)
    while at < len(out) - RATE // 2:
        x = sung(
            rng, who.voice, text or words(rng), notes or tune(rng, scale, key, 12), beat, shift, **settings
        )
        put(out, at, x)
        at += int(round(len(x) / RATE / beat + 0.0) * beat * RATE)
    return out


def choir(
    rng: Draws,
    parts: Sequence[str] = ("woman", "man", "soprano", "bass"),
    copies: int = 2,
    seconds: float = 5.0,
    text: str | None = None,
    beat: float | None = None,
    **more: Any,
) -> Wave:
    """Several singers with one text, in chords."""
    text, beat = text or words(rng), beat or rng.uniform(0.5, 1.1)
    root, scale = int(rng.integers(41, 50)), str(rng.choice(["major", "minor"]))
    degrees = [int(rng.choice([0, 3, 4, 5, 0])) for _ in range(8)]
    spans = [float(rng.choice([1, 1, 2])) for _ in range(8)]
    out = np.zeros(int(seconds * RATE))
    offset = {
        "bass": 0,
        "man": 4,
        "man 2": 4,
        "tenor": 9,
        "woman": 11,
        "soprano": 14,
        "girl": 14,
        "child": 14,
    }
    for who in parts:
        notes = [
            (root + 12 * ((d + offset[who]) // 7) + SCALES[scale][(d + offset[who]) % 7], s)
            for d, s in zip(degrees, spans, strict=True)
        ]
        x = line(rng, who, beat=beat, seconds=seconds, text=text, notes=notes, drift=0.012, **more)
        out += x * rng.uniform(0.6, 1)
        # More singers of the part: the same voice, late; its slowly varying delay puts it out of tune.
        for _ in range(2 * copies - 1):
            delay = rng.uniform(200, 1300) + 90 * curve(rng, rng.uniform(1, 3), -1, 1, len(x))
            out += np.interp(np.arange(len(x)) - delay, np.arange(len(x)), x) * rng.uniform(0.5, 1)
    return out


def rap(rng: Draws, beat: float, seconds: float = 5.0, voice: str | None = None) -> Wave:
    """Fast rhythmic speech: the syllables laid on the sixteenths."""
    voice = voice or str(rng.choice(["awb", "kal16", "awb", "slt"]))
    text = sentence(np.random.default_rng(int(rng.integers(1 << 30))))
    key = {"awb": 45, "kal16": 43, "slt": 55}[voice] + int(rng.integers(-2, 3))
    notes = [
        (key + int(rng.choice([0, 0, 1, 2, -1, 3])) - 0.4, float(rng.choice([0.25, 0.25, 0.5, 0.5, 0.75])))
        for _ in range(16)
    ]
    out, at = np.zeros(int(seconds * RATE)), 0
    while at < len(out) - RATE:
        x = sung(
            rng,
            voice,
            text,
            notes,
            beat,
            rng.uniform(0.94, 1.06),
            0.0,
            glide=0.08,
            breath=0.05,
            drift=0.03,
            legato=0.95,
        )
        put(out, at, x)
        at += int(np.ceil(len(x) / RATE / beat) * beat * RATE)
        text = sentence(np.random.default_rng(int(rng.integers(1 << 30))))
    return out


def alone(rng: Draws, kind: str) -> Wave:
    """Five seconds of singing of a kind, in a room."""
    if kind in SINGERS:
        x = line(rng, kind)
    elif kind == "choir":
        x = choir(rng, copies=2)
    elif kind == "choir of men":
        x = choir(rng, ("man", "bass", "man 2"), 2)
    elif kind == "choir of children":
        x = choir(rng, ("child", "girl"), 3)
    elif kind == "chant":
        key = int(rng.integers(43, 52))
        notes = [
            (key + int(rng.choice([0, 0, 0, 2, -2])), float(rng.choice([0.5, 0.5, 1, 2]))) for _ in range(12)
        ]
        x = choir(rng, ("man", "bass", "man 2"), 1) * 0
        text = words(rng)
        for who in ("man", "bass", "man 2", "man"):
            x += line(rng, who, beat=0.5, text=text, notes=notes)
    elif kind == "yodel":
        base = int(rng.integers(55, 60))
        notes = [
            (base + int(rng.choice([0, 4, 7])) + (12 if i % 2 else 0), float(rng.choice([0.25, 0.5, 0.5, 1])))
            for i in range(16)
        ]
        x = line(
            rng,
            str(rng.choice(["woman", "man 2"])),
            text="yo del ay ee, yo del ay ee, o dee, o lay ee",
            notes=notes,
            beat=rng.uniform(0.4, 0.6),
            glide=0.01,
        )
    elif kind == "rap":
        x = rap(rng, 60 / rng.uniform(80, 100))
    elif kind == "hum":
        x = line(
            rng, str(rng.choice(["woman", "man"])), text="mmm mmm mmm, mmm mmm", beat=rng.uniform(0.5, 0.8)
        )
        x = shape(x, [(80, 0), (500, 0), (1200, -18), (5000, -40)])
    if rng.random() < 0.75:
        x = x + rng.uniform(0.2, 1) * wet(x, room(rng, rng.uniform(0.3, 3)))[: len(x)]
    x = level(x, rng.uniform(-32, -12)) + noise(
        rng, [(40, 4), (300, 0), (2000, -8), (9000, -22)], len(x)
    ) * 10 ** (rng.uniform(-80, -48) / 20)
    return np.clip(x, -1, 1).astype(np.float32)


KINDS: dict[str, list[str]] = {
    "woman": ["Female singing", "Singing"],
    "man": ["Male singing", "Singing"],
    "man 2": ["Male singing", "Singing"],
    "girl": ["Female singing", "Child singing"],
    "tenor": ["Opera", "Male singing"],
    "soprano": ["Opera", "Female singing"],
    "child": ["Child singing"],
    "robot": ["Synthetic singing"],
    "choir": ["Choir", "A capella"],
    "choir of men": ["Choir", "Chant"],
    "choir of children": ["Choir", "Child singing"],
    "chant": ["Chant", "Mantra"],
    "yodel": ["Yodeling"],
    "rap": ["Rapping"],
    "hum": ["Humming"],
    "bass": ["Male singing", "Chant"],
}
"""Kinds of singing, and the intended classes of AudioSet of each."""

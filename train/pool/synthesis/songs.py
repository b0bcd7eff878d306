"""Songs by synthesised instruments, and duets of a voice with an instrument."""

from __future__ import annotations

import numpy as np

from train.pool.synthesis.bands import amplifier, band_mix, track
from train.pool.synthesis.blocks import level, put, rms, room, wet
from train.pool.synthesis.instruments import instrument, played
from train.pool.synthesis.singing import SCALES, SINGERS, choir, line, tune
from train.pool.synthesis.waves import RATE, SIZE, Draws, Wave


def song(rng: Draws, name: str, seconds: float = 5.0) -> Wave:
    """A song of a genre."""
    clean, dirty, what = track(rng, name, seconds)
    taste, detune = rng.random(8), rng.uniform(-0.4, 0.4)
    mix = np.zeros(int(seconds * RATE))
    for channel, x in sorted(played(rng, clean, seconds, taste, detune).items()):
        gain = {9: rng.uniform(0.6, 1.4), 0: rng.uniform(0.4, 1.0), 5: rng.uniform(0.4, 1.1)}.get(
            channel, rng.uniform(0.25, 0.9)
        )
        if channel == 9:
            x = x + rng.uniform(0, 0.5) * wet(x, room(rng, rng.uniform(0.2, 1.0), direct=0))
        mix += gain * x / rms(x)
    if dirty:
        tracks = played(rng, dirty, seconds, taste, detune)
        mix += 1e-6
        for x in tracks.values():
            amp = amplifier(x + 1e-6, what.drive, rng)
            amp = amp + rng.uniform(0, 1) * np.roll(amp, int(rng.integers(200, 800)))
            mix += rng.uniform(0.5, 1.6) * amp / rms(amp)
    return band_mix(rng, mix + 1e-6, np.zeros(1), what, seconds)


def duet(rng: Draws, style: str) -> Wave:
    """One voice or a choir with one instrument, or a lead instrument alone."""
    taste = rng.random(8)
    if style == "lead guitar":
        beat = rng.uniform(0.25, 0.5)
        clean, scale = np.zeros(SIZE), str(rng.choice(["blues", "penta", "minor"]))
        at = 0.0
        for key, beats in tune(rng, scale, int(rng.integers(52, 66)), 40, width=10):
            if at < 5:
                n = beats * beat
                t = np.arange(int((n + 0.05) * RATE)) / RATE
                f = (
                    440
                    * 2 ** ((key - 69) / 12)
                    * (1 + 0.008 * np.sin(2 * np.pi * 5.5 * t) * np.clip(t / 0.2, 0, 1))
                    * 2 ** (rng.choice([0, 0, -1, -2]) / 12 * np.exp(-t * 14))
                )
                ph = 2 * np.pi * np.cumsum(f) / RATE
                x = sum(
                    np.sin(np.pi * k * 0.13) / k**1.1 * np.sin(k * ph) * np.exp(-t * (0.4 + 0.2 * k))
                    for k in range(1, 14)
                )
                put(clean, int(at * RATE), x * np.minimum(np.minimum(t * 400, 1), (n + 0.05 - t) * 60))
            at += beats * beat
        out = amplifier(clean + 1e-6, rng.uniform(0.3, 2.2), rng)
        delay = int(rng.uniform(0.2, 0.45) * RATE)
        out = out + rng.uniform(0, 0.5) * np.pad(out, (delay, 0))[:SIZE]
        return level(
            out + rng.uniform(0, 0.6) * wet(out, room(rng, rng.uniform(0.3, 2))), rng.uniform(-30, -10)
        ).astype(np.float32)
    singer, program = {
        "folk singer": ("woman", 25),
        "folk man": ("man", 25),
        "piano singer": ("woman", 0),
        "piano man": ("tenor", 0),
        "organ choir": ("choir", 19),
        "pad girl": ("girl", 49),
        "child and bells": ("child", 10),
        "opera": ("soprano", 48),
        "crooner": ("man", 48),
        "guitar girl": ("girl", 24),
    }[style]
    key, beat, scale = (
        int(rng.integers(41, 52)),
        rng.uniform(0.4, 0.75),
        str(rng.choice(["major", "minor", "mixo"])),
    )
    degrees, back = SCALES[scale], np.zeros(SIZE)
    roots = [int(rng.choice([0, 3, 4, 5])) for _ in range(6)]
    pattern = int(rng.integers(3))
    made = {}
    for i in range(int(5 / beat * 2) + 1):
        root = roots[i // 8 % 6]
        picks = [[0, 2, 4], [[0, 2, 4, 7, 4, 2][i % 6]], [0, 4] if i % 4 == 0 else [2, 4, 7]][pattern]
        if pattern == 0 and i % (1 if program in (24, 25) else 4):
            continue
        for j, d in enumerate(picks):
            d = root + d
            k = key + 12 * (d // 7) + degrees[d % 7] + (12 if program in (10,) else 0)
            long = 2.0 if program in (19, 48, 49) else 0.9
            if (k, long) not in made:
                made[k, long] = instrument(rng, program, 440 * 2 ** ((k - 69) / 12), long, taste)
            put(back, int((i * beat / 2 + 0.012 * j) * RATE), made[k, long], rng.uniform(0.5, 1))
    if singer == "choir":
        vocals = choir(rng, beat=2 * beat)
    else:
        lows = SINGERS[singer].keys
        vocals = line(rng, singer, key=key + 12 * int(np.ceil((lows[0] - key) / 12)), scale=scale, beat=beat)
    out = rng.uniform(0.15, 0.9) * back / rms(back) + vocals / rms(vocals)
    out = out + rng.uniform(0.1, 0.8) * wet(out, room(rng, rng.uniform(0.4, 2.5), direct=0))
    return level(out, rng.uniform(-30, -10)).astype(np.float32)


DUETS: dict[str, list[str]] = {
    "folk singer": ["Singing", "Female singing", "Song", "Folk music"],
    "folk man": ["Male singing", "Song", "Country"],
    "piano singer": ["Female singing", "Singing", "Tender music", "Sad music"],
    "piano man": ["Male singing", "Singing"],
    "organ choir": ["Choir", "Christian music", "Vocal music"],
    "pad girl": ["Female singing", "Singing", "Pop music"],
    "child and bells": ["Child singing", "Lullaby", "Music for children"],
    "opera": ["Opera", "Female singing", "Classical music"],
    "crooner": ["Male singing", "Song"],
    "guitar girl": ["Female singing", "Child singing", "Folk music"],
    "lead guitar": ["Electric guitar", "Tapping (guitar technique)", "Steel guitar, slide guitar"],
}
"""Kinds of duets, and the intended classes of AudioSet of each."""

"""Voices of people and animals, without words."""

from __future__ import annotations

import numpy as np
from scipy import signal

from train.pool.synthesis.blocks import (
    curve,
    filtered,
    noise,
    put,
    recorded,
    resonate,
    room,
    shape,
    swept,
    unit,
    voice,
    wet,
)
from train.pool.synthesis.recipes import recipe
from train.pool.synthesis.waves import RATE, SIZE, TIME, Curve, Draws, Wave


def syllables(
    rng: Draws, rate: Curve, size: int = SIZE, open_: float = 0.55, shape_: float = 1.0
) -> tuple[Wave, Wave]:
    """Loudness and phase (in bursts) of repeated bursts."""
    phase = np.cumsum(rate * np.ones(size) / RATE)
    x = phase % 1
    return np.where(x < open_, np.sin(np.pi * x / open_) ** shape_, 0.0), phase


@recipe("Laughter", "Giggle", "Belly laugh", "Chuckle, chortle", "Snicker", "Baby laughter")
def laugh(rng: Draws) -> Wave:
    kind = rng.integers(4)  # man, woman, child, baby
    base = (rng.uniform(140, 240), rng.uniform(260, 420), rng.uniform(320, 480), rng.uniform(380, 560))[kind]
    scale = (1.0, 1.17, 1.3, 1.45)[kind]
    out, at = np.zeros(SIZE), rng.uniform(0, 0.3)
    while at < 4.6:
        n = int(rng.uniform(0.7, 2.2) * RATE)
        loud, phase = syllables(rng, rng.uniform(3.8, 6.5), n, rng.uniform(0.35, 0.6), 0.8)
        decay = np.interp(np.arange(n) / n, [0, 0.15, 1], [0.7, 1, 0.35])
        within = phase % 1
        f0 = (
            base
            * np.interp(
                np.arange(n) / n,
                [0, 0.2, 1],
                [rng.uniform(0.9, 1.1), rng.uniform(1.1, 1.4), rng.uniform(0.65, 0.9)],
            )
            * (1.12 - 0.3 * within)
        )
        v = rng.choice(["a", "a", "@", "e", "i", "A"])
        track = [(0, v), (n / RATE, v)]
        x = voice(
            rng,
            f0,
            loud * decay,
            track,
            0.25,
            scale,
            rough=0.1 * rng.random(),
            open_=rng.uniform(0.5, 0.8),
            jitter=0.02,
            shimmer=0.15,
        )
        gap = filtered_breath(rng, n, (1 - np.minimum(loud * 3, 1)) * decay, v, scale)
        put(out, at * RATE, unit(x) + rng.uniform(0.1, 0.4) * gap)
        m = int(rng.uniform(0.25, 0.5) * RATE)
        put(out, at * RATE + n, filtered_breath(rng, m, np.hanning(m), "@", scale), rng.uniform(0.1, 0.5))
        at += (n + m) / RATE + rng.uniform(0, 0.3)
    return recorded(out, rng, 0.7)


def filtered_breath(rng: Draws, n: int, loud: Curve, vowel: str = "@", scale: float = 1.0) -> Wave:
    air = noise(rng, [(150, -14), (800, 0), (3000, 0), (8000, -6), (14000, -12)], n)
    x = filtered(air * loud, [(0, vowel), (n / RATE, vowel)], widths=(200, 250, 300, 400, 500), scale=scale)
    return x / max(np.abs(x).max(), 1e-9) * 2.5


@recipe("Crying, sobbing", "Whimper", "Wail, moan")
def sobbing(rng: Draws) -> Wave:
    base, scale = rng.choice([(190.0, 1.0), (330.0, 1.17), (400.0, 1.3)])
    out, at = np.zeros(SIZE), rng.uniform(0, 0.3)
    while at < 4.6:
        n = int(rng.uniform(0.5, 1.8) * RATE)
        u = np.arange(n) / n
        tremble = 1 + 0.06 * np.sin(2 * np.pi * rng.uniform(5, 9) * np.arange(n) / RATE)
        f0 = base * rng.uniform(0.9, 1.4) * np.interp(u, [0, 0.25, 1], [0.85, 1.15, 0.7]) * tremble
        loud = np.interp(u, [0, 0.1, 0.7, 1], [0, 1, 0.7, 0]) * (
            0.5 + 0.5 * np.abs(np.sin(2 * np.pi * rng.uniform(2, 5) * np.arange(n) / RATE))
        )
        v1, v2 = rng.choice(["a", "@", "e", "o", "u"], 2)
        put(
            out,
            at * RATE,
            unit(
                voice(
                    rng,
                    f0,
                    loud,
                    [(0, v1), (n / RATE, v2)],
                    0.3,
                    scale,
                    rough=rng.uniform(0, 0.25),
                    jitter=0.02,
                    shimmer=0.15,
                )
            ),
        )
        at += n / RATE
        for _ in range(rng.integers(1, 4)):
            m = int(rng.uniform(0.08, 0.3) * RATE)
            put(out, at * RATE, filtered_breath(rng, m, np.hanning(m), "@", scale), rng.uniform(0.2, 0.7))
            at += m / RATE + 0.05
    return recorded(out, rng, 0.8)


@recipe("Baby cry, infant cry", "Crying, sobbing")
def baby_cry(rng: Draws) -> Wave:
    base, out, at = rng.uniform(370, 520), np.zeros(SIZE), rng.uniform(0, 0.4)
    while at < 4.5:
        n = int(rng.uniform(0.5, 1.4) * RATE)
        u = np.arange(n) / n
        f0 = (
            base
            * np.interp(u, [0, 0.2, 0.7, 1], [0.8, 1.15, 1.1, 0.75])
            * (1 + 0.02 * np.sin(2 * np.pi * rng.uniform(6, 10) * np.arange(n) / RATE))
        )
        loud = np.interp(u, [0, 0.08, 0.8, 1], [0, 1, 0.8, 0])
        put(
            out,
            at * RATE,
            unit(
                voice(
                    rng,
                    f0,
                    loud,
                    [(0, "e"), (n / RATE * 0.3, "A"), (n / RATE, "a")],
                    0.15,
                    1.5,
                    tilt=-0.3,
                    rough=rng.uniform(0, 0.4),
                    jitter=0.02,
                    shimmer=0.1,
                )
            ),
        )
        m = int(rng.uniform(0.15, 0.3) * RATE)
        put(out, at * RATE + n + 1000, filtered_breath(rng, m, np.hanning(m), "e", 1.5), 0.3)
        at += (n + m) / RATE + rng.uniform(0.05, 0.3)
    return recorded(out, rng, 0.7)


@recipe("Breathing", "Pant", "Gasp", "Wheeze", "Sigh")
def breathing(rng: Draws) -> Wave:
    out, at = np.zeros(SIZE), rng.uniform(0, 0.3)
    quick = rng.random() < 0.5
    nose = rng.random() < 0.4
    while at < 4.7:
        for inward in (True, False):
            n = int((rng.uniform(0.12, 0.35) if quick else rng.uniform(0.6, 1.6)) * RATE)
            u = np.arange(n) / n
            loud = np.sin(np.pi * u ** (0.8 if inward else 0.5)) ** 1.2
            x = filtered_breath(
                rng, n, loud, "m" if nose else ("@" if inward else "a"), 1.1 if inward else 1.0
            )
            if inward:
                x = shape(x, [(300, -12), (2000, 0), (6000, 4), (14000, 0)])
            put(out, at * RATE, x, rng.uniform(0.7, 1) * (0.7 if inward else 1))
            at += n / RATE + (0.02 if quick else rng.uniform(0.05, 0.4))
    return recorded(out, rng, 0.3, (-85, -55), (-36, -16))


@recipe("Snoring", "Breathing")
def snoring(rng: Draws) -> Wave:
    out, at = np.zeros(SIZE), rng.uniform(0, 0.5)
    while at < 4.5:
        n = int(rng.uniform(0.9, 1.7) * RATE)
        u = np.arange(n) / n
        f0 = rng.uniform(30, 80) * (1 + 0.3 * u) * (1 + 0.2 * curve(rng, 12, -1, 1, n))
        x = voice(
            rng,
            f0,
            np.sin(np.pi * u**1.5) ** 0.8,
            [(0, "o"), (n / RATE, "a")],
            0.8,
            0.9,
            rough=0.5,
            jitter=0.08,
            shimmer=0.5,
        )
        put(out, at * RATE, unit(x))
        m = int(rng.uniform(0.8, 1.2) * RATE)
        put(out, at * RATE + n + 4000, filtered_breath(rng, m, np.hanning(m), "@"), 0.25)
        at += (n + m) / RATE + rng.uniform(0.2, 0.6)
    return recorded(out, rng, 0.7)


@recipe("Screaming", "Shout", "Yell")
def scream(rng: Draws) -> Wave:
    out, at = np.zeros(SIZE), rng.uniform(0, 0.5)
    while at < 4.2:
        n = int(rng.uniform(0.6, 2.2) * RATE)
        u = np.arange(n) / n
        f0 = (
            rng.uniform(500, 1100)
            * np.interp(u, [0, 0.15, 0.8, 1], [0.6, 1, 1.05, 0.7])
            * (1 + 0.03 * curve(rng, 14, -1, 1, n))
        )
        x = voice(
            rng,
            f0,
            np.interp(u, [0, 0.06, 0.85, 1], [0, 1, 0.9, 0]),
            [(0, "a"), (n / RATE, "A")],
            0.4,
            1.2,
            tilt=-0.8,
            rough=rng.uniform(0.1, 0.5),
            jitter=0.03,
            shimmer=0.2,
        )
        put(out, at * RATE, np.tanh(2 * unit(x)))
        at += n / RATE + rng.uniform(0.2, 1)
    return recorded(wet(out, room(rng, rng.uniform(0.3, 1.5))), rng, 0.0)


def shout_one(rng: Draws, who: int | None = None) -> Wave:
    who = int(rng.integers(3)) if who is None else who
    base, scale = (
        (rng.uniform(180, 320), 1.0),
        (rng.uniform(320, 520), 1.17),
        (rng.uniform(400, 620), 1.35),
    )[who]
    n = int(rng.uniform(0.25, 1.4) * RATE)
    u = np.arange(n) / n
    f0 = (
        base
        * np.interp(u, [0, 0.3, 1], [rng.uniform(0.8, 1), rng.uniform(1, 1.3), rng.uniform(0.75, 1.1)])
        * (1 + 0.015 * curve(rng, 10, -1, 1, n))
    )
    v = rng.choice(list("aeoAi@"), 2)
    return unit(
        voice(
            rng,
            f0,
            np.interp(u, [0, 0.1, 0.75, 1], [0, 1, 0.8, 0]),
            [(0, v[0]), (n / RATE, v[1])],
            0.2,
            scale * rng.uniform(0.95, 1.05),
            tilt=-0.4,
            rough=rng.uniform(0, 0.3),
            jitter=0.015,
            shimmer=0.1,
        )
    )


@recipe("Shout", "Yell", "Whoop")
def shouting(rng: Draws) -> Wave:
    out, at, who = np.zeros(SIZE), rng.uniform(0, 0.4), int(rng.integers(3))
    while at < 4.5:
        x = shout_one(rng, who)
        put(out, at * RATE, np.tanh(1.5 * x))
        at += len(x) / RATE + rng.uniform(0.05, 0.7)
    return recorded(wet(out, room(rng, rng.uniform(0.3, 1.5))), rng, 0.0)


def cheers(rng: Draws, count: int | None = None) -> Wave:
    out = np.zeros(SIZE)
    for _ in range(count or rng.integers(25, 70)):
        put(out, rng.uniform(-0.5, 4.8) * RATE, shout_one(rng), rng.random() ** 1.5 + 0.05)
    hiss = noise(rng, [(200, -12), (700, 0), (2500, -2), (7000, -12), (14000, -24)]) * curve(rng, 2, 0.5, 1)
    return wet(unit(out) + rng.uniform(0.3, 1.0) * hiss, room(rng, rng.uniform(1, 3)))


@recipe("Cheering", "Crowd")
def cheering(rng: Draws) -> Wave:
    return recorded(cheers(rng), rng, 0.0)


@recipe("Children playing", "Children shouting", "Child speech, kid speaking")
def playground(rng: Draws) -> Wave:
    out = np.zeros(SIZE)
    for _ in range(rng.integers(8, 26)):
        put(out, rng.uniform(-0.3, 4.8) * RATE, shout_one(rng, 2), rng.random() ** 1.5 + 0.05)
    out = wet(unit(out), room(rng, rng.uniform(0.4, 1.5))) + rng.uniform(0.05, 0.3) * noise(
        rng, [(40, 4), (300, 0), (1200, -6), (8000, -25)]
    )
    return recorded(out, rng, 0.0)


@recipe("Humming", "Singing")
def humming(rng: Draws) -> Wave:
    scale_ = [0, 2, 4, 5, 7, 9, 11, 12]
    base, scale = rng.choice([(120.0, 1.0), (220.0, 1.17)])
    notes, f0 = rng.uniform(0.3, 0.8), np.zeros(SIZE)
    at, d = 0, 3
    while at < SIZE:
        n = int(notes * rng.choice([1, 1, 2]) * RATE)
        d = int(np.clip(d + rng.integers(-2, 3), 0, 7))
        f0[at : at + n] = base * 2 ** (scale_[d] / 12)
        at += n
    f0 = signal.filtfilt([0.001], [1, -0.999], f0) * (1 + 0.008 * np.sin(2 * np.pi * 5.5 * TIME))
    return recorded(
        voice(rng, f0, curve(rng, 4, 0.7, 1), [(0, "m"), (5, "m")], 0.03, scale, tilt=1.0), rng, 0.8
    )


@recipe("Cat", "Meow")
def meow(rng: Draws) -> Wave:
    out, at = np.zeros(SIZE), rng.uniform(0, 0.6)
    while at < 4.4:
        n = int(rng.uniform(0.5, 1.1) * RATE)
        u = np.arange(n) / n
        f0 = rng.uniform(450, 750) * np.interp(u, [0, 0.3, 1], [0.8, 1.15, 0.7])
        x = voice(
            rng,
            f0,
            np.interp(u, [0, 0.15, 0.6, 1], [0, 1, 0.8, 0]),
            [(0, "i"), (n / RATE * 0.4, "a"), (n / RATE, "u")],
            0.05,
            1.6,
            rough=0.1,
            jitter=0.01,
        )
        put(out, at * RATE, unit(x))
        at += n / RATE + rng.uniform(0.3, 1.2)
    return recorded(out, rng, 0.7)


@recipe("Purr", "Cat")
def purr(rng: Draws) -> Wave:
    phase = np.cumsum(
        np.where((TIME + rng.uniform(0, 2)) % 2.2 < 1.2, 1.0, 0.9)
        * rng.uniform(22, 30)
        * (1 + 0.05 * curve(rng, 3, -1, 1))
        / RATE
    )
    env = np.exp(-(phase % 1) * 4) * np.where((TIME % 2.2) < 1.2, 1, 0.6)
    x = noise(rng, [(30, 0), (150, 3), (500, 0), (2500, -10), (9000, -26)]) * env
    return recorded(x, rng, 0.2, (-85, -55))


@recipe("Mosquito", "Fly, housefly", "Bee, wasp, etc.", "Insect", "Buzz")
def fly(rng: Draws) -> Wave:
    f = rng.choice([rng.uniform(400, 750), rng.uniform(150, 260)]) * (
        1 + 0.06 * curve(rng, 5, -1, 1) + 0.03 * curve(rng, 25, -1, 1)
    )
    x = sum(swept(f * k) / k**0.9 for k in range(1, 14)) * curve(rng, 5, 0, 1) ** 1.5
    return recorded(
        shape(x, [(80, -20), (300, 0), (5000, -3), (12000, -20)]) + 0.02 * rng.standard_normal(SIZE), rng, 0.3
    )


@recipe("Cricket", "Insect", "Chirp, tweet")
def cricket(rng: Draws) -> Wave:
    x = 0.05 * noise(rng, [(100, 0), (800, -6), (4000, -12), (12000, -20)])
    for _ in range(rng.integers(1, 5)):
        f, rate, pulses = rng.uniform(3500, 5500), rng.uniform(1.5, 4), rng.integers(2, 5)
        phase = (TIME * rate + rng.random()) % 1
        gate = np.where(phase < 0.5, np.abs(np.sin(np.pi * phase * 2 * pulses)) ** 2, 0)
        x = x + rng.uniform(0.2, 1) * swept(f * (1 + 0.01 * curve(rng, 5, -1, 1))) * gate
    return recorded(x, rng, 0.1)


@recipe("Frog", "Croak")
def frogs(rng: Draws) -> Wave:
    x = 0.05 * noise(rng, [(80, 0), (800, -6), (4000, -10), (12000, -26)])
    for _ in range(rng.integers(1, 4)):
        base, fs = rng.uniform(30, 90), rng.uniform([400, 1100], [900, 2400])
        at = rng.uniform(0, 1)
        while at < 4.8:
            n = int(rng.uniform(0.15, 0.5) * RATE)
            pulses = np.diff(np.floor(np.cumsum(np.full(n, base) / RATE)), prepend=0) > 0
            put(
                x,
                at * RATE,
                unit(resonate(pulses * 1.0, fs, [70, 160], [6, 4])) * np.hanning(n) ** 0.5,
                rng.uniform(0.4, 1),
            )
            at += n / RATE + rng.uniform(0.2, 1)
    return recorded(x, rng, 0.2)


@recipe("Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet")
def birds(rng: Draws) -> Wave:
    x = 0.03 * noise(rng, [(60, 3), (500, 0), (3000, -6), (12000, -16)])
    for _ in range(rng.integers(1, 5)):
        f, at, song = (
            rng.uniform(2200, 6500),
            rng.uniform(0, 1),
            [(rng.uniform(0.04, 0.2), rng.uniform(0.7, 1.4, 3)) for _ in range(rng.integers(1, 5))],
        )
        gain = rng.uniform(0.2, 1)
        while at < 4.9:
            for n, bend in song * rng.integers(1, 4):
                n = int(n * RATE)
                path = f * np.interp(np.arange(n) / n, [0, 0.5, 1], bend)
                put(x, at * RATE, np.sin(2 * np.pi * np.cumsum(path) / RATE) * np.hanning(n), gain)
                at += n / RATE + rng.uniform(0.02, 0.08)
            at += rng.uniform(0.3, 1.3)
    return recorded(wet(x, room(rng, rng.uniform(0.3, 1.2))), rng, 0.0)

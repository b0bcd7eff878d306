"""Clocks, tools, impacts and household sounds."""

from __future__ import annotations

import numpy as np
from scipy import signal

from train.pool.synthesis.blocks import (
    band,
    bubbles,
    curve,
    fires,
    gusts,
    modes,
    noise,
    put,
    recorded,
    resonate,
    room,
    spaced,
    specks,
    thud,
    unit,
    wet,
)
from train.pool.synthesis.creatures import cheers
from train.pool.synthesis.recipes import recipe
from train.pool.synthesis.vehicles import motor
from train.pool.synthesis.waves import RATE, SIZE, Curve, Draws, Numbers, Wave
from train.pool.synthesis.weather import tap


@recipe("Tick-tock", "Tick", "Clock")
def clock(rng: Draws) -> Wave:
    period = rng.choice([0.2, 0.25, 0.5, 0.5, 1.0])
    f = rng.uniform(1200, 4500)
    x, at, side = 0.003 * noise(rng, [(50, 3), (400, 0), (6000, -20)]), rng.uniform(0, period), 0
    while at < 5:
        g = f * (1 if side else rng.choice([0.8, 0.85]))
        put(
            x,
            at * RATE,
            modes(rng, [g, g * 1.7, g * 2.6, 220], [0.03, 0.02, 0.015, 0.08], [1, 0.8, 0.6, 0.3], 0.1) + 0,
            1 - 0.3 * side,
        )
        put(x, (at + 0.008) * RATE, thud(rng, 2500, 10000, 0.002), 0.4)
        at, side = at + period, 1 - side
    return recorded(x, rng, 0.9, (-85, -60))


@recipe("Gears", "Mechanisms", "Ratchet, pawl", "Clickety-clack")
def gears(rng: Draws) -> Wave:
    rate = rng.uniform(4, 25)
    x = unit(
        signal.fftconvolve(
            fires(rng, rate * (1 + 0.1 * curve(rng, 3, -1, 1)), 0.4, 0.02, list(np.sort(rng.random(6)))),
            thud(rng, 700, 6000, 0.008, 0.5),
        )[:SIZE]
    )
    x += 0.5 * motor(rng, rate * rng.uniform(3, 8), 1, 0.1)
    return recorded(x, rng, 0.7)


@recipe("Hammer", "Tools", "Wood")
def hammer(rng: Draws) -> Wave:
    x, first = np.zeros(SIZE), rng.uniform(0, 0.4)
    metal = rng.random() < 0.5
    fs = rng.uniform(700, 6000, 8) if metal else rng.uniform(150, 1400, 6)
    period = rng.uniform(0.3, 0.9)
    for at in spaced(first, 4.8, lambda: period * rng.uniform(0.8, 1.2)):
        put(x, at * RATE, thud(rng, 150, 5000, 0.03, 0.8) / 3, 1)
        put(
            x,
            at * RATE,
            modes(
                rng,
                fs * rng.uniform(0.99, 1.01),
                rng.uniform(0.08, 0.5 if metal else 0.12, len(fs)),
                rng.uniform(0.3, 1, len(fs)),
                0.5,
            ),
            0.5,
        )
    return recorded(wet(x, room(rng, rng.uniform(0.2, 0.8))), rng, 0.2)


@recipe("Jackhammer", "Power tool", "Drill")
def jackhammer(rng: Draws) -> Wave:
    rate = rng.uniform(14, 32)
    x = unit(
        signal.fftconvolve(
            fires(rng, rate * (1 + 0.03 * curve(rng, 4, -1, 1)), 0.1, 0.01, [0.0]),
            thud(rng, 150, 5000, 0.02, 0.8) + 0,
        )[:SIZE]
    )
    x += 0.4 * noise(rng, [(100, 0), (800, 0), (4000, -6), (12000, -14)]) + 0.4 * unit(
        signal.fftconvolve(
            fires(rng, rate, 0.2, 0.01, [0.0]),
            modes(rng, rng.uniform(800, 4000, 6), [0.1] * 6, [1] * 6, 0.12),
        )[:SIZE]
    )
    gate = 1.0 if rng.random() < 0.5 else (curve(rng, 1) > 0.35) * 1.0
    return recorded(np.tanh(x) * gate, rng, 0.3)


def strokes(
    rng: Draws, rate: Curve, low: float, high: float, grain: float, tone: Numbers | None = None
) -> Wave:
    """Strokes of a rough edge, back and forth: noise of small hits, louder in one direction."""
    phase = np.cumsum(rate * (1 + 0.1 * curve(rng, 2, -1, 1)) / RATE)
    speed = np.abs(np.sin(np.pi * phase)) ** 0.7 * np.where(phase % 2 < 1, 1, rng.uniform(0.3, 0.9))
    x = (
        noise(rng, [(low / 4, -26), (low, 0), (high, 0), (14000, -14)])
        * speed
        * (0.3 + np.abs(np.sin(np.pi * np.cumsum(speed * grain) / RATE)))
    )
    if tone is not None:
        x = resonate(x, tone, [f * 0.08 for f in tone], [5] * len(tone), 0.5)
    return unit(x)


@recipe("Sawing", "Tools", "Wood")
def sawing(rng: Draws) -> Wave:
    return recorded(
        strokes(rng, rng.uniform(1.2, 4.5), 700, 6000, rng.uniform(80, 220), list(rng.uniform(500, 3000, 3))),
        rng,
        0.6,
    )


@recipe("Filing (rasp)", "Scrape", "Tools")
def filing(rng: Draws) -> Wave:
    return recorded(
        strokes(rng, rng.uniform(1, 3), 1500, 9000, rng.uniform(200, 600), list(rng.uniform(1800, 6000, 4))),
        rng,
        0.5,
    )


@recipe("Sanding", "Rub", "Tools")
def sanding(rng: Draws) -> Wave:
    return recorded(strokes(rng, rng.uniform(1.5, 5), 1500, 8000, 2000), rng, 0.5)


@recipe("Scratch", "Rub", "Scrape")
def scratching(rng: Draws) -> Wave:
    return recorded(strokes(rng, rng.uniform(2, 7), 1500, 9000, rng.uniform(20, 90)), rng, 0.4)


@recipe("Toothbrush", "Rub")
def toothbrush(rng: Draws) -> Wave:
    return recorded(
        strokes(rng, rng.uniform(4, 8), 2500, 9000, 900) + 0.1 * bubbles(rng, 30, 500, 2000), rng, 0.8
    )


@recipe("Writing", "Scratch")
def writing(rng: Draws) -> Wave:
    gate = (curve(rng, 9) > 0.35) * curve(rng, 20, 0.3, 1)
    x = (
        noise(rng, [(400, -18), (1500, -3), (4000, 0), (9000, -6), (14000, -16)])
        * gate
        * (0.4 + np.abs(np.sin(np.pi * np.cumsum(60 * curve(rng, 10, 0.4, 1)) / RATE)))
    )
    for _ in range(rng.integers(5, 20)):
        put(x, rng.uniform(0, 4.9) * RATE, thud(rng, 300, 4000, 0.008, 0.3), rng.uniform(0.5, 2))
    return recorded(x, rng, 0.7, (-80, -50), (-40, -22))


@recipe("Typing", "Computer keyboard", "Typewriter", "Clicking")
def typing(rng: Draws) -> Wave:
    x, at, old = np.zeros(SIZE), rng.uniform(0, 0.2), rng.random() < 0.4
    body = rng.uniform(900, 3500, 5)
    while at < 4.9:
        for shift, gain in ((0, 1), (rng.uniform(0.05, 0.11), 0.5)):
            put(
                x,
                (at + shift) * RATE,
                modes(
                    rng,
                    body * rng.uniform(0.85, 1.15, 5),
                    rng.uniform(0.01, 0.05, 5),
                    rng.uniform(0.2, 1, 5),
                    0.06,
                )
                + 0,
                gain * rng.uniform(0.4, 1) * 0.5,
            )
            put(
                x,
                (at + shift) * RATE,
                thud(rng, 800 if not old else 400, 9000, 0.006 if not old else 0.015, 0.8),
                gain * rng.uniform(0.5, 1) * (2 if old else 1),
            )
        at += rng.choice(
            [rng.uniform(0.07, 0.16), rng.uniform(0.15, 0.3), rng.uniform(0.3, 0.7)], p=[0.6, 0.3, 0.1]
        )
        if old and rng.random() < 0.02:
            put(x, at * RATE, modes(rng, [2300, 4900], [0.8, 0.4], [1, 0.5], 0.8))
    return recorded(x, rng, 0.8)


@recipe("Walk, footsteps", "Run")
def footsteps(rng: Draws) -> Wave:
    x, first = 0.002 * noise(rng, [(50, 3), (400, 0), (6000, -20)]), rng.uniform(0, 0.3)
    period = rng.choice([rng.uniform(0.45, 0.65), rng.uniform(0.26, 0.36)])
    kind = rng.integers(4)
    for at in spaced(first, 4.9, lambda: period * rng.uniform(0.94, 1.06)):
        g = rng.uniform(0.7, 1)
        if kind == 0:  # hard heels
            put(
                x,
                at * RATE,
                modes(rng, rng.uniform(600, 2600, 5), [0.05] * 5, rng.uniform(0.3, 1, 5), 0.08) * 0.4,
                g,
            )
            put(x, at * RATE, thud(rng, 120, 3500, 0.02, 0.8), g)
            put(x, (at + rng.uniform(0.06, 0.1)) * RATE, thud(rng, 300, 4000, 0.015, 0.2), 0.35 * g)
        elif kind == 1:  # gravel or snow
            n = int(rng.uniform(0.15, 0.3) * RATE)
            put(x, at * RATE, specks(rng, rng.uniform(800, 3000), 1000, 9000, 0.002, n) * np.hanning(n), g)
        elif kind == 2:  # wood
            put(x, at * RATE, thud(rng, 60, 700, 0.05, 0.2) + 0, g * 1.5)
            put(x, at * RATE, modes(rng, rng.uniform(90, 500, 5), [0.12] * 5, [0.4] * 5, 0.15), g)
        else:
            put(x, at * RATE, thud(rng, 80, 1800, 0.03, 0.1), g)
            n = int(0.12 * RATE)
            put(x, (at + 0.05) * RATE, band(rng, 1500, 7000, n) * np.hanning(n), 0.15 * g)
    return recorded(wet(x, room(rng, rng.uniform(0.15, 1.2))), rng, 0.2)


@recipe("Clip-clop", "Horse")
def clip_clop(rng: Draws) -> Wave:
    x, first = np.zeros(SIZE), 0.0
    fs, period = rng.uniform(600, 1500, 4), rng.uniform(0.32, 0.6)
    offsets = [0, 0.25, 0.5, 0.75] if rng.random() < 0.5 else [0, 0.12, 0.45]
    for at in spaced(first, 5, lambda: 2 * period):
        for i, o in enumerate(offsets):
            put(
                x,
                (at + period * 2 * o) * RATE,
                modes(
                    rng,
                    [fs[i % 4], fs[i % 4] * 1.9, fs[i % 4] * 3.1],
                    [0.06, 0.04, 0.02],
                    [1, 0.5, 0.3],
                    0.08,
                )
                + 0,
                rng.uniform(0.7, 1),
            )
            put(x, (at + period * 2 * o) * RATE, thud(rng, 200, 3500, 0.01, 0.3), 0.8)
    return recorded(wet(x, room(rng, rng.uniform(0.2, 0.8))), rng, 0.2)


@recipe("Knock", "Door", "Tap")
def knocking(rng: Draws) -> Wave:
    x, fs = np.zeros(SIZE), rng.uniform(90, 900, 7)
    at = rng.uniform(0, 0.5)
    while at < 4.6:
        for _ in range(rng.integers(2, 6)):
            put(
                x,
                at * RATE,
                modes(rng, fs, rng.uniform(0.05, 0.15, 7), rng.uniform(0.2, 1, 7), 0.2) + 0,
                rng.uniform(0.7, 1),
            )
            put(x, at * RATE, thud(rng, 200, 3000, 0.008, 0.2), 1)
            at += rng.uniform(0.12, 0.28)
        at += rng.uniform(0.6, 1.4)
    return recorded(wet(x, room(rng, rng.uniform(0.2, 0.8))), rng, 0.1)


@recipe("Coin (dropping)", "Jingle, tinkle", "Keys jangling")
def coins(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    for _ in range(rng.integers(2, 9)):
        at, f, gap = rng.uniform(0, 3.5), rng.uniform(3500, 7500), rng.uniform(0.15, 0.3)
        while gap > 0.012 and at < 4.9:
            put(
                x,
                at * RATE,
                modes(rng, f * np.array([1, 1.53, 2.2]), [0.35, 0.2, 0.1], [1, 0.7, 0.4], 0.35),
                gap * 4,
            )
            at, gap = at + gap, gap * rng.uniform(0.65, 0.85)
    return recorded(x, rng, 0.7)


@recipe("Keys jangling", "Jingle, tinkle")
def keys(rng: Draws) -> Wave:
    x, fs = np.zeros(SIZE), rng.uniform(2500, 9000, 14)
    density = 60 * gusts(rng, 5, 0.02)
    for at in np.flatnonzero(rng.random(SIZE) < density / RATE).tolist():
        f = rng.choice(fs)
        put(
            x,
            at,
            modes(rng, [f, f * 1.37, f * 1.8], [0.12, 0.08, 0.05], [1, 0.7, 0.5], 0.13) + 0,
            rng.random() ** 1.5,
        )
        put(x, at, thud(rng, 3000, 12000, 0.002), 0.3 * rng.random())
    return recorded(x, rng, 0.7)


@recipe("Dishes, pots, and pans", "Cutlery, silverware", "Chink, clink", "Clatter")
def dishes(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    bodies = [
        (
            rng.uniform(900, 3500) * np.array([1, 1.6, 2.4, 3.3, 4.5]) * rng.uniform(0.95, 1.05, 5),
            rng.uniform(0.08, 0.6),
        )
        for _ in range(rng.integers(3, 8))
    ]
    for _ in range(rng.integers(10, 45)):
        fs, d = bodies[rng.integers(len(bodies))]
        at = rng.uniform(0, 4.8)
        put(
            x,
            at * RATE,
            modes(rng, fs, d * rng.uniform(0.3, 1, 5), rng.uniform(0.2, 1, 5), 0.6),
            rng.random() ** 1.3,
        )
        put(x, at * RATE, thud(rng, 500, 7000, 0.006, 0.5), 0.7 * rng.random())
    if rng.random() < 0.4:
        x = unit(x) + 0.3 * unit(tap(rng))
    return recorded(wet(x, room(rng, rng.uniform(0.2, 0.7))), rng, 0.1)


@recipe("Glass", "Shatter", "Breaking", "Smash, crash")
def shatter(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    for _ in range(rng.integers(1, 3)):
        at = rng.uniform(0.1, 2.5)
        put(x, at * RATE, thud(rng, 300, 9000, 0.05, 1.5), 2)
        for _ in range(rng.integers(40, 140)):
            f = rng.uniform(2000, 11000)
            put(
                x,
                (at + rng.exponential(0.35)) * RATE,
                modes(rng, [f, f * 1.41, f * 1.9], [0.2, 0.1, 0.06], [1, 0.6, 0.4], 0.2),
                0.6 * rng.random() ** 2,
            )
    return recorded(x, rng, 0.7)


@recipe("Basketball bounce", "Bouncing", "Thump, thud")
def bounce(rng: Draws) -> Wave:
    x, first, f = np.zeros(SIZE), rng.uniform(0, 0.4), rng.uniform(70, 140)
    period = rng.uniform(0.35, 0.9)
    for at in spaced(first, 4.8, lambda: period * rng.uniform(0.93, 1.07)):
        put(
            x,
            at * RATE,
            modes(rng, [f, f * 2.2, f * 5, 900], [0.15, 0.08, 0.05, 0.25], [1, 0.7, 0.3, 0.12], 0.3) + 0,
            1,
        )
        put(x, at * RATE, thud(rng, 200, 3500, 0.012, 0.3), 0.8)
    return recorded(wet(x, room(rng, rng.uniform(0.6, 2.5))), rng, 0.1)


@recipe("Clapping", "Hands", "Applause")
def clapping(rng: Draws) -> Wave:
    x, first, period = np.zeros(SIZE), rng.uniform(0, 0.3), rng.uniform(0.2, 0.6)
    f = rng.uniform(900, 2200)
    for at in spaced(first, 4.9, lambda: period * rng.uniform(0.93, 1.07)):
        put(
            x,
            at * RATE,
            resonate(
                thud(rng, 500, 9000, 0.008, 0.8),
                [f * rng.uniform(0.9, 1.1), f * 2.1],
                [350, 700],
                [6, 3],
                0.4,
            ),
            rng.uniform(0.7, 1),
        )
    return recorded(wet(x, room(rng, rng.uniform(0.2, 1.5))), rng, 0.2)


@recipe("Applause", "Crowd", "Clapping")
def applause(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    claps = [
        resonate(thud(rng, 500, 9000, 0.008, 0.8), [f, f * 2.1], [350, 700], [6, 3], 0.4)
        for f in rng.uniform(800, 2400, 24)
    ]
    for _ in range(int(np.exp(rng.uniform(2.3, 5)))):
        at, period, gain, clap = (
            rng.uniform(0, 0.5),
            rng.uniform(0.19, 0.36),
            rng.random() ** 1.5 + 0.05,
            claps[rng.integers(24)],
        )
        while at < 5:
            put(x, at * RATE, clap, gain * rng.uniform(0.6, 1))
            at += period * rng.uniform(0.85, 1.15)
    x = wet(x, room(rng, rng.uniform(0.6, 2)))
    if rng.random() < 0.5:
        x = unit(x) + rng.uniform(0.1, 0.5) * unit(cheers(rng))
    return recorded(x, rng, 0.0)


@recipe("Finger snapping", "Hands")
def snapping(rng: Draws) -> Wave:
    x, first, period = np.zeros(SIZE), rng.uniform(0, 0.3), rng.uniform(0.35, 0.8)
    for at in spaced(first, 4.9, lambda: period * rng.uniform(0.97, 1.03)):
        f = rng.uniform(1700, 2600)
        put(x, at * RATE, resonate(thud(rng, 900, 9000, 0.004, 1.0), [f, f * 2.2], [250, 500], [6, 2], 0.3))
    return recorded(wet(x, room(rng, rng.uniform(0.2, 0.9))), rng, 0.2)


@recipe("Gunshot, gunfire", "Machine gun", "Fusillade")
def gunfire(rng: Draws) -> Wave:
    x, kind = np.zeros(SIZE), rng.integers(3)

    def shot() -> Wave:
        return thud(rng, 80, 6000, rng.uniform(0.06, 0.2), 2.5)

    if kind == 0:
        for _ in range(rng.integers(1, 6)):
            put(x, rng.uniform(0, 4.5) * RATE, shot(), rng.uniform(0.6, 1))
    elif kind == 1:
        at = rng.uniform(0, 0.4)
        while at < 4.8:
            rate, s = rng.uniform(8, 15), shot()
            for _ in range(rng.integers(4, 20)):
                put(x, at * RATE, s, rng.uniform(0.85, 1))
                at += 1 / rate
            at += rng.uniform(0.2, 0.9)
    else:
        for _ in range(rng.integers(15, 60)):
            put(x, rng.uniform(0, 4.9) * RATE, shot(), rng.random())
    x = np.tanh(unit(x))
    return recorded(wet(x, room(rng, rng.uniform(0.6, 2.5))), rng, 0.0)


@recipe("Fireworks", "Firecracker", "Burst, pop", "Explosion")
def fireworks(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    for _ in range(rng.integers(2, 9)):
        at = rng.uniform(0, 4.3)
        put(x, at * RATE, thud(rng, 40, 2500, rng.uniform(0.1, 0.4), 0.8), rng.uniform(0.4, 1) * 2)
        if rng.random() < 0.6:
            n = int(1.5 * RATE)
            t = np.arange(n) / RATE
            put(x, (at + 0.3) * RATE, specks(rng, 120 * np.exp(-t * 1.5), 1500, 9000, 0.003, n), 0.35)
        if rng.random() < 0.4:
            n = int(rng.uniform(0.5, 1) * RATE)
            t = np.arange(n) / RATE
            put(
                x,
                at * RATE - n,
                np.sin(2 * np.pi * np.cumsum(rng.uniform(1800, 2600) + 1200 * t) / RATE) * t,
                0.4,
            )
    return recorded(wet(x, room(rng, rng.uniform(1, 3))), rng, 0.0)


@recipe("Firecracker", "Fireworks", "Cap gun")
def firecracker(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    density = rng.uniform(6, 30) * (curve(rng, 2) > 0.3)
    for at in np.flatnonzero(rng.random(SIZE) < density / RATE).tolist():
        put(x, at, thud(rng, 300, 8000, rng.uniform(0.01, 0.04), 2), rng.uniform(0.3, 1))
    return recorded(wet(x, room(rng, rng.uniform(0.4, 1.5))), rng, 0.0)


@recipe("Explosion", "Boom", "Artillery fire")
def explosion(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    for _ in range(rng.integers(1, 4)):
        n = int(4 * RATE)
        t = np.arange(n) / RATE
        roll = (
            noise(rng, [(20, 8), (60, 6), (200, 0), (1000, -12), (6000, -26)], n)
            * np.exp(-t * rng.uniform(1, 3.5))
            * np.minimum(t * 400, 1)
        )
        put(x, rng.uniform(0, 3) * RATE, roll + 0.6 * np.pad(thud(rng, 60, 6000, 0.1, 1), (0, n))[:n])
    return recorded(np.tanh(unit(x)), rng, 0.6)


@recipe("Whoosh, swoosh, swish", "Arrow")
def whoosh(rng: Draws) -> Wave:
    x, first = np.zeros(SIZE), rng.uniform(0, 0.5)
    for at in spaced(first, 4.6, lambda: rng.uniform(0.4, 1.4)):
        n = int(rng.uniform(0.15, 0.7) * RATE)
        f = rng.uniform(400, 1800)
        p = band(rng, f, f * 4, n, 12) * np.hanning(n) ** 1.5
        put(x, at * RATE, p, rng.uniform(0.5, 1))
    return recorded(x, rng, 0.4)


@recipe("Crumpling, crinkling", "Tearing", "Rustle")
def crumple(rng: Draws) -> Wave:
    g = gusts(rng, 6, 0.02)
    x = (
        specks(rng, 1500 * g, 1500, 11000, 0.0012, heavy=1.5) * g
        + 0.1 * noise(rng, [(500, -20), (3000, 0), (12000, -4)]) * g
    )
    return recorded(x, rng, 0.5)


@recipe("Tearing", "Zipper (clothing)")
def tearing(rng: Draws) -> Wave:
    x, at = np.zeros(SIZE), rng.uniform(0, 0.4)
    while at < 4.5:
        n = int(rng.uniform(0.3, 1.1) * RATE)
        rate = np.interp(np.arange(n) / n, [0, 1], rng.uniform(60, 400, 2))
        pulses = np.diff(np.floor(np.cumsum(rate / RATE)), prepend=0) > 0
        p = signal.fftconvolve(pulses * rng.uniform(0.4, 1, n), thud(rng, 1500, 10000, 0.003, 0.5))[:n]
        put(x, at * RATE, unit(p + 0.1 * rng.standard_normal(n)), rng.uniform(0.5, 1))
        at += n / RATE + rng.uniform(0.2, 0.8)
    return recorded(x, rng, 0.5)


@recipe("Squeak", "Creak", "Door")
def creak(rng: Draws) -> Wave:
    rate = rng.uniform(20, 140) * curve(rng, 4, 0.4, 1.3)
    train = fires(rng, rate, 0.3, 0.15, [0.0])
    fs = rng.uniform(400, 2600, 5)
    x = resonate(train, fs, fs * 0.05, [8] * 5) * gusts(rng, 3, 0.0)
    return recorded(wet(unit(x), room(rng, rng.uniform(0.2, 0.9))), rng, 0.2)


@recipe("Heart sounds, heartbeat", "Throbbing", "Heart murmur")
def heartbeat(rng: Draws) -> Wave:
    period, x = rng.uniform(0.5, 1.1), np.zeros(SIZE)
    first = rng.uniform(0, 0.4)
    for at in spaced(first, 4.8, lambda: period * rng.uniform(0.97, 1.03)):
        for shift, g in ((0, 1), (period * 0.35, 0.7)):
            put(x, (at + shift) * RATE, thud(rng, 25, 110, 0.07), g)
        if rng.random() < 2:
            n = int(period * 0.25 * RATE)
            put(x, (at + 0.08) * RATE, band(rng, 100, 400, n) * np.hanning(n), 0.05)
    return recorded(x, rng, 0.1, (-85, -55), (-28, -12))

"""Weather, water and fire."""

from __future__ import annotations

import numpy as np

from train.pool.synthesis.blocks import (
    band,
    bubble,
    bubbles,
    curve,
    gusts,
    modes,
    noise,
    put,
    recorded,
    resonate,
    room,
    spaced,
    specks,
    swept,
    thud,
    unit,
    wet,
)
from train.pool.synthesis.recipes import recipe
from train.pool.synthesis.waves import RATE, SIZE, TIME, Draws, Wave


@recipe("Wind", "Outside, rural or natural")
def wind(rng: Draws) -> Wave:
    g = gusts(rng, 0.9, 0.1)
    x = noise(rng, [(25, 6), (100, 4), (300, 0), (900, -8), (3000, -22), (12000, -40)]) * g
    for _ in range(rng.integers(0, 4)):
        f = rng.uniform(300, 1100) * (1 + 0.25 * curve(rng, 1.5, -1, 1))
        b = band(rng, 20, 90)
        x = x + rng.uniform(0.2, 0.9) * unit(swept(f) * b * g**1.5)
    return recorded(x, rng, 0.1)


@recipe("Wind noise (microphone)", "Wind")
def wind_microphone(rng: Draws) -> Wave:
    g = curve(rng, 4, 0, 1) ** 2 * gusts(rng, 1, 0.2)
    x = noise(rng, [(15, 8), (60, 6), (150, -2), (500, -16), (3000, -36), (12000, -50)]) * (0.1 + g)
    x = np.clip(x * rng.uniform(1, 3), -2, 2) + 0.02 * noise(rng, [(300, 0), (3000, 0), (14000, -10)])
    return recorded(x, rng, 0.0, lowest=(-26, -8))


@recipe("Rustling leaves", "Wind", "Rustle")
def leaves(rng: Draws) -> Wave:
    g = gusts(rng, 1.2, 0.1)
    x = (
        noise(rng, [(300, -25), (1500, -5), (4000, 0), (9000, -3), (14000, -8)]) * g * curve(rng, 15, 0.4, 1)
        + 0.5 * specks(rng, 700 * g, 2500, 12000, 0.004) * g
    )
    return recorded(x + 0.3 * noise(rng, [(30, 4), (200, 0), (900, -15), (8000, -45)]) * g, rng, 0.1)


@recipe("Thunder", "Thunderstorm")
def thunder(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    for _ in range(rng.integers(1, 3)):
        at, t = rng.uniform(0, 2), np.arange(int(4.5 * RATE)) / RATE
        roll = (
            noise(rng, [(20, 8), (70, 4), (200, -4), (800, -16), (4000, -34)], len(t))
            * np.exp(-t / rng.uniform(0.7, 2))
            * curve(rng, 7, 0.1, 1, len(t))
        )
        put(x, at * RATE, roll * np.minimum(t * 30, 1))
        if rng.random() < 0.5:
            put(x, at * RATE, thud(rng, 200, 7000, rng.uniform(0.1, 0.4)), rng.uniform(0.3, 1))
    if rng.random() < 0.6:
        x += rng.uniform(0.03, 0.3) * rainfall(rng)
    return recorded(x, rng, 0.0)


def rainfall(rng: Draws, density: float | None = None) -> Wave:
    density = density or np.exp(rng.uniform(5.5, 9.2))
    x = specks(rng, density, 2500, 12000, 0.0015, heavy=3) + rng.uniform(0.3, 1.2) * noise(
        rng, [(100, -22), (700, -9), (3000, -1), (7000, 0), (14000, -6)]
    )
    return unit(x)


@recipe("Rain", "Rain on surface", "Raindrop")
def rain(rng: Draws) -> Wave:
    x = rainfall(rng)
    if rng.random() < 0.6:
        x += rng.uniform(0.2, 1) * specks(rng, rng.uniform(10, 200), 500, 4000, 0.006) + rng.uniform(
            0, 0.6
        ) * bubbles(rng, rng.uniform(5, 80), 900, 4000)
    return recorded(x, rng, 0.2)


@recipe("Raindrop", "Rain on surface", "Drip")
def drops_on_roof(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    for _ in range(int(np.exp(rng.uniform(2.5, 5)))):
        f = rng.uniform(150, 900)
        put(
            x,
            rng.uniform(0, 4.9) * RATE,
            modes(rng, [f, f * 2.3, f * 4.1], [0.08, 0.05, 0.03], [1, 0.7, 0.5], 0.12)
            + 0.3 * thud(rng, 1500, 8000, 0.004)[:3840].sum() * 0,
            rng.random() ** 1.5,
        )
        put(x, rng.uniform(0, 4.9) * RATE, thud(rng, 800, 7000, 0.006), 0.4 * rng.random())
    return recorded(unit(x) + rng.uniform(0.02, 0.3) * rainfall(rng, 2000), rng, 0.6)


@recipe("Ocean", "Waves, surf", "Water")
def ocean(rng: Draws) -> Wave:
    x = 0.15 * noise(rng, [(40, 6), (200, 3), (900, -4), (6000, -18)])
    first = -rng.uniform(0, 3)
    for at in spaced(first, 5, lambda: rng.uniform(1.5, 3.5)):
        n = rng.uniform(3, 6)
        t = np.arange(int(n * RATE)) / RATE
        rise = rng.uniform(0.5, 2)
        env = np.where(t < rise, (t / rise) ** 2, np.exp(-(t - rise) * rng.uniform(0.6, 1.4)))
        low = noise(rng, [(30, 4), (150, 4), (500, 0), (1500, -6), (8000, -20)], len(t)) * env
        high = (
            noise(rng, [(400, -14), (2000, 0), (6000, 0), (14000, -8)], len(t))
            * env**2
            * np.clip(t / rise, 0, 1)
        )
        put(x, at * RATE, low + rng.uniform(0.4, 1.1) * high, rng.uniform(0.6, 1))
    return recorded(x, rng, 0.0)


@recipe("Stream", "Water", "Trickle, dribble", "Gurgling")
def stream(rng: Draws) -> Wave:
    x = bubbles(
        rng, rng.uniform(150, 900) * gusts(rng, 2, 0.4), rng.uniform(300, 600), rng.uniform(1800, 4500)
    ) + rng.uniform(0.05, 0.5) * noise(rng, [(200, -8), (800, 0), (3000, -3), (9000, -10), (14000, -20)])
    return recorded(x, rng, 0.2)


@recipe("Waterfall", "Stream", "Water")
def waterfall(rng: Draws) -> Wave:
    x = noise(rng, [(40, -2), (200, 2), (700, 0), (3000, -3), (9000, -9), (14000, -16)]) * curve(
        rng, 8, 0.8, 1
    ) + rng.uniform(0.1, 0.5) * bubbles(rng, 900, 300, 2500)
    return recorded(x, rng, 0.1)


@recipe("Water tap, faucet", "Sink (filling or washing)", "Water", "Liquid")
def tap(rng: Draws) -> Wave:
    on, off = rng.uniform(0, 1), rng.uniform(3.5, 6)
    x = noise(rng, [(150, -16), (600, -6), (1800, 0), (5000, 0), (10000, -4), (14000, -10)]) * curve(
        rng, 10, 0.7, 1
    )
    x = resonate(x, rng.uniform([350, 900, 2200], [700, 1800, 4000]), [150, 300, 600], [3, 3, 3], 0.8)
    x = (
        unit(x)
        + rng.uniform(0.3, 1.2) * bubbles(rng, rng.uniform(200, 900), 400, 2800)
        + rng.uniform(0, 0.4) * specks(rng, 300, 2000, 9000)
    )
    return recorded(x * np.clip((TIME - on) * 10, 0, 1) * np.clip((off - TIME) * 6, 0, 1), rng, 0.9)


@recipe("Fill (with liquid)", "Pour", "Liquid", "Water")
def filling(rng: Draws) -> Wave:
    tube = np.interp(TIME, [0, 5], [rng.uniform(250, 500), rng.uniform(900, 2200)])
    pour = noise(rng, [(150, -10), (700, 0), (3000, -4), (10000, -16)]) * curve(rng, 14, 0.5, 1)
    hop, out = 1600, np.zeros(SIZE)
    window = np.hanning(2 * hop)
    for at in range(0, SIZE - 2 * hop, hop):
        out[at : at + 2 * hop] += window * resonate(
            pour[at : at + 2 * hop], [tube[at], tube[at] * 2.9], [60, 140], [6, 3], 0.15
        )
    x = unit(out) + rng.uniform(0.3, 1) * bubbles(rng, rng.uniform(100, 500), 400, 2400)
    gate = np.clip(np.interp(TIME, [0, 0.3, 4.4, 4.8, 5], [0, 1, 1, 0, 0]), 0, 1)
    return recorded(x * gate, rng, 0.8)


@recipe("Pour", "Liquid", "Gurgling", "Trickle, dribble")
def pouring(rng: Draws) -> Wave:
    glug = 0.35 + 0.65 * np.clip(
        np.sin(2 * np.pi * np.cumsum(rng.uniform(3, 8) * (1 + 0.2 * curve(rng, 3, -1, 1))) / RATE), 0, 1
    )
    x = (
        bubbles(rng, rng.uniform(150, 600) * glug, 300, 2200, 0.2)
        + rng.uniform(0.1, 0.6) * noise(rng, [(200, -12), (1000, 0), (5000, -4), (12000, -14)]) * glug
    )
    return recorded(x * np.clip(np.interp(TIME, [0, 0.3, 3.5, 4.8], [0, 1, 1, 0]), 0, 1), rng, 0.8)


@recipe("Drip", "Plop", "Liquid")
def drip(rng: Draws) -> Wave:
    x, first, f = (
        0.004 * noise(rng, [(60, 0), (600, -5), (6000, -25)]),
        rng.uniform(0, 0.5),
        rng.uniform(500, 1800),
    )
    period = rng.uniform(0.25, 1.2)
    for at in spaced(first, 4.9, lambda: period * rng.uniform(0.7, 1.4)):
        put(
            x,
            at * RATE,
            bubble(rng, f * rng.uniform(0.8, 1.25), rng.uniform(0.15, 0.5), rng.uniform(0.3, 0.8)),
        )
        put(x, (at - 0.01) * RATE, thud(rng, 2000, 9000, 0.003), 0.2)
    return recorded(wet(x, room(rng, rng.uniform(0.2, 1.6))), rng, 0.2)


@recipe("Boiling", "Gurgling")
def boiling(rng: Draws) -> Wave:
    x = bubbles(rng, rng.uniform(300, 1200) * curve(rng, 6, 0.5, 1), 150, 1300, 0.15) + rng.uniform(
        0.2, 0.7
    ) * noise(rng, [(60, 0), (300, 0), (1500, -8), (8000, -22)])
    return recorded(x, rng, 0.7)


@recipe("Toilet flush", "Gush", "Water")
def toilet(rng: Draws) -> Wave:
    env = np.interp(TIME, [0, 0.25, 0.5, 2.2, 3.2, 5], [0, 0.1, 1, 0.9, 0.35, 0.12])
    x = noise(rng, [(60, 0), (250, 3), (900, 0), (3000, -4), (10000, -14)]) * env * curve(rng, 10, 0.6, 1)
    x = resonate(x, rng.uniform([180, 450, 1100], [300, 800, 2000]), [120, 200, 400], [4, 3, 2], 0.7)
    x = unit(x) + 0.8 * bubbles(rng, 50 + 700 * env, 200, 1600, 0.2) * (0.2 + env)
    put(x, 0.1 * RATE, thud(rng, 300, 3000, 0.03, 0.5), 4)
    return recorded(wet(x, room(rng, rng.uniform(0.3, 0.8))), rng, 0.2)


@recipe("Bathtub (filling or washing)", "Water", "Splash, splatter", "Slosh")
def bath(rng: Draws) -> Wave:
    x = 0.4 * bubbles(rng, rng.uniform(100, 400) * gusts(rng, 3, 0.1), 250, 1600, 0.2) + 0.15 * noise(
        rng, [(150, -6), (700, 0), (3000, -6), (10000, -18)]
    )
    for _ in range(rng.integers(2, 8)):
        put(x, rng.uniform(0, 4.5) * RATE, splash_one(rng), rng.uniform(0.5, 2))
    if rng.random() < 0.5:
        x += 0.7 * unit(tap(rng))
    return recorded(wet(x, room(rng, rng.uniform(0.3, 0.9))), rng, 0.2)


def splash_one(rng: Draws) -> Wave:
    n = int(rng.uniform(0.4, 1.2) * RATE)
    t = np.arange(n) / RATE
    env = np.minimum(t * 60, 1) * np.exp(-t * rng.uniform(3, 7))
    x = (
        noise(rng, [(150, -8), (700, 0), (3000, -2), (9000, -8)], n) * env
        + 0.9 * bubbles(rng, 900 * env + 20, 250, 1800, 0.2, n) * env**0.5
    )
    return unit(x)


@recipe("Splash, splatter", "Water", "Slosh")
def splash(rng: Draws) -> Wave:
    x = 0.02 * noise(rng, [(60, 0), (500, -5), (6000, -25)])
    for _ in range(rng.integers(2, 9)):
        put(x, rng.uniform(0, 4.5) * RATE, splash_one(rng), rng.uniform(0.3, 1))
    return recorded(x, rng, 0.5)


@recipe("Spray", "Hiss", "Steam")
def spray(rng: Draws) -> Wave:
    x, at = np.zeros(SIZE), rng.uniform(0, 0.4)
    while at < 4.8:
        n = rng.choice([rng.uniform(0.12, 0.3), rng.uniform(0.5, 1.8)])
        t = np.arange(int(n * RATE)) / RATE
        put(
            x,
            at * RATE,
            noise(rng, [(500, -25), (2500, -5), (6000, 0), (14000, 0)], len(t))
            * np.minimum(np.minimum(t * 60, 1), (n - t) * 30),
            rng.uniform(0.6, 1),
        )
        at += n + rng.uniform(0.15, 0.7)
    return recorded(x, rng, 0.5)


@recipe("Steam", "Hiss")
def steam(rng: Draws) -> Wave:
    x = noise(rng, [(200, -22), (1200, -8), (4000, 0), (9000, 0), (14000, -4)]) * curve(
        rng, 5, 0.6, 1
    ) + rng.uniform(0, 0.3) * bubbles(rng, 200, 300, 1500)
    return recorded(x * np.interp(TIME, [0, 1, 2.5, 4, 5], rng.uniform(0.3, 1, 5)), rng, 0.4)


@recipe("Fire", "Crackle")
def fire(rng: Draws) -> Wave:
    x = specks(rng, rng.uniform(8, 50), 800, 8000, 0.0015, heavy=1.3) + rng.uniform(0.2, 0.7) * specks(
        rng, rng.uniform(100, 400), 1500, 9000, 0.001
    )
    x = (
        unit(x)
        + rng.uniform(0.1, 0.7)
        * noise(rng, [(25, 8), (80, 5), (250, 0), (900, -12), (5000, -24), (12000, -34)])
        * curve(rng, 6, 0.3, 1)
        + rng.uniform(0.02, 0.2) * noise(rng, [(500, -15), (3000, 0), (10000, -3)]) * curve(rng, 5, 0.3, 1)
    )
    return recorded(x, rng, 0.1)


@recipe("Frying (food)", "Sizzle")
def frying(rng: Draws) -> Wave:
    x = noise(rng, [(300, -22), (1500, -9), (4000, 0), (9000, 0), (14000, -3)]) * curve(
        rng, 5, 0.7, 1
    ) + rng.uniform(0.4, 1) * specks(rng, rng.uniform(200, 1500), 2000, 11000, 0.0015, heavy=1.8)
    if rng.random() < 0.4:
        for _ in range(4):
            put(
                x,
                rng.uniform(0, 4.7) * RATE,
                modes(rng, rng.uniform(900, 5000, 5), [0.25] * 5, [0.6] * 5, 0.3),
                2,
            )
    return recorded(x, rng, 0.7)

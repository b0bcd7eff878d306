"""Hums, pulses, static, and many things at once."""

from __future__ import annotations

import numpy as np

from train.pool.synthesis.blocks import band, curve, noise, recorded, resonate, specks, swept, unit
from train.pool.synthesis.recipes import EVENTS, recipe
from train.pool.synthesis.waves import SIZE, TIME, Draws, Wave


@recipe("Mains hum", "Hum")
def hum(rng: Draws) -> Wave:
    base = rng.choice([50, 60])
    x = sum(rng.uniform(0.1, 1) / k ** rng.uniform(0.3, 1.2) * swept(base * k) for k in range(1, 16))
    return recorded(x + rng.uniform(0.01, 0.3) * noise(rng, [(50, 0), (1000, -10), (10000, -20)]), rng, 0.3)


@recipe("Pulse", "Throbbing")
def pulse(rng: Draws) -> Wave:
    f, rate = rng.uniform(60, 900), rng.uniform(2, 12)
    return recorded(np.tanh(3 * swept(f)) * np.exp(-(TIME * rate % 1) * rng.uniform(1, 8)), rng, 0.3)


@recipe("Vibration", "Hum", "Buzz")
def vibration(rng: Draws) -> Wave:
    f = rng.uniform(90, 190)
    gate = (TIME % rng.uniform(0.8, 2.5)) < rng.uniform(0.4, 1.5)
    x = resonate(
        np.sign(swept(f * (1 + 0.01 * curve(rng, 9, -1, 1)))) + 0.3 * rng.standard_normal(SIZE),
        [f * 2, f * 5, 1800],
        [80, 200, 500],
        [3, 3, 2],
        0.3,
    )
    return recorded(unit(x) * gate, rng, 0.7)


@recipe("Static", "Radio", "White noise", "Noise")
def radio_static(rng: Draws) -> Wave:
    x = (
        band(rng, 300, 6000) * (0.6 + 0.4 * curve(rng, 5))
        + 0.5 * specks(rng, 40, 500, 8000)
        + rng.uniform(0, 0.5) * swept(rng.uniform(400, 2500) * (1 + 0.3 * curve(rng, 0.8, -1, 1)))
    )
    return recorded(x, rng, 0.1)


@recipe("Cacophony")
def cacophony(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    for _ in range(rng.integers(4, 8)):
        name = rng.choice(
            [
                "siren",
                "car horn",
                "shouting",
                "dishes",
                "drill",
                "fire alarm",
                "ringtone",
                "cheering",
                "birds",
                "printer",
            ]
        )
        x = x + rng.uniform(0.3, 1) * unit(EVENTS[name][0](rng))
    return recorded(x, rng, 0.3)

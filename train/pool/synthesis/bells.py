"""Bells, alarms and signals."""

from __future__ import annotations

import numpy as np
from scipy import signal

from train.pool.synthesis.blocks import (
    band,
    curve,
    modes,
    noise,
    put,
    recorded,
    resonate,
    room,
    shape,
    spaced,
    swept,
    thud,
    unit,
    wet,
)
from train.pool.synthesis.recipes import recipe
from train.pool.synthesis.vehicles import passing
from train.pool.synthesis.waves import RATE, SIZE, TIME, Draws, Wave
from train.pool.synthesis.weather import ocean, wind


def church(rng: Draws, f: float, seconds: float = 4.5) -> Wave:
    r = np.array([0.5, 1, 1.19, 1.5, 2, 2.5, 2.67, 3, 4.1, 5.4, 6.8]) * (1 + 0.006 * rng.standard_normal(11))
    pairs = np.concatenate([r, r * 1.0015])
    d = np.array([6, 3.5, 3, 2, 2.2, 1.2, 1, 1, 0.7, 0.5, 0.3])
    g = np.array([0.6, 0.6, 0.7, 0.4, 1, 0.5, 0.5, 0.6, 0.4, 0.3, 0.2]) * rng.uniform(0.6, 1.2, 11)
    return modes(rng, pairs * f, np.tile(d * (500 / f) ** 0.3, 2), np.tile(g, 2), seconds)


@recipe("Church bell", "Bell", "Change ringing (campanology)")
def church_bell(rng: Draws) -> Wave:
    x, first = np.zeros(SIZE), rng.uniform(0, 0.6)
    bells = np.sort(
        rng.uniform(220, 700) * np.array([1, 1.122, 1.26, 1.335, 1.5, 1.68, 1.89, 2.0])[: rng.integers(1, 6)]
    )
    for at in spaced(first, 4.8, lambda: rng.uniform(0.4, 1.8)):
        put(x, at * RATE, church(rng, rng.choice(bells)), rng.uniform(0.6, 1))
    x = unit(x) + rng.uniform(0.01, 0.1) * noise(rng, [(50, 3), (400, 0), (1500, -10), (8000, -35)])
    return recorded(wet(x, room(rng, rng.uniform(1, 3.5))), rng, 0.0)


@recipe("Change ringing (campanology)", "Church bell", "Bell")
def change_ringing(rng: Draws) -> Wave:
    x, at = np.zeros(SIZE), 0.0
    count = rng.integers(5, 9)
    tenor = rng.uniform(250, 500)
    bells = tenor * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14])[:count][::-1] / 12)
    order, gap = list(range(count)), rng.uniform(0.19, 0.3)
    while at < 5:
        for i in order:
            put(x, (at + rng.normal(0, 0.01)) * RATE, church(rng, bells[i], 3.0), rng.uniform(0.7, 1))
            at += gap
        k = rng.integers(0, 2)
        for j in range(k, count - 1, 2):
            order[j], order[j + 1] = order[j + 1], order[j]
    return recorded(wet(unit(x), room(rng, rng.uniform(1, 3))), rng, 0.0)


@recipe("Jingle bell", "Jingle, tinkle", "Bell")
def jingle_bells(rng: Draws) -> Wave:
    x, first, period = np.zeros(SIZE), rng.uniform(0, 0.2), rng.choice([0.18, 0.25, 0.33, 0.5])
    for at in spaced(first, 4.9, lambda: period * rng.uniform(0.92, 1.08)):
        for _ in range(rng.integers(5, 14)):
            f = rng.uniform(3000, 8000)
            put(
                x,
                (at + abs(rng.normal(0, 0.02))) * RATE,
                modes(rng, [f, f * 1.4, f * 1.9], [0.3, 0.2, 0.1], [1, 0.6, 0.3], 0.3),
                rng.random(),
            )
    return recorded(x, rng, 0.6)


@recipe("Wind chime", "Chime", "Jingle, tinkle")
def wind_chime(rng: Draws) -> Wave:
    base, x = rng.uniform(500, 1800), np.zeros(SIZE)
    tubes = base * np.array([1, 1.125, 1.25, 1.5, 1.667, 2, 2.25])
    for _ in range(rng.integers(8, 50)):
        f = rng.choice(tubes)
        put(
            x,
            rng.uniform(0, 4.8) * RATE,
            modes(rng, [f, f * 2.76, f * 5.4, f * 8.9], [2.5, 1.4, 0.7, 0.3], [1, 0.6, 0.3, 0.2], 2.5),
            rng.random() ** 1.5,
        )
    return recorded(unit(x) + rng.uniform(0, 0.15) * wind(rng) * 10, rng, 0.3)


@recipe("Tubular bells", "Chime", "Bell")
def tubular(rng: Draws) -> Wave:
    x, first = np.zeros(SIZE), 0.0
    base = rng.uniform(260, 420)
    for at in spaced(first, 4.5, lambda: rng.choice([0.35, 0.5, 0.7, 1.0])):
        f = base * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
        put(
            x,
            at * RATE,
            modes(
                rng,
                f * np.array([0.5, 1, 1.5, 2.0, 2.67, 3.4, 4.2]) * 1.0,
                [3, 4, 3, 3, 2, 1.4, 1],
                [0.15, 0.6, 0.4, 1, 0.5, 0.3, 0.3],
                4,
            ),
        )
    return recorded(wet(x, room(rng, rng.uniform(1, 3))), rng, 0.0)


@recipe("Tuning fork", "Sine wave")
def tuning_fork(rng: Draws) -> Wave:
    f, x = rng.uniform(256, 1024), np.zeros(SIZE)
    for i in range(rng.integers(1, 3)):
        put(x, (0.2 + 2.3 * i) * RATE, modes(rng, [f, f * 2, f * 6.27], [6, 2, 0.4], [1, 0.08, 0.5], 4.7))
    return recorded(x, rng, 0.7)


@recipe("Singing bowl", "Ding")
def bowl(rng: Draws) -> Wave:
    f = rng.uniform(150, 500)
    x = np.zeros(SIZE)
    put(
        x,
        0.1 * RATE,
        modes(
            rng,
            f * np.array([1, 1.004, 2.75, 2.76, 5.1, 5.13, 8.0]),
            [9, 9, 6, 6, 3, 3, 1],
            [1, 0.8, 0.7, 0.5, 0.4, 0.3, 0.1],
            4.9,
        ),
    )
    return recorded(x, rng, 0.8)


@recipe("Doorbell", "Ding-dong")
def doorbell(rng: Draws) -> Wave:
    x, first = np.zeros(SIZE), rng.uniform(0, 0.5)
    f = rng.uniform(600, 900)
    kind = rng.integers(3)
    for at in spaced(first, 3.8, lambda: rng.uniform(1.6, 3)):
        for shift, r in ((0, 1), (rng.uniform(0.4, 0.7), 0.794)):
            r = r * f
            if kind < 2:
                put(
                    x,
                    (at + shift) * RATE,
                    modes(
                        rng,
                        [r, r * 2.756 if kind else r * 2, r * 5.4 if kind else r * 3],
                        [1.6, 0.6, 0.2],
                        [1, 0.35, 0.2],
                        1.8,
                    ),
                )
                put(x, (at + shift) * RATE, thud(rng, 400, 3000, 0.01), 0.3)
            else:
                t = np.arange(int(0.6 * RATE)) / RATE
                put(
                    x,
                    (at + shift) * RATE,
                    np.sin(2 * np.pi * r * t) * np.exp(-t * 3)
                    + 0.3 * np.sin(6 * np.pi * r * t) * np.exp(-t * 5),
                )
    return recorded(wet(x, room(rng, rng.uniform(0.3, 0.9))), rng, 0.2)


@recipe("Telephone bell ringing", "Telephone")
def phone_bell(rng: Draws) -> Wave:
    f, rate = rng.uniform(900, 1900), rng.uniform(18, 28)
    gongs = [f, f * rng.uniform(1.1, 1.3)]
    on, off = rng.uniform(0.8, 2), rng.uniform(0.4, 3)
    cells = [
        modes(
            rng,
            g * np.array([1, 1.003, 2.65, 4.9, 7.1]),
            [0.8, 0.8, 0.5, 0.35, 0.2],
            [1, 0.6, 0.8, 0.5, 0.3],
            0.8,
        )
        for g in gongs
    ]
    x, at, side = np.zeros(SIZE), 0.0, 0
    shift = rng.uniform(0, on)
    while at < 5:
        if (at + shift) % (on + off) < on:
            put(x, at * RATE, cells[side], rng.uniform(0.8, 1))
            put(x, at * RATE, thud(rng, 1500, 7000, 0.003), 0.3)
        side, at = 1 - side, at + 0.5 / rate * rng.uniform(0.97, 1.03)
    return recorded(wet(x, room(rng, rng.uniform(0.2, 0.7))), rng, 0.2)


@recipe("Alarm clock", "Alarm", "Bell")
def bell_clock(rng: Draws) -> Wave:
    f = rng.uniform(1800, 3600)
    cell = modes(rng, f * np.array([1, 1.01, 1.7, 2.65, 3.9]), [0.3] * 5, [1, 0.8, 0.7, 0.8, 0.5], 0.3)
    x, first = np.zeros(SIZE), rng.uniform(0, 1)
    for at in spaced(first, 5, lambda: rng.uniform(0.03, 0.05)):
        put(x, at * RATE, cell, rng.uniform(0.6, 1))
    return recorded(x + 0.3 * unit(band(rng, 300, 2000)) * curve(rng, 40) * (x != 0), rng, 0.8)


@recipe("Alarm clock", "Beep, bleep", "Alarm")
def beep_clock(rng: Draws) -> Wave:
    f, n, gap = rng.uniform(1800, 4000), int(rng.integers(2, 5)), rng.uniform(0.08, 0.14)
    phase = (TIME + rng.uniform(0, 1)) % rng.choice([0.8, 1.0, 1.2])
    gate = (phase < n * gap * 2) & (phase % (2 * gap) < gap)
    x = (swept(f) + 0.4 * swept(2 * f) + 0.2 * swept(3 * f)) * gate
    return recorded(x, rng, 0.8)


@recipe("Smoke detector, smoke alarm", "Fire alarm", "Alarm")
def smoke(rng: Draws) -> Wave:
    f = rng.uniform(2800, 3500)
    kind = rng.integers(3)
    gate = ((TIME % 4 < 3) & (TIME % 1 < 0.5), TIME % 0.14 < 0.09, TIME % 1.2 < 0.9)[kind]
    x = (
        (swept(f) + 0.3 * swept(2 * f) + 0.2 * swept(3 * f))
        * gate
        * (1 if kind != 2 else 0.7 + 0.3 * np.sign(swept(rng.uniform(4, 9))))
    )
    return recorded(wet(x, room(rng, rng.uniform(0.2, 0.9))), rng, 0.1, lowest=(-24, -8))


@recipe("Fire alarm", "Alarm", "Buzzer")
def fire_alarm(rng: Draws) -> Wave:
    if rng.random() < 0.5:
        f = rng.uniform(600, 1100)
        x = np.sign(swept(f * (1 + 0.3 * signal.sawtooth(2 * np.pi * rng.uniform(1, 8) * TIME))))
    else:
        f = rng.uniform(1200, 2500)
        cell = modes(
            rng, f * np.array([1, 1.5, 2.1, 2.9, 3.8, 5.0]), [0.5] * 6, [1, 0.8, 0.9, 0.8, 0.6, 0.4], 0.4
        )
        x = np.zeros(SIZE)
        for at in np.arange(0, 5, 1 / rng.uniform(9, 20)):
            put(x, at * RATE, cell, rng.uniform(0.8, 1))
    return recorded(wet(x, room(rng, rng.uniform(0.4, 2))), rng, 0.1, lowest=(-24, -8))


@recipe("Car alarm", "Alarm", "Siren")
def car_alarm(rng: Draws) -> Wave:
    x, at = np.zeros(SIZE), 0.0
    while at < 5:
        n = rng.uniform(0.7, 1.8)
        t = np.arange(int(n * RATE)) / RATE
        low, high, rate = rng.uniform(500, 900), rng.uniform(1400, 2600), rng.choice([1.0, 3.0, 7.0, 12.0])
        wave = rng.integers(3)
        lfo = (0.5 + 0.5 * np.sin(2 * np.pi * rate * t), (rate * t) % 1, (rate * t % 1 < 0.5) * 1.0)[wave]
        x[int(at * RATE) : int(at * RATE) + len(t)] = np.tanh(
            3 * np.sin(2 * np.pi * np.cumsum(low + (high - low) * lfo) / RATE)
        )[: max(SIZE - int(at * RATE), 0)]
        at += n
    x = shape(x, [(200, -30), (900, -3), (2500, 3), (6000, -6), (14000, -20)])
    return recorded(
        wet(x, room(rng, rng.uniform(0.5, 1.8)))
        + 0.05 * noise(rng, [(40, 6), (300, 0), (1000, -8), (8000, -35)]),
        rng,
        0.0,
    )


@recipe(
    "Siren", "Police car (siren)", "Ambulance (siren)", "Fire engine, fire truck (siren)", "Emergency vehicle"
)
def siren(rng: Draws) -> Wave:
    kind = rng.integers(5)
    low, high = rng.uniform(450, 700), rng.uniform(1100, 1700)
    if kind == 0:
        f = low + (high - low) * (
            0.5 - 0.5 * np.cos(2 * np.pi * TIME / rng.uniform(3, 6) + rng.uniform(0, 6))
        )
    elif kind == 1:
        f = low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * TIME * rng.uniform(2.5, 4.5)))
    elif kind == 2:
        f = np.where(TIME / rng.uniform(0.9, 1.6) % 1 < 0.5, 440, 585) * rng.uniform(0.9, 1.1)
    elif kind == 3:
        f = low + (high - low) * ((TIME * rng.uniform(8, 14)) % 1)
    else:
        f = low + (high - low) * np.clip(np.interp(TIME, [0, 2.5, 5], [0, 1, 0]), 0, 1)
    x = np.tanh(2.5 * swept(f)) + 0.3 * swept(2 * np.asarray(f))
    x = shape(x, [(200, -24), (700, 0), (2500, 2), (6000, -14), (14000, -30)])
    if rng.random() < 0.6:
        x = passing(x, rng, rng.uniform(8, 25), rng.uniform(5, 25))
    x = unit(x) + rng.uniform(0.03, 0.3) * noise(rng, [(40, 6), (300, 0), (1200, -6), (8000, -32)])
    return recorded(wet(x, room(rng, rng.uniform(0.5, 2.5))), rng, 0.0)


@recipe("Civil defense siren", "Siren")
def civil(rng: Draws) -> Wave:
    f = rng.uniform(380, 520) * (
        0.5 + 0.5 * np.clip(np.interp(TIME, [0, 2, 3, 5], rng.uniform(0.3, 1, 4)), 0, 1)
    )
    x = sum(signal.sawtooth(2 * np.pi * np.cumsum(f * r) / RATE) for r in (1, rng.choice([1.2, 1.25, 1.0])))
    x = shape(x, [(100, -12), (500, 0), (1500, -4), (6000, -24)])
    return recorded(wet(x, room(rng, rng.uniform(2, 5))), rng, 0.0)


@recipe("Buzzer")
def buzzer(rng: Draws) -> Wave:
    f = rng.uniform(90, 260)
    x = np.tanh(4 * signal.sawtooth(2 * np.pi * f * TIME)) + 0.5 * np.sign(swept(f * 2.01))
    gate = (TIME + rng.uniform(0, 1)) % rng.uniform(0.8, 3) < rng.uniform(0.4, 1.5)
    return recorded(resonate(x, [700, 1900, 3100], [200, 400, 500], [3, 3, 2], 0.6) * gate, rng, 0.7)


@recipe("Foghorn", "Ship")
def foghorn(rng: Draws) -> Wave:
    x, at, f = np.zeros(SIZE), rng.uniform(0, 0.6), rng.uniform(70, 150)
    while at < 4:
        n = rng.uniform(1.5, 3.5)
        t = np.arange(int(n * RATE)) / RATE
        p = resonate(
            np.tanh(2 * signal.sawtooth(2 * np.pi * f * t)),
            [f * 2, f * 4, f * 7],
            [60, 90, 150],
            [3, 2, 1.5],
            0.5,
        )
        put(x, at * RATE, unit(p) * np.minimum(np.minimum(t * 6, 1), (n - t) * 4))
        at += n + rng.uniform(0.5, 2)
    return recorded(wet(x, room(rng, rng.uniform(2, 5))) + 0.05 * ocean(rng), rng, 0.0)


@recipe("Telephone dialing, DTMF", "Telephone")
def dialing(rng: Draws) -> Wave:
    x, first = 0.004 * rng.standard_normal(SIZE), rng.uniform(0, 0.5)
    on, off = rng.uniform(0.06, 0.25), rng.uniform(0.05, 0.3)
    for at in spaced(first, 4.8, lambda: on + off * rng.uniform(0.8, 1.3)):
        t = np.arange(int(on * RATE)) / RATE
        put(
            x,
            at * RATE,
            np.sin(2 * np.pi * rng.choice([697, 770, 852, 941]) * t)
            + np.sin(2 * np.pi * rng.choice([1209, 1336, 1477]) * t),
        )
    x = shape(x, [(100, -40), (300, 0), (3400, 0), (5000, -30)]) if rng.random() < 0.5 else x
    return recorded(x, rng, 0.4)


@recipe("Ringtone", "Telephone")
def ringtone(rng: Draws) -> Wave:
    f = rng.choice([523, 587, 659, 784, 880, 1047, 1319, 1568], 12)
    rate, wave = rng.uniform(5, 11), rng.integers(3)
    path = f[(TIME * rate).astype(int) % rng.integers(4, 12)].astype(float)
    phase = 2 * np.pi * np.cumsum(path) / RATE
    x = (
        np.sin(phase),
        np.sign(np.sin(phase)),
        np.sin(phase) + 0.5 * np.sin(3 * phase) + 0.2 * np.sin(5 * phase),
    )[wave] * np.exp(-(TIME * rate % 1) * rng.uniform(0, 3))
    return recorded(x * ((TIME + rng.uniform(0, 2)) % 3 < rng.uniform(1.5, 3)), rng, 0.6)

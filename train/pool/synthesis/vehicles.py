"""Engines, motors and vehicles."""

from __future__ import annotations

import numpy as np
from scipy import signal

from train.pool.synthesis.blocks import (
    band,
    bubbles,
    curve,
    engine,
    fires,
    gusts,
    modes,
    noise,
    put,
    recorded,
    resonate,
    room,
    shape,
    spaced,
    specks,
    swept,
    thud,
    unit,
    wet,
)
from train.pool.synthesis.recipes import recipe
from train.pool.synthesis.waves import RATE, SIZE, TIME, Curve, Draws, Numbers, Wave


@recipe("Idling", "Engine", "Medium engine (mid frequency)")
def car_idling(rng: Draws) -> Wave:
    rate = rng.uniform(20, 34) * (1 + 0.03 * curve(rng, 3, -1, 1))
    x = engine(
        rng,
        rate,
        rng.uniform([60, 120, 240, 500], [110, 220, 420, 900]),
        hiss=rng.uniform(0.1, 0.6),
        clatter=rng.uniform(0, 0.25),
        uneven=0.3,
    )
    return recorded(x + 0.1 * noise(rng, [(50, 0), (500, -10), (10000, -40)]), rng)


@recipe("Heavy engine (low frequency)", "Truck", "Idling", "Bus", "Engine knocking")
def diesel(rng: Draws) -> Wave:
    base = rng.uniform(14, 30)
    rate = (
        base
        * (1 + 0.02 * curve(rng, 3, -1, 1))
        * (np.interp(TIME, [0, 2, 4, 5], rng.uniform(1, 1.9, 4)) if rng.random() < 0.5 else 1)
    )
    x = engine(
        rng,
        rate,
        rng.uniform([45, 90, 200, 600], [80, 170, 400, 1500]),
        tone=0.3,
        hiss=rng.uniform(0.2, 0.5),
        clatter=rng.uniform(0.3, 1.0),
        uneven=0.4,
        jitter=0.03,
    )
    x += (
        0.3 * unit(resonate(band(rng, 200, 3000), [rng.uniform(300, 900)], [60], [1])) * curve(rng, 5, 0.3, 1)
    )
    return recorded(x, rng)


@recipe("Accelerating, revving, vroom", "Engine", "Car")
def revving(rng: Draws) -> Wave:
    low, high = rng.uniform(25, 50), rng.uniform(90, 230)
    knots = np.sort(rng.uniform(0, 5, 8))
    target = np.interp(TIME, knots, rng.choice([low, low, high, high * 0.7], 8))
    rate = signal.lfilter([1e-4], [1, -1 + 1e-4], target - low) + low
    drive = 1 + 3 * (rate - low) / (high - low)
    x = engine(
        rng,
        rate,
        rng.uniform([90, 180, 400, 900], [150, 300, 700, 1500]),
        tone=1.0,
        hiss=0.4,
        uneven=0.25,
        load=drive,
    )
    return recorded(x * (0.3 + drive / 4), rng)


@recipe("Motorcycle", "Accelerating, revving, vroom")
def motorcycle(rng: Draws) -> Wave:
    low, high = rng.uniform(14, 25), rng.uniform(50, 130)
    knots = np.sort(rng.uniform(0, 5, 6))
    target = np.interp(TIME, knots, rng.choice([low, low * 1.2, high, high * 0.6], 6))
    rate = signal.lfilter([8e-5], [1, -1 + 8e-5], target - low) + low
    x = engine(
        rng,
        rate,
        rng.uniform([80, 160, 500, 1200], [140, 300, 900, 2500]),
        tone=1.2,
        hiss=0.5,
        uneven=0.1,
        jitter=0.02,
        pattern=[0.0, rng.choice([0.375, 0.5, 0.42])],
        load=1.5 + 2 * (rate - low) / (high - low),
    )
    return recorded(x * (0.4 + (rate - low) / (high - low)), rng)


@recipe("Race car, auto racing", "Accelerating, revving, vroom", "Motor vehicle (road)")
def race_car(rng: Draws) -> Wave:
    rate, at = np.zeros(SIZE), 0
    top, now = rng.uniform(300, 700), rng.uniform(150, 300)
    while at < SIZE:
        n = int(rng.uniform(0.5, 1.4) * RATE)
        seg = now + (top - now) * (1 - np.exp(-np.arange(n) / RATE * rng.uniform(1, 2.5)))
        rate[at : at + n] = seg[: SIZE - at]
        now, at = seg[-1] * rng.uniform(0.68, 0.8), at + n
    x = engine(
        rng,
        rate,
        rng.uniform([200, 500, 900, 1800], [400, 800, 1500, 3000]),
        tone=1.5,
        hiss=0.4,
        uneven=0.15,
        pattern=[0, 0.2, 0.4, 0.6, 0.8],
        load=np.full(SIZE, 3.0),
    )
    return recorded(passing(x, rng) if rng.random() < 0.6 else x, rng)


def passing(
    x: Wave, rng: Draws, speed: float | None = None, near: float | None = None, at: float | None = None
) -> Wave:
    """A source that passes a listener: its delay, level and high frequencies follow the distance."""
    speed, near, at = speed or rng.uniform(12, 55), near or rng.uniform(3, 12), at or rng.uniform(1.5, 3.5)
    distance = np.sqrt(near**2 + (speed * (TIME - at)) ** 2)
    heard = TIME - distance / 340 + distance.min() / 340
    out = np.interp(heard * RATE, np.arange(SIZE), x)
    far = shape(out, [(20, 0), (600, 0), (8000, -24)])
    mix = near / distance
    return (out * mix + far * (1 - mix)) * (near / distance) ** 0.9


@recipe("Car passing by", "Traffic noise, roadway noise", "Car", "Motor vehicle (road)")
def car_passing(rng: Draws) -> Wave:
    x = unit(noise(rng, [(40, -8), (150, -2), (900, 0), (1800, -6), (9000, -30)]))
    x += rng.uniform(0.1, 0.6) * engine(rng, rng.uniform(50, 110), hiss=0.2)
    return recorded(
        passing(x, rng, rng.uniform(10, 30), rng.uniform(3, 9))
        + 0.02 * noise(rng, [(40, 0), (400, -6), (8000, -40)]),
        rng,
        0.2,
    )


@recipe("Traffic noise, roadway noise", "Outside, urban or manmade", "Car")
def traffic(rng: Draws) -> Wave:
    out = 0.25 * noise(rng, [(30, 6), (120, 0), (900, -4), (2000, -12), (9000, -40)])
    for _ in range(rng.integers(3, 9)):
        x = unit(noise(rng, [(40, -4), (200, 0), (1000, 0), (2500, -10), (10000, -35)])) + 0.4 * engine(
            rng, rng.uniform(25, 90), hiss=0.2
        )
        out += rng.uniform(0.2, 1) * passing(
            x, rng, rng.uniform(8, 25), rng.uniform(8, 30), rng.uniform(-1, 6)
        )
    if rng.random() < 0.3:
        put(out, rng.uniform(0, 4) * RATE, horn(rng, rng.uniform(0.2, 0.8)), 0.05)
    return recorded(out, rng, 0.5)


def horn(rng: Draws, seconds: float, low: float = 350, high: float = 500) -> Wave:
    t = np.arange(int(seconds * RATE)) / RATE
    f = rng.uniform(low, high)
    x = sum(signal.sawtooth(2 * np.pi * k * t) for k in (f, f * rng.choice([1.2, 1.25, 1.26])))
    x = resonate(np.tanh(2 * x), [rng.uniform(900, 1500), rng.uniform(2000, 3200)], [300, 500], [4, 3], 0.2)
    return unit(x) * np.minimum(np.minimum(t * 60, 1), np.maximum(seconds - t, 0) * 40)


@recipe("Vehicle horn, car horn, honking", "Toot")
def car_horn(rng: Draws) -> Wave:
    out = np.zeros(SIZE)
    lo = rng.uniform(300, 480)
    for _ in range(rng.integers(1, 6)):
        rng2 = np.random.default_rng(int(lo * 1000))
        put(out, rng.uniform(0, 4) * RATE, horn(rng2, rng.choice([0.15, 0.3, 0.6, 1.5]), lo, lo + 1))
    out += rng.uniform(0.0, 0.2) * noise(rng, [(40, 6), (300, 0), (1000, -6), (8000, -35)])
    return recorded(out, rng, 0.8)


@recipe("Air horn, truck horn", "Train horn", "Foghorn")
def big_horn(rng: Draws) -> Wave:
    kind = rng.integers(3)
    base = (rng.uniform(150, 240), rng.uniform(255, 330), rng.uniform(80, 140))[kind]
    ratios = (
        [1, rng.choice([1.26, 1.33, 1.5])],
        [1, 1.19, 1.41, 1.5, 1.68][: rng.integers(3, 6)],
        [1, 1.01],
    )[kind]
    out = np.zeros(SIZE)
    at = rng.uniform(0, 0.6)
    while at < 4.5:
        n = rng.uniform(0.5, 2.8)
        t = np.arange(int(n * RATE)) / RATE
        x = sum(
            signal.sawtooth(2 * np.pi * base * r * (1 + 0.002 * rng.standard_normal()) * t) for r in ratios
        )
        x = resonate(
            np.tanh(1.5 * x),
            rng.uniform([500, 1000, 2000], [800, 1600, 3000]),
            [200, 300, 500],
            [3, 3, 2],
            0.5,
        )
        put(out, at * RATE, unit(x) * np.minimum(np.minimum(t * 15, 1), np.maximum(n - t, 0) * 8))
        at += n + rng.uniform(0.2, 1.5)
    out += 0.1 * noise(rng, [(40, 6), (300, 0), (1000, -10), (8000, -40)])
    return recorded(wet(out, room(rng, rng.uniform(0.5, 2.5))), rng)


@recipe("Train whistle", "Steam whistle", "Train")
def steam_whistle(rng: Draws) -> Wave:
    base = rng.uniform(320, 700)
    out = np.zeros(SIZE)
    at = rng.uniform(0, 0.5)
    while at < 4.5:
        n = rng.uniform(0.4, 2.5)
        t = np.arange(int(n * RATE)) / RATE
        bend = 1 - 0.06 * np.exp(-t * 8) - 0.05 * np.exp(-(n - t) * 10)
        x = sum(
            np.sin(
                2 * np.pi * np.cumsum(base * r * bend * (1 + 0.002 * curve(rng, 20, -1, 1, len(t)))) / RATE
            )
            * g
            + 0.3 * g * np.sin(4 * np.pi * np.cumsum(base * r * bend) / RATE)
            for r, g in ((1, 1), (1.19, 0.8), (1.335, 0.8), (1.5, 0.7))
        )
        x += 0.5 * band(rng, base * 0.9, base * 4, len(t), 12)
        put(out, at * RATE, unit(x) * np.minimum(np.minimum(t * 12, 1), np.maximum(n - t, 0) * 10))
        at += n + rng.uniform(0.2, 1.0)
    if rng.random() < 0.5:
        out += 0.4 * chuffs(rng)
    return recorded(wet(out, room(rng, rng.uniform(0.5, 2))), rng)


def chuffs(rng: Draws) -> Wave:
    rate = rng.uniform(2, 7)
    phase = np.cumsum(rate * (1 + 0.2 * TIME / 5) / RATE)
    env = np.exp(-(phase % 1) * rng.uniform(2.5, 5)) * (1 + 0.3 * (phase.astype(int) % 4 == 0))
    return unit(noise(rng, [(60, -3), (250, 0), (1200, -3), (6000, -14), (14000, -26)]) * env)


@recipe("Rail transport", "Train", "Steam", "Railroad car, train wagon")
def steam_train(rng: Draws) -> Wave:
    return recorded(chuffs(rng) + 0.3 * rails(rng), rng)


def rails(rng: Draws) -> Wave:
    x = unit(noise(rng, [(30, 3), (100, 0), (400, -4), (1500, -10), (6000, -26)]) * curve(rng, 6, 0.6, 1))
    period, gap, first = rng.uniform(0.5, 1.3), rng.uniform(0.1, 0.22), rng.uniform(0, 0.5)
    clacks = np.zeros(SIZE)
    for at in spaced(first, 5, lambda: period * rng.uniform(0.97, 1.03)):
        for shift in (0, gap, gap * 2.2, gap * 3.2)[: rng.integers(2, 5) if rng.random() < 0.1 else 2]:
            put(clacks, (at + shift) * RATE, thud(rng, 120, 1800, 0.05, 0.2), rng.uniform(0.7, 1.2))
    return x + rng.uniform(0.4, 1.2) * clacks / max(np.abs(clacks).max(), 1e-9) * 3


@recipe(
    "Train", "Rail transport", "Railroad car, train wagon", "Clickety-clack", "Subway, metro, underground"
)
def train(rng: Draws) -> Wave:
    x = rails(rng)
    if rng.random() < 0.5:
        x += 0.5 * engine(rng, rng.uniform(15, 30), (60, 120, 250, 500), clatter=0.3)
    if rng.random() < 0.4:
        x += rng.uniform(0.1, 0.6) * squeal(rng)
    return recorded(x, rng)


def squeal(rng: Draws) -> Wave:
    f = rng.uniform(1800, 4500)
    x = sum(
        swept(f * r * (1 + 0.01 * curve(rng, 8, -1, 1))) * curve(rng, 12, 0, 1)
        for r in (1, 1.003, rng.uniform(1.3, 2.1), 2.0)
    )
    return unit(x * gusts(rng, 2))


@recipe("Train wheels squealing", "Subway, metro, underground", "Squeal")
def wheels_squealing(rng: Draws) -> Wave:
    return recorded(
        wet(0.5 * rails(rng) + rng.uniform(0.5, 2) * squeal(rng), room(rng, rng.uniform(0.5, 2))), rng
    )


@recipe("Subway, metro, underground", "Train", "Rail transport")
def subway(rng: Draws) -> Wave:
    whine = swept(np.interp(TIME, [0, 5], rng.uniform(200, 900, 2))) + 0.5 * swept(
        np.interp(TIME, [0, 5], rng.uniform(600, 1500, 2))
    )
    x = (
        unit(noise(rng, [(30, 3), (120, 0), (700, -3), (3000, -14), (10000, -34)]) * curve(rng, 3, 0.6, 1))
        + 0.4 * rails(rng)
        + rng.uniform(0.05, 0.3) * whine
    )
    return recorded(
        wet(x * np.interp(TIME, [0, 2.5, 5], rng.uniform(0.3, 1, 3)), room(rng, rng.uniform(0.8, 2.5))), rng
    )


@recipe("Skidding", "Tire squeal", "Car")
def tires(rng: Draws) -> Wave:
    f = rng.uniform(600, 1300)
    path = f * (1 + 0.12 * curve(rng, 4, -1, 1) + 0.02 * curve(rng, 50, -1, 1))
    x = sum(swept(path * k) / k for k in (1, 2, 3, 4)) + 0.7 * unit(
        noise(rng, [(300, -20), (1000, 0), (3000, -6), (9000, -24)])
    )
    gate = np.clip(np.interp(TIME, [0, 0.3, 1.5, 3, 4, 5], [0, 1, *rng.uniform(0.2, 1, 3), 0]), 0, 1)
    x = x * gate + 0.15 * engine(rng, 60 + 60 * curve(rng, 1), tone=1)
    if rng.random() < 0.25:
        put(x, 4.2 * RATE, thud(rng, 60, 6000, 0.3, 1), 6)
    return recorded(x, rng)


@recipe("Reversing beeps", "Truck", "Beep, bleep")
def reversing(rng: Draws) -> Wave:
    f, on = rng.uniform(950, 1450), rng.uniform(0.3, 0.6)
    beep = (swept(f) + 0.2 * swept(2 * f) + 0.3 * swept(3 * f)) * ((TIME + rng.uniform(0, 1)) % (2 * on) < on)
    x = beep * rng.uniform(0.4, 1.2) + engine(rng, rng.uniform(16, 30), (60, 120, 260, 700), clatter=0.5)
    return recorded(wet(x, room(rng, rng.uniform(0.2, 1))), rng)


@recipe("Air brake", "Bus", "Truck", "Hiss")
def air_brake(rng: Draws) -> Wave:
    x = 0.35 * engine(rng, rng.uniform(15, 28), (55, 110, 240, 600), clatter=0.4)
    for _ in range(rng.integers(1, 3)):
        t = np.arange(int(rng.uniform(0.5, 2.2) * RATE)) / RATE
        puff = (
            noise(rng, [(200, -20), (1500, -4), (5000, 0), (13000, -3)], len(t))
            * np.exp(-t * rng.uniform(2, 6))
            * np.minimum(t * 80, 1)
        )
        put(x, rng.uniform(0, 3.5) * RATE, puff, rng.uniform(1.5, 5))
    return recorded(x, rng)


@recipe("Engine starting", "Car", "Engine")
def engine_start(rng: Draws) -> Wave:
    start, caught = rng.uniform(0.2, 0.8), rng.uniform(1.2, 3)
    crank = rng.uniform(8, 14)
    load = 0.6 + 0.4 * np.sin(2 * np.pi * np.cumsum(crank * (1 + 0.1 * curve(rng, 4, -1, 1))) / RATE)
    whine = sum(swept(rng.uniform(180, 320) * k * (0.9 + 0.15 * load)) / k for k in range(1, 8)) + 0.6 * band(
        rng, 400, 4000
    )
    out = unit(whine * load) * ((start < TIME) & (caught > TIME)) * 0.8
    rate = 25 + 60 * np.exp(-np.maximum(TIME - caught, 0) * 2)
    run = engine(rng, rate, (80, 160, 320, 700), hiss=0.4, clatter=0.2, uneven=0.3)
    out += run * np.clip((TIME - caught) * 6, 0, 1) * (0.6 + np.exp(-np.maximum(TIME - caught, 0) * 2))
    return recorded(out, rng)


@recipe("Lawn mower", "Light engine (high frequency)", "Power tool", "Engine")
def lawn_mower(rng: Draws) -> Wave:
    rate = rng.uniform(24, 55) * (1 + 0.03 * curve(rng, 2, -1, 1))
    x = engine(
        rng,
        rate,
        rng.uniform([120, 250, 600, 1300], [200, 450, 1000, 2600]),
        tone=1,
        hiss=0.4,
        uneven=0.05,
        jitter=0.02,
        pattern=[0.0],
        load=np.full(SIZE, 2.0),
    )
    x += rng.uniform(0.2, 0.7) * unit(
        noise(rng, [(100, -6), (500, 0), (2500, -5), (9000, -20)]) * (1 + 0.4 * swept(rate * 2))
    )
    return recorded(x * curve(rng, 1, 0.7, 1), rng, 0.2)


@recipe("Chainsaw", "Power tool", "Light engine (high frequency)")
def chainsaw(rng: Draws) -> Wave:
    idle, top = rng.uniform(40, 60), rng.uniform(110, 190)
    target = np.interp(TIME, np.sort(rng.uniform(0, 5, 7)), rng.choice([idle, top, top * 0.8, top * 0.9], 7))
    rate = signal.lfilter([3e-4], [1, -1 + 3e-4], target - idle) + idle
    x = engine(
        rng,
        rate * (1 + 0.02 * curve(rng, 30, -1, 1)),
        rng.uniform([250, 600, 1300, 2500], [400, 1000, 2200, 4200]),
        tone=1.5,
        hiss=0.6,
        uneven=0.05,
        jitter=0.03,
        pattern=[0.0],
        load=np.full(SIZE, 3.5),
    )
    x += 0.5 * unit(specks(rng, 900 * rate / top, 1500, 7000)) * (rate > top * 0.7)
    return recorded(x * (0.35 + 0.65 * rate / top), rng, 0.3)


def motor(
    rng: Draws,
    rate: Curve,
    buzz: float = 1.0,
    air: float = 0.5,
    colour: Numbers = (300, 1200, 3000),
    brush: float = 0.3,
) -> Wave:
    """An electric motor: harmonics of its rotation, noise of the brushes and of moved air."""
    rate = np.broadcast_to(rate, (SIZE,)) * (1 + 0.003 * curve(rng, 20, -1, 1))
    phase = 2 * np.pi * np.cumsum(rate) / RATE
    x = sum(
        rng.uniform(0.2, 1) / k**0.6 * np.sin(k * phase + rng.uniform(0, 6))
        for k in range(1, 26)
        if k * rate.max() < 14000
    )
    x = resonate(x, colour, [f * 0.4 for f in colour], rng.uniform(2, 6, len(colour)), 0.7)
    wind = noise(rng, [(80, -8), (400, 0), (2500, -3), (8000, -12), (14000, -22)])
    brushes = noise(rng, [(1000, -20), (4000, 0), (12000, -3)]) * (0.4 + 0.6 * np.abs(np.sin(phase / 2)))
    return buzz * unit(x) + air * wind + brush * unit(brushes)


@recipe("Vacuum cleaner")
def vacuum(rng: Draws) -> Wave:
    rate = rng.uniform(180, 420) * np.interp(TIME, [0, 1, 2, 3, 4, 5], rng.uniform(0.93, 1.05, 6))
    x = motor(rng, rate, rng.uniform(0.3, 0.8), 1.2, (500, 1500, 3200), 0.4)
    return recorded(x, rng, 0.7)


@recipe("Hair dryer", "Mechanical fan")
def hair_dryer(rng: Draws) -> Wave:
    x = motor(rng, rng.uniform(150, 260), rng.uniform(0.15, 0.5), 1.3, (700, 1800, 4000), 0.5)
    if rng.random() < 0.4:
        x *= np.clip((TIME - rng.uniform(0, 1)) * 4, 0, 1)
    return recorded(x, rng, 0.6)


@recipe("Blender", "Power tool")
def blender(rng: Draws) -> Wave:
    rate = rng.uniform(200, 420) * np.interp(TIME, [0, 0.5, 1, 2, 3, 5], rng.uniform(0.85, 1.05, 6))
    on = ((TIME + rng.uniform(0, 1)) % rng.uniform(1.2, 4) > 0.5) if rng.random() < 0.4 else 1.0
    x = motor(rng, rate, 1.0, 0.5, (400, 900, 2200), 0.6) + 0.5 * unit(specks(rng, 150, 800, 5000, 0.004))
    return recorded(np.tanh(x) * on, rng, 0.7)


@recipe("Drill", "Power tool", "Tools")
def drill(rng: Draws) -> Wave:
    knots = np.sort(rng.uniform(0, 5, 6))
    target = np.interp(TIME, knots, rng.choice([0, 1, 1, 0.9, 1], 6))
    speed = signal.lfilter([3e-4], [1, -1 + 3e-4], target)
    rate = 20 + rng.uniform(280, 600) * speed
    x = motor(rng, rate, 1.2, 0.3, (800, 2000, 4500), 0.8)
    if rng.random() < 0.5:
        x += 0.8 * unit(noise(rng, [(300, -15), (2000, 0), (7000, -4)]) * (1 + swept(rate / 6)))
    return recorded(np.tanh(1.5 * x) * np.clip(speed * 1.5, 0, 1), rng, 0.6)


@recipe("Dental drill, dentist's drill", "Light engine (high frequency)")
def dental_drill(rng: Draws) -> Wave:
    f = rng.uniform(2500, 6500)
    path = (
        f
        * (1 - rng.uniform(0.03, 0.25) * (curve(rng, 2) > 0.5) * curve(rng, 6, 0.6, 1))
        * np.clip(1 - np.exp(-((TIME + 0.05) % rng.uniform(2, 5)) * 8), 0.3, 1)
    )
    x = (
        sum(swept(path * k) / k**1.2 for k in (0.5, 1, 2))
        + 0.25 * unit(band(rng, 4000, 14000))
        + 0.1 * noise(rng, [(80, 0), (1000, -5), (8000, -20)])
    )
    return recorded(x * curve(rng, 8, 0.6, 1), rng, 0.5)


@recipe("Electric shaver, electric razor", "Electric toothbrush")
def shaver(rng: Draws) -> Wave:
    rate = rng.choice([rng.uniform(95, 125), rng.uniform(180, 290)])
    x = np.tanh(motor(rng, rate, 1.5, 0.1, (600, 2200, 5000), 0.5))
    x *= 0.7 + 0.3 * curve(rng, 3) + 0.3 * (curve(rng, 1) > 0.6)
    return recorded(shape(x, [(60, -20), (300, 0), (9000, 0), (14000, -8)]), rng, 0.5)


@recipe("Electric toothbrush", "Toothbrush")
def toothbrush_electric(rng: Draws) -> Wave:
    rate = rng.uniform(220, 280)
    x = sum(swept(rate * k * (1 + 0.004 * curve(rng, 6, -1, 1))) / k**0.8 for k in range(1, 20)) * (
        0.75 + 0.25 * swept(rng.uniform(20, 70))
    )
    x = resonate(x, [900, 2600, 5200], [400, 700, 1200], [3, 4, 3], 0.3) * curve(rng, 3, 0.5, 1) + 0.2 * band(
        rng, 2500, 12000
    ) * curve(rng, 8, 0.1, 1)
    return recorded(x, rng, 0.7)


@recipe("Sewing machine", "Mechanisms")
def sewing(rng: Draws) -> Wave:
    rate = np.clip(
        rng.uniform(8, 20) * np.interp(TIME, np.sort(rng.uniform(0, 5, 5)), rng.uniform(0.4, 1, 5)), 3, 30
    )
    train = fires(rng, rate, 0.2, 0.005, [0, 0.5])
    kernel = (
        thud(rng, 500, 5000, 0.018, 0.5)
        + np.pad(modes(rng, rng.uniform(700, 4500, 5), [0.05] * 5, [0.3] * 5, 0.06), (0, 5000))[
            : len(thud(np.random.default_rng(1), 500, 5000, 0.018))
        ]
    )
    x = unit(signal.fftconvolve(train, kernel)[:SIZE]) + 0.5 * motor(rng, rate * rng.uniform(6, 10), 0.8, 0.1)
    return recorded(x, rng, 0.8)


@recipe("Mechanical fan", "Air conditioning")
def fan(rng: Draws) -> Wave:
    rate = rng.uniform(8, 40)
    x = noise(rng, [(30, 2), (100, 4), (400, 0), (1500, -8), (6000, -24), (14000, -45)]) * (
        1 + rng.uniform(0, 0.4) * swept(rate)
    )
    x += rng.uniform(0.05, 0.4) * sum(swept(rate * 3 * k) / k for k in range(1, 5)) + rng.uniform(
        0, 0.15
    ) * swept(rng.choice([100, 120]))
    if rng.random() < 0.3:
        x += 0.3 * unit(np.clip(swept(rate / 3), 0.9, 1) - 0.9) * band(rng, 1500, 5000)
    return recorded(x, rng, 0.5, (-90, -60), (-38, -18))


@recipe("Air conditioning", "Hum", "Inside, small room")
def air_conditioning(rng: Draws) -> Wave:
    x = (
        noise(rng, [(25, 6), (80, 6), (300, 0), (1000, -10), (4000, -24), (14000, -50)])
        + rng.uniform(0.2, 1)
        * sum(rng.uniform(0.2, 1) / k * swept(rng.choice([50, 60]) * k) for k in range(1, 6))
        + 0.2 * engine(rng, rng.uniform(24, 30), (60, 120, 240), hiss=0.1, uneven=0.05)
    )
    return recorded(x, rng, 0.6, (-90, -60), (-40, -22))


@recipe("Microwave oven", "Hum")
def microwave(rng: Draws) -> Wave:
    base = rng.choice([50, 60])
    x = sum(rng.uniform(0.3, 1) / k**0.7 * swept(base * 2 * k) for k in range(1, 12)) * 0.7 + noise(
        rng, [(60, 3), (250, 0), (1500, -8), (8000, -25)]
    )
    if rng.random() < 0.7:
        stop = rng.uniform(1.5, 4)
        x *= stop > TIME
        f = rng.uniform(1900, 2300)
        for i in range(rng.integers(1, 6)):
            put(
                x,
                (stop + 0.1 + 0.9 * i) * RATE,
                np.sin(2 * np.pi * f * np.arange(int(0.45 * RATE)) / RATE),
                2,
            )
        put(x, stop * RATE, thud(rng, 100, 2500, 0.06, 0.3), 5)
    return recorded(x, rng, 0.8)


@recipe("Printer", "Mechanisms")
def printer(rng: Draws) -> Wave:
    x = 0.15 * motor(rng, rng.uniform(60, 120), 0.3, 0.3)
    at = 0.1
    while at < 5:
        n = rng.uniform(0.25, 0.9)
        t = np.arange(int(n * RATE)) / RATE
        if rng.random() < 0.6:
            rate = rng.uniform(80, 400)
            p = signal.sawtooth(2 * np.pi * rate * t) * (1 + 0.5 * band(rng, 50, 400, len(t)))
            p = resonate(
                p + 0.5 * rng.standard_normal(len(t)),
                rng.uniform([700, 1800, 3500], [1500, 3200, 6000]),
                [300, 400, 600],
                [2, 3, 3],
            )
        else:
            p = band(rng, 800, 9000, len(t)) * (0.3 + (np.sin(2 * np.pi * rng.uniform(8, 25) * t) > 0.3))
        put(x, at * RATE, unit(p) * np.minimum(np.minimum(t * 60, 1), (n - t) * 60), rng.uniform(0.4, 1))
        at += n + rng.uniform(0, 0.15)
        if rng.random() < 0.5:
            put(x, at * RATE, thud(rng, 200, 3500, 0.03, 0.3), 2)
    return recorded(x, rng, 0.7)


@recipe("Motorboat, speedboat", "Boat, Water vehicle", "Medium engine (mid frequency)")
def motorboat(rng: Draws) -> Wave:
    x = engine(
        rng,
        rng.uniform(45, 110) * (1 + 0.05 * curve(rng, 2, -1, 1)),
        (110, 220, 420, 800),
        tone=0.8,
        hiss=0.5,
        load=np.full(SIZE, 1.5),
    ) * curve(rng, 1.5, 0.6, 1)
    x += rng.uniform(0.5, 1.2) * unit(
        noise(rng, [(100, -8), (600, 0), (3000, -4), (10000, -16)]) * gusts(rng, 3, 0.3)
    ) + 0.4 * bubbles(rng, 500 * gusts(rng, 2), 250, 1800)
    return recorded(x, rng, 0.2)


@recipe("Helicopter", "Aircraft")
def helicopter(rng: Draws) -> Wave:
    rate = rng.uniform(10, 26)
    phase = np.cumsum(np.full(SIZE, rate) / RATE)
    slap = np.exp(-((phase % 1) * rng.uniform(6, 14)))
    x = unit(noise(rng, [(30, 4), (90, 2), (400, 0), (1500, -8), (6000, -22)]) * (0.2 + slap)) + 0.5 * unit(
        shape(slap - slap.mean(), [(20, 0), (200, 0), (2000, -30)])
    )
    x += 0.2 * swept(rng.uniform(1500, 3500)) * 0.3 + 0.3 * noise(rng, [(100, -10), (1000, 0), (6000, -10)])
    return recorded(x * np.interp(TIME, [0, 2.5, 5], rng.uniform(0.3, 1, 3)), rng, 0.2)


@recipe("Propeller, airscrew", "Fixed-wing aircraft, airplane", "Aircraft engine", "Aircraft")
def propeller(rng: Draws) -> Wave:
    rate = rng.uniform(55, 105)
    x = np.zeros(SIZE)
    for detune in (1, rng.uniform(0.985, 1.015))[: rng.integers(1, 3)]:
        x = x + engine(
            rng,
            rate * detune * (1 + 0.004 * curve(rng, 2, -1, 1)),
            (120, 240, 480, 950),
            tone=1,
            hiss=0.4,
            uneven=0.1,
            jitter=0.005,
        )
    x = x + 0.5 * noise(rng, [(40, 0), (300, 0), (1500, -6), (8000, -26)])
    return recorded(
        passing(x, rng, rng.uniform(40, 80), rng.uniform(40, 150)) if rng.random() < 0.5 else x, rng, 0.1
    )


@recipe("Jet engine", "Aircraft", "Fixed-wing aircraft, airplane", "Aircraft engine")
def jet(rng: Draws) -> Wave:
    f = rng.uniform(1500, 4500)
    path = f * np.interp(TIME, [0, 5], rng.uniform(0.7, 1.2, 2)) if rng.random() < 0.6 else f
    x = noise(rng, [(30, 3), (150, 4), (500, 0), (2500, -5), (9000, -12), (14000, -22)]) * (
        1 + 0.25 * curve(rng, 12, -1, 1)
    )
    x = x + rng.uniform(0.05, 0.4) * (swept(path) + 0.5 * swept(np.asarray(path) * 1.51)) * curve(
        rng, 10, 0.5, 1
    )
    return recorded(
        passing(x, rng, rng.uniform(50, 110), rng.uniform(60, 200)) if rng.random() < 0.5 else x, rng, 0.1
    )


@recipe("Ice cream truck, ice cream van", "Jingle (music)")
def ice_cream(rng: Draws) -> Wave:
    x = np.zeros(SIZE)
    scale, first, degree = [0, 2, 4, 5, 7, 9, 11], 0.0, 4
    step, base = rng.uniform(0.14, 0.24), rng.uniform(520, 800)
    for at in spaced(first, 5, lambda: step * rng.choice([1, 1, 1, 2])):
        degree = int(np.clip(degree + rng.choice([-2, -1, 0, 1, 2, 4, -4]), 0, 12))
        f = base * 2 ** ((12 * (degree // 7) + scale[degree % 7]) / 12)
        put(
            x,
            at * RATE,
            modes(rng, [f, f * 2.0, f * 3.01, f * 5.4], [1.2, 0.7, 0.4, 0.1], [1, 0.5, 0.3, 0.3], 1.0),
        )
    x = np.tanh(shape(x, [(150, -40), (500, 0), (4000, 0), (9000, -30)]) * 2)
    x += rng.uniform(0.05, 0.3) * engine(rng, rng.uniform(22, 32), clatter=0.4)
    return recorded(wet(x, room(rng, rng.uniform(0.4, 1.5))), rng, 0.2)


@recipe("Bicycle", "Ratchet, pawl", "Mechanisms")
def bicycle(rng: Draws) -> Wave:
    rate = rng.uniform(8, 40) * np.interp(TIME, [0, 5], rng.uniform(0.5, 1, 2))
    train = fires(rng, rate, 0.05, 0.004, [0.0])
    x = unit(signal.fftconvolve(train, thud(rng, 2500, 11000, 0.004, 0.6))[:SIZE]) + 0.25 * noise(
        rng, [(80, 0), (500, -3), (3000, -10), (12000, -25)]
    ) * curve(rng, 5, 0.4, 1)
    if rng.random() < 0.4:
        for _ in range(2):
            put(x, rng.uniform(0, 4) * RATE, ring_ring(rng), 1.5)
    return recorded(x, rng, 0.2)


def ring_ring(rng: Draws) -> Wave:
    f = rng.uniform(1800, 3200)
    out = np.zeros(int(1.4 * RATE))
    for base in (0, rng.uniform(0.2, 0.35)):
        for i in range(rng.integers(3, 8)):
            put(
                out,
                (base + i * 0.028) * RATE,
                modes(rng, [f, f * 1.006, f * 2.3, f * 3.9], [0.9, 0.8, 0.5, 0.3], [1, 0.7, 0.5, 0.3], 0.9),
                rng.uniform(0.5, 1),
            )
    return unit(out)


@recipe("Bicycle bell")
def bicycle_bell(rng: Draws) -> Wave:
    x = 0.01 * noise(rng, [(50, 3), (400, 0), (6000, -20)])
    for _ in range(rng.integers(1, 4)):
        put(x, rng.uniform(0, 3.5) * RATE, ring_ring(rng))
    return recorded(x, rng, 0.5)


@recipe("Skateboard")
def skateboard(rng: Draws) -> Wave:
    x = unit(
        noise(rng, [(60, -4), (250, 0), (1200, 0), (4000, -8), (12000, -22)])
        * curve(rng, 25, 0.4, 1)
        * gusts(rng, 1, 0.1)
    )
    for _ in range(rng.integers(2, 8)):
        put(x, rng.uniform(0, 4.8) * RATE, thud(rng, 300, 3500, 0.04, 0.5), rng.uniform(2, 8))
    return recorded(x, rng, 0.4)

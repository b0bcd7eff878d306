"""Synthesised instruments and drums, by General MIDI programs and keys."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import signal

from train.pool.synthesis.blocks import band, put, shape
from train.pool.synthesis.midi import Score
from train.pool.synthesis.waves import RATE, Draws, Wave


class Heard(NamedTuple):
    """A note of a score.

    Attributes:
        start_s: its start, in seconds.
        length_s: its duration, in seconds.
        channel: its MIDI channel.
        key: its MIDI key.
        velocity: its MIDI velocity, 1 to 127.
    """

    start_s: float
    length_s: float
    channel: int
    key: int
    velocity: int


def heard(score: Score) -> tuple[list[Heard], dict[int, int]]:
    """The notes of a score, and each channel's program."""
    programs: dict[int, int] = {}
    open_: dict[tuple[int, int], list[tuple[float, int]]] = {}
    notes: list[Heard] = []
    for at, message in sorted(score, key=lambda event: event[0]):
        status, channel = message[0] & 0xF0, message[0] & 0x0F
        if status == 0xC0:
            programs[channel] = message[1]
        elif status == 0x90 and message[2]:
            open_.setdefault((channel, message[1]), []).append((at, message[2]))
        elif status in (0x80, 0x90) and open_.get((channel, message[1])):
            start, velocity = open_[channel, message[1]].pop(0)
            notes.append(Heard(start, at - start, channel, message[1], velocity))
    return notes, programs


def plucked(
    rng: Draws, f: float, seconds: float, bright: float = 0.6, sustain: float = 3.0, place: float = 0.2
) -> Wave:
    """A plucked string: harmonics weighted by the plucking position; higher ones decay sooner."""
    t = np.arange(int(min(seconds, 2.5) * RATE)) / RATE
    out = np.zeros(len(t))
    for k in range(1, int(min(12000 / f, 32)) + 1):
        fk = f * k * np.sqrt(1 + 0.00008 * k * k)
        gain = np.sin(np.pi * k * place) / k ** (1.7 - bright)
        out += (
            gain
            * np.exp(-t * (1.0 / sustain + 0.25 * k ** (1.6 - bright) / sustain * 2))
            * np.sin(2 * np.pi * fk * t + rng.uniform(0, 6.28))
        )
    return out * np.minimum(t * 800, 1)


def saws(
    rng: Draws,
    f: float,
    seconds: float,
    voices: int = 3,
    spread: float = 0.006,
    cut: float = 2500.0,
    attack: float = 0.02,
    sweep: float = 0.0,
    square: bool = False,
) -> Wave:
    """Several sawtooth or square waves, a little out of tune, through a filter that may open or close."""
    t = np.arange(int(seconds * RATE)) / RATE
    out = np.zeros(len(t))
    wave = signal.square if square else signal.sawtooth
    for _ in range(voices):
        out += wave(2 * np.pi * f * (1 + spread * rng.uniform(-1, 1)) * t + rng.uniform(0, 6.28))
    if sweep:
        dark = signal.lfilter(*signal.butter(2, min(cut / 3, 14000) / (RATE / 2)), out)
        bright = signal.lfilter(*signal.butter(2, min(cut * 2, 14000) / (RATE / 2)), out)
        mix = np.exp(-t / sweep) if sweep > 0 else np.clip(t / -sweep, 0, 1)
        out = dark * (1 - mix) + bright * mix
    else:
        out = signal.lfilter(*signal.butter(2, min(cut, 14000) / (RATE / 2)), out)
    return out / voices * np.minimum(t / attack, 1)


def instrument(rng: Draws, program: int, f: float, seconds: float, taste: Wave) -> Wave:
    """One note of a General MIDI program; `taste` holds the band's settings, in [0, 1)."""
    t = np.arange(int(seconds * RATE)) / RATE
    vibrato = 1 + 0.006 * np.sin(2 * np.pi * 5.5 * t) * np.clip(t / 0.3, 0, 1)
    phase = 2 * np.pi * np.cumsum(f * vibrato) / RATE
    if program in (24, 25, 106, 46):
        out = plucked(rng, f, seconds + 0.3, 0.35 + 0.4 * taste[0], 2.5, 0.18)
    elif program in (26, 27, 28, 29, 30):
        out = plucked(rng, f, seconds + 0.1, 0.4 + 0.5 * taste[0], 4.0, 0.13 if program > 28 else 0.09)
        if program == 28:
            out *= np.exp(-np.arange(len(out)) / RATE * 12)
    elif program in (104, 105, 107, 15):
        out = plucked(rng, f, seconds + 0.4, 0.95, 1.0 if program == 105 else 2.0, 0.08)
        if program == 104:
            out = np.tanh(3 * out) + 0.4 * np.tanh(9 * out * np.linspace(1, 0.2, len(out)))
    elif program <= 7:
        if program in (4, 5):
            out = np.sin(phase + 1.5 * np.exp(-t * 3) * np.sin(phase)) * np.exp(-t * 1.2) + 0.2 * np.sin(
                14 * phase
            ) * np.exp(-t * 12)
        else:
            out = plucked(rng, f, seconds + 0.2, 0.45 + 0.3 * taste[1], 2.2, 0.12) + 0.6 * plucked(
                rng, f * 1.001, seconds + 0.2, 0.3, 3, 0.12
            )
    elif program <= 15 or program in (98, 108, 112):
        ratios = [1, 2.76, 5.4] if program in (8, 9, 10, 14, 98) else [1, 4, 9.2]
        decays = (2.5, 6, 14) if program in (8, 9, 10, 14, 98) else (7, 16, 40)
        out = np.zeros(len(t))
        for ratio, gain, decay in zip(ratios, (1, 0.4, 0.2), decays, strict=True):
            out += gain * np.sin(2 * np.pi * f * ratio * t) * np.exp(-t * decay)
    elif program in (16, 17, 18, 19, 20):
        bars = (1, 0.5, 0.8, 0.4, 0.25, 0.15) if program == 19 else (0.7, 1, 0.5, 0.3, 0.1, 0.2)
        lfo = 1 + (0.004 if program == 19 else 0.008) * np.sin(2 * np.pi * 6.3 * t)
        out = np.zeros(len(t))
        for ratio, gain in zip((0.5, 1, 2, 3, 4, 6), bars, strict=True):
            out += gain * np.sin(2 * np.pi * np.cumsum(f * ratio * lfo) / RATE)
        out *= np.minimum(t * 60, 1)
    elif program in (21, 22, 23):
        out = saws(rng, f, seconds, 3, 0.004, 3500, 0.04, square=True)
    elif 32 <= program <= 37:
        out = plucked(
            rng,
            f,
            seconds,
            0.15 if program == 32 else 0.35 + 0.3 * taste[2],
            2.0 if program != 32 else 0.8,
            0.2 if program < 36 else 0.06,
        )
    elif program in (38, 39):
        out = saws(rng, f, seconds, 1, 0.002, 700 + 1500 * taste[2], 0.003, 0.15, square=program == 39)
    elif program == 87:
        x = saws(rng, f, seconds, 3, 0.004, 9000, 0.005)
        low = signal.lfilter(*signal.butter(2, 300 / (RATE / 2)), x)
        wobble = 0.5 + 0.5 * np.sin(2 * np.pi * (2 + 6 * taste[2]) * t)
        out = np.tanh(3 * (low + wobble * (x - low)))
    elif program in (40, 41, 42, 43, 110) and seconds < 3:
        out = signal.lfilter(
            *signal.butter(1, 5000 / (RATE / 2)), signal.sawtooth(phase) + 0.05 * rng.standard_normal(len(t))
        ) * np.minimum(t / 0.06, 1)
    elif program in (44, 45, 48, 49, 50, 51):
        out = saws(rng, f, seconds + 0.2, 6, 0.008, 1800 + 2500 * taste[3], 0.12 if seconds > 0.5 else 0.03)
    elif program in (52, 53, 54):
        out = shape(
            saws(rng, f, seconds, 4, 0.006, 3000, 0.15),
            [(100, -10), (600, 4), (1100, 3), (2500, -10), (5000, -24)],
        )
    elif 56 <= program <= 63:
        out = saws(rng, f, seconds, 1 if program < 61 else 4, 0.004, 2200 + 2000 * taste[3], 0.03, -0.12)
    elif 64 <= program <= 71 or program in (109, 111):
        buzz = signal.sawtooth(phase) if program != 71 else signal.square(phase)
        out = shape(
            buzz + 0.06 * rng.standard_normal(len(t)),
            [(100, -10), (500, 3), (1400, 2), (3000, -6), (8000, -26)],
        ) * np.minimum(t / 0.03, 1)
    elif 72 <= program <= 79:
        out = (
            np.sin(phase)
            + 0.25 * np.sin(2 * phase)
            + 0.1 * np.sin(3 * phase)
            + 0.08 * band(rng, f, 6000, max(len(t), 64))[: len(t)]
        ) * np.minimum(t / 0.05, 1)
    elif program in (80, 81):
        out = saws(rng, f, seconds, 5, 0.01, 4000 + 6000 * taste[3], 0.005, 0.3, square=program == 80)
    else:
        out = saws(rng, f, seconds + 0.3, 6, 0.01, 900 + 1800 * taste[3], 0.25)
    fade = min(len(out), int(0.03 * RATE))
    out = out.copy()
    out[len(out) - fade :] *= np.linspace(1, 0, fade)
    return out / max(np.sqrt(np.mean(out**2)), 1e-6)


def drum(rng: Draws, key: int, taste: Wave) -> Wave:
    """One drum, by its General MIDI key."""
    t = np.arange(int(0.9 * RATE)) / RATE

    def hit(low: float, high: float, decay: float) -> Wave:
        return band(rng, low, high, len(t), 18) * np.exp(-t / decay)

    if key in (35, 36):
        f = 45 + 25 * taste[4]
        return np.sin(
            2 * np.pi * (f * t + (90 + 120 * taste[5]) * 0.025 * (1 - np.exp(-t / 0.025)))
        ) * np.exp(-t / (0.08 + 0.2 * taste[4])) + 0.15 * hit(1500, 6000, 0.004)
    if key in (38, 40):
        return 0.7 * np.sin(2 * np.pi * (170 + 60 * taste[5]) * t) * np.exp(-t / 0.05) + 0.5 * hit(
            1200, 9000, 0.06 + 0.12 * taste[5]
        )
    if key == 39:
        return 0.5 * hit(900, 4000, 0.08) * (1 + (t % 0.011 < 0.004) * (t < 0.033))
    if key == 37:
        return 0.6 * np.sin(2 * np.pi * 1700 * t) * np.exp(-t / 0.012) + 0.4 * hit(1500, 7000, 0.008)
    if key in (42, 44, 70, 82):
        return 0.35 * hit(6500, 14000, 0.02 + 0.03 * taste[6])
    if key == 46:
        return 0.35 * hit(6000, 14000, 0.2)
    if key in (49, 57, 51, 59):
        return (0.4 if key in (49, 57) else 0.22) * (
            hit(3000, 14000, 0.5)
            + 0.3 * sum(np.sin(2 * np.pi * f * t) for f in (3170, 4210, 5380)) * np.exp(-t / 0.4)
        )
    if key in (54, 83):
        return 0.3 * hit(7000, 14000, 0.07) * (1 + 0.6 * np.sin(2 * np.pi * 28 * t))
    if key in (56, 76, 77):
        return (
            0.5
            * (np.sign(np.sin(2 * np.pi * 560 * t)) + np.sign(np.sin(2 * np.pi * 845 * t)))
            * np.exp(-t / 0.06)
        )
    f = {
        41: 80,
        43: 95,
        45: 115,
        47: 140,
        48: 165,
        50: 200,
        60: 380,
        61: 280,
        62: 330,
        63: 240,
        64: 180,
        65: 420,
        66: 320,
    }.get(key, 250)
    return 0.8 * np.sin(2 * np.pi * f * (t + 0.012 * (1 - np.exp(-t / 0.02)))) * np.exp(
        -t / (0.16 if f < 210 else 0.1)
    ) + 0.2 * hit(800, 5000, 0.01)


def played(rng: Draws, score: Score, seconds: float, taste: Wave, detune: float) -> dict[int, Wave]:
    """The audio of a score, a track for each channel; equal notes are computed once."""
    notes, programs = heard(score)
    size = int(seconds * RATE)
    tracks: dict[int, Wave] = {}
    made: dict[tuple[int, int, float], Wave] = {}
    for start, length, channel, key, velocity in notes:
        long = 0.0 if channel == 9 else min(max(round(length * 8) / 8, 0.125), 4.0)
        name = channel, key, long
        if name not in made:
            made[name] = (
                drum(rng, key, taste)
                if channel == 9
                else instrument(
                    rng, programs.get(channel, 0), 440 * 2 ** ((key - 69 + detune) / 12), long, taste
                )
            )
        put(
            tracks.setdefault(channel, np.zeros(size)),
            int((start + 0.01) * RATE),
            made[name],
            (velocity / 127) ** 1.5,
        )
    return tracks

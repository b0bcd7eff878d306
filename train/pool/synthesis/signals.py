"""Tones, noises and simple machines, computed from formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from train.pool.cutting import CLIP_SAMPLES, SAMPLE_RATE
from train.pool.synthesis.rooms import at_level

Wave = NDArray[np.float64]

_QUIET_RMS = 0.002
_LEVELS = (0.03, 0.1, 0.2)


def total(waves: Iterable[Wave]) -> Wave:
    """The sum of waves ``(S,)``."""
    wave: Wave = np.sum(list(waves), axis=0)
    return wave


class Canvas:
    """Five seconds to draw on.

    Attributes:
        rng: generator of all random choices.
        times: ``(S,)`` in seconds.
        frequency: in Hz, for signals with a pitch; drawn first.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.times: Wave = np.arange(CLIP_SAMPLES) / SAMPLE_RATE
        self.frequency = float(rng.uniform(200, 3000))

    def sine(self, frequency: float) -> Wave:
        """A sine of a constant frequency in Hz."""
        wave: Wave = np.sin(2 * np.pi * frequency * self.times)
        return wave

    def sines(self, partials: list[tuple[float, float]]) -> Wave:
        """A sum of sines, as frequencies in Hz and amplitudes."""
        return total(amplitude * self.sine(frequency) for frequency, amplitude in partials)

    def swept(self, frequencies: ArrayLike) -> Wave:
        """A sine of a frequency in Hz that changes from sample to sample."""
        wave: Wave = np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequencies, CLIP_SAMPLES)) / SAMPLE_RATE)
        return wave

    def gate(self, on_s: float, off_s: float) -> NDArray[np.bool_]:
        """On and off in turn."""
        gate: NDArray[np.bool_] = (self.times % (on_s + off_s)) < on_s
        return gate

    def uniform(self, low: float, high: float) -> float:
        """A number drawn between two others."""
        return float(self.rng.uniform(low, high))

    def white(self) -> Wave:
        """White noise."""
        return self.rng.standard_normal(CLIP_SAMPLES)

    def coloured(self, slope: float) -> Wave:
        """Noise whose power falls with the frequency to the power of ``slope``."""
        spectrum = np.fft.rfft(self.white())
        spectrum *= np.maximum(np.arange(len(spectrum)), 20.0) ** (-slope / 2)
        return np.fft.irfft(spectrum, CLIP_SAMPLES)

    def band(self, low_hz: float, high_hz: float) -> Wave:
        """Noise between two frequencies."""
        spectrum = np.fft.rfft(self.white())
        frequencies = np.fft.rfftfreq(CLIP_SAMPLES, 1 / SAMPLE_RATE)
        return np.fft.irfft(spectrum * ((frequencies > low_hz) & (frequencies < high_hz)), CLIP_SAMPLES)


def _harmonic(c: Canvas) -> Wave:
    return c.sines([(c.frequency / 4 * k, 1 / k) for k in range(1, 8)])


def _chirp(c: Canvas) -> Wave:
    sweep = np.geomspace(c.uniform(100, 500), c.uniform(2000, 9000), CLIP_SAMPLES)
    return c.swept(sweep[:: c.rng.choice([-1, 1])])


def _mains_hum(c: Canvas) -> Wave:
    base = float(c.rng.choice([50, 60]))
    return c.sines([(base * k, c.uniform(0.1, 1) / k) for k in range(1, 9)]) + 0.01 * c.white()


def _buzz(c: Canvas) -> Wave:
    return np.clip(c.sines([(100 * k, k**-0.5) for k in range(1, 40)]), -2, 2)


def _static(c: Canvas) -> Wave:
    return c.band(500, 8000) * (0.2 + (np.abs(c.coloured(1)) > c.uniform(0, 0.01)))


def _crackle(c: Canvas) -> Wave:
    clicks = c.rng.random(CLIP_SAMPLES) < c.uniform(0.0005, 0.004)
    return clicks * c.white() + 0.003 * c.white()


def _dial_tone(c: Canvas) -> Wave:
    return c.sine(350) + c.sine(440) if c.rng.random() < 0.6 else c.sine(425)


def _busy_tone(c: Canvas) -> Wave:
    return (c.sine(480) + c.sine(620)) * c.gate(0.5, 0.5)


def _ringback(c: Canvas) -> Wave:
    return (c.sine(440) + c.sine(480)) * ((c.times + c.uniform(0, 1)) % 6 < 2.0 + c.uniform(0, 1))


def _dtmf(c: Canvas) -> Wave:
    wave, at = np.zeros(CLIP_SAMPLES), 0
    while at < CLIP_SAMPLES - SAMPLE_RATE // 4:
        n_samples = int(c.uniform(0.08, 0.2) * SAMPLE_RATE)
        tone = c.sine(float(c.rng.choice([697, 770, 852, 941])))
        tone += c.sine(float(c.rng.choice([1209, 1336, 1477])))
        wave[at : at + n_samples] = tone[:n_samples][: CLIP_SAMPLES - at]
        at += n_samples + int(c.uniform(0.05, 0.3) * SAMPLE_RATE)
    return wave


def _phone_bell(c: Canvas) -> Wave:
    warble = np.where((c.times * 20) % 1 < 0.5, c.sine(c.frequency / 3 + 500), c.sine(c.frequency / 3 + 650))
    return warble * c.gate(1.0, c.uniform(0.5, 2))


def _beeps(c: Canvas) -> Wave:
    return c.sine(c.frequency + 400) * c.gate(c.uniform(0.05, 0.3), c.uniform(0.1, 0.8))


def _alarm_clock(c: Canvas) -> Wave:
    return np.sign(c.sine(2000 + c.frequency / 4)) * c.gate(0.06, 0.06) * (c.times % 1 < 0.5)


def _smoke_alarm(c: Canvas) -> Wave:
    return (c.sine(3100) + 0.4 * c.sine(6200)) * c.gate(0.5, 0.5)


def _wail_siren(c: Canvas) -> Wave:
    return c.swept(900 + 450 * np.sin(2 * np.pi * c.times / c.uniform(2, 5) + c.uniform(0, 6)))


def _yelp_siren(c: Canvas) -> Wave:
    return c.swept(1000 + 500 * np.sin(2 * np.pi * c.times * c.uniform(2.5, 4.5)))


def _two_tone_siren(c: Canvas) -> Wave:
    low = c.swept(np.where(c.times * c.uniform(0.8, 2) % 1 < 0.5, 440, 585))
    return low + 0.3 * c.swept(np.where(c.times % 1 < 0.5, 880, 1170))


def _civil_siren(c: Canvas) -> Wave:
    rise = 300 + 250 * np.clip(c.times / 3, 0, 1)
    return total(c.swept(k * rise) / k for k in (1, 2, 3))


def _reversing_beeps(c: Canvas) -> Wave:
    return c.sine(1250) * c.gate(0.5, 0.5) + 0.05 * c.coloured(2)


def _pulse(c: Canvas) -> Wave:
    return np.sign(c.sine(c.uniform(40, 150)) - 0.9)


def _heartbeat(c: Canvas) -> Wave:
    def beat(shift_s: float) -> Wave:
        decay: Wave = np.exp(-(((c.times - shift_s) % 0.85) * 18))
        return decay

    return c.sine(45) * (beat(0.1) + 0.7 * beat(0.4))


def _ticks(c: Canvas) -> Wave:
    period_s = float(c.rng.choice([0.2, 0.5, 1.0]))
    tick = np.exp(-(c.times % period_s) * 900)
    tock = 0.6 * np.exp(-((c.times + period_s / 2) % period_s) * 1200)
    return c.band(1500, 7000) * (tick + tock)


def _throbbing(c: Canvas) -> Wave:
    return c.coloured(1.5) * (0.3 + np.abs(c.sine(c.uniform(3, 9))))


def _vibration(c: Canvas) -> Wave:
    return np.sign(c.sine(c.uniform(120, 180))) * c.gate(c.uniform(0.3, 0.8), 0.4) * 0.5 + 0.02 * c.white()


def _whistle(c: Canvas) -> Wave:
    return c.swept(c.uniform(1200, 2400) + 400 * np.cumsum(c.coloured(2)) / 3000) + 0.05 * c.band(1000, 4000)


def _engine(c: Canvas) -> Wave:
    revolutions = c.uniform(18, 60) * (1 + 0.3 * np.sin(2 * np.pi * c.times * c.uniform(0.05, 0.3)))
    strokes = total(c.swept(revolutions * k) / k**0.7 for k in range(1, 14))
    wave: Wave = np.tanh(strokes) + 0.3 * c.coloured(1.5) / c.coloured(1.5).std()
    return wave


def _wind(c: Canvas) -> Wave:
    gusts = np.interp(c.times, np.arange(0, 6, 0.5), c.rng.uniform(0.2, 1, 12))
    return c.coloured(1.6) * gusts


def _sonar(c: Canvas) -> Wave:
    return c.sine(c.uniform(700, 1600)) * np.exp(-(c.times % 2.5) * 3)


def _bell(c: Canvas) -> Wave:
    # Ratios and decays of the partials of a church bell: hum, prime, tierce, nominal and above.
    partials = ((0.5, 0.8), (1, 1.2), (1.19, 1.6), (2, 2.5), (2.74, 3), (3.76, 4))
    return total(
        c.sine(c.frequency / 2 * ratio) * np.exp(-(c.times % 1.7) * decay) for ratio, decay in partials
    )


def _ringtone(c: Canvas) -> Wave:
    melody = c.rng.choice([523.0, 659.0, 784.0, 880.0, 1047.0, 1319.0], 8)
    return c.swept(melody[(c.times * 8).astype(int) % 8]) * (c.times % 2.5 < 2)


def _video_game(c: Canvas) -> Wave:
    melody = c.rng.choice([262.0, 330.0, 392.0, 523.0, 659.0, 784.0, 1047.0], 16)
    return np.sign(c.swept(melody[(c.times * c.uniform(6, 14)).astype(int) % 16]))


def _laser(c: Canvas) -> Wave:
    since_shot = c.times % 0.7
    return c.swept(200 + 4000 * np.exp(-since_shot * 9)) * np.exp(-since_shot * 4)


KINDS: dict[str, Callable[[Canvas], Wave]] = {
    "sine": lambda c: c.sine(c.frequency),
    "harmonic": _harmonic,
    "square": lambda c: np.sign(c.sine(c.frequency / 3)),
    "chirp": _chirp,
    "white noise": Canvas.white,
    "pink noise": lambda c: c.coloured(1),
    "brown noise": lambda c: c.coloured(2),
    "hiss": lambda c: c.band(3000, 14000),
    "rumble": lambda c: c.band(20, 120),
    "mains hum": _mains_hum,
    "buzz": _buzz,
    "static": _static,
    "crackle": _crackle,
    "dial tone": _dial_tone,
    "busy tone": _busy_tone,
    "ringback": _ringback,
    "dtmf": _dtmf,
    "phone bell": _phone_bell,
    "beeps": _beeps,
    "alarm clock": _alarm_clock,
    "smoke alarm": _smoke_alarm,
    "wail siren": _wail_siren,
    "yelp siren": _yelp_siren,
    "two-tone siren": _two_tone_siren,
    "civil siren": _civil_siren,
    "reversing beeps": _reversing_beeps,
    "pulse": _pulse,
    "heartbeat": _heartbeat,
    "ticks": _ticks,
    "throbbing": _throbbing,
    "vibration": _vibration,
    "whistle": _whistle,
    "engine": _engine,
    "wind": _wind,
    "sonar": _sonar,
    "bell": _bell,
    "ringtone": _ringtone,
    "video game": _video_game,
    "laser": _laser,
    "quiet": Canvas.white,
}
"""Function for each kind."""


def signals(first: int, count: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Signals ``first`` to ``first + count - 1`` of every kind."""
    for kind, draw in KINDS.items():
        for number in range(first, first + count):
            rng = np.random.default_rng([number, len(kind), ord(kind[0]), ord(kind[-1])])
            wave = draw(Canvas(rng))
            rms = _QUIET_RMS if kind == "quiet" else float(rng.choice(_LEVELS))
            yield f"{kind} {number}", np.clip(at_level(wave, rms), -1, 1)

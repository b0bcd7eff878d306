"""Building blocks of synthesised sounds: noises, pulses, struck bodies, bubbles, engines, voices, rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import signal

from train.pool.synthesis.waves import RATE, SIZE, Curve, Draws, Numbers, Points, Track, Wave


def curve(rng: Draws, rate: float, low: float = 0.0, high: float = 1.0, size: int = SIZE) -> Wave:
    """A smooth random curve ``(size,)`` between two values, with ``rate`` knots a second."""
    count = max(int(size / RATE * rate) + 4, 5)
    knots = rng.uniform(low, high, count)
    return np.interp(np.arange(size) / size * (count - 2), np.arange(count), knots)


def noise(rng: Draws, points: Points, size: int = SIZE, loose: float = 4.0) -> Wave:
    """Gaussian noise with a magnitude given as (Hz, dB) points, interpolated over the log frequency; RMS 1.

    The points are shifted at random: each by up to `loose` dB, all together by up to `loose` / 10 octaves.
    """
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 1.0)
    hertz, decibels = np.array(points, float).T
    if loose:
        decibels = decibels + rng.uniform(-loose, loose, len(points))
        hertz = hertz * 2 ** (loose / 10 * rng.uniform(-1, 1))
    out = np.fft.irfft(spectrum * 10 ** (np.interp(np.log(frequency), np.log(hertz), decibels) / 20), size)
    return out / max(out.std(), 1e-9)


def shape(audio: Wave, points: Points) -> Wave:
    """The audio filtered with a gain given as (Hz, dB) points."""
    spectrum = np.fft.rfft(audio)
    frequency = np.maximum(np.fft.rfftfreq(len(audio), 1 / RATE), 1.0)
    hertz, decibels = np.array(points, float).T
    return np.fft.irfft(
        spectrum * 10 ** (np.interp(np.log(frequency), np.log(hertz), decibels) / 20), len(audio)
    )


def band(rng: Draws, low: float, high: float, size: int = SIZE, edge: float = 24) -> Wave:
    """Noise between two frequencies, falling by `edge` dB an octave outside them."""
    high = min(high, 15000)
    return noise(rng, [(low / 32, -5 * edge), (low, 0), (high, 0), (high * 32, -5 * edge)], size, 0.0)


def swept(frequency: Curve) -> Wave:
    return np.sin(
        2
        * np.pi
        * np.cumsum(np.broadcast_to(frequency, (SIZE,)) if np.ndim(frequency) == 0 else frequency)
        / RATE
    )


def put(out: Wave, at: float, piece: Wave, gain: float = 1.0) -> None:
    """Adds a piece at a sample, cut at the end."""
    at = int(at)
    if at < 0:
        piece, at = piece[-at:], 0
    piece = piece[: max(len(out) - at, 0)]
    out[at : at + len(piece)] += gain * piece


def spaced(first_s: float, end_s: float, gap_s: Callable[[], float]) -> Iterator[float]:
    """Times in seconds from `first_s` to before `end_s`; a gap is drawn after the use of the time before."""
    at = first_s
    while at < end_s:
        yield at
        at += gap_s()


def modes(
    rng: Draws, frequencies: Numbers, decays: Numbers, gains: Numbers, seconds: float, attack: float = 0.0005
) -> Wave:
    """A struck body: damped sines; `decays` are times to -60 dB, in seconds."""
    t = np.arange(int(seconds * RATE)) / RATE
    out = np.zeros(len(t))
    for f, d, g in zip(frequencies, decays, gains, strict=False):
        if f < 15000:
            out += g * np.exp(-6.9 * t / d) * np.sin(2 * np.pi * f * t + rng.uniform(0, 6.28))
    return out * np.minimum(t / attack, 1)


def thud(rng: Draws, low: float, high: float, seconds: float, click: float = 0.0) -> Wave:
    """A hit: a burst of noise between two frequencies that dies away, and a click."""
    size = int(seconds * 4 * RATE)
    t = np.arange(size) / RATE
    out = band(rng, low, high, size, 18) * np.exp(-t / seconds * 3)
    if click:
        out += click * rng.standard_normal(size) * np.exp(-t * 900)
    return out * np.minimum(t * 3000, 1)


def bubble(rng: Draws, frequency: float, rise: float = 0.1, loss: float = 1.0) -> Wave:
    """A bubble: a damped sine whose pitch rises."""
    d = loss * (0.13 * frequency + 0.0072 * frequency**1.5)
    t = np.arange(int(min(7 / d, 0.5) * RATE) + 2) / RATE
    return (
        np.sin(2 * np.pi * frequency * t * (1 + rise * d * t / 2)) * np.exp(-d * t) * np.minimum(t * 1500, 1)
    )


def bubbles(
    rng: Draws,
    density: Curve,
    low: float,
    high: float,
    rise: float = 0.1,
    size: int = SIZE,
    loss: float = 1.0,
) -> Wave:
    """Many bubbles, `density` a second: a number or a curve."""
    out = np.zeros(size)
    density = np.broadcast_to(density, (size,))
    times = np.flatnonzero(rng.random(size) < density / RATE)
    for at in times[:9000]:
        f = np.exp(rng.uniform(np.log(low), np.log(high)))
        put(out, at, bubble(rng, f, rng.uniform(0, 2 * rise), loss), (300 / f) ** 0.5 * rng.random() ** 2)
    return out / max(out.std(), 1e-9)


def specks(
    rng: Draws,
    density: Curve,
    low: float,
    high: float,
    decay: float = 0.002,
    size: int = SIZE,
    heavy: float = 2.0,
) -> Wave:
    """Crackle: short band-limited pulses at random times, of very unequal size."""
    density = np.broadcast_to(density, (size,))
    hits = (rng.random(size) < density / RATE) * rng.choice([-1, 1], size) * rng.pareto(heavy, size)
    t = np.arange(int(decay * 8 * RATE)) / RATE
    kernel = np.exp(-t / decay) * rng.standard_normal(len(t))
    out = signal.fftconvolve(hits, kernel)[:size]
    out = shape(out, [(low / 16, -60), (low, 0), (high, 0), (high * 16, -60)])
    return out / max(out.std(), 1e-9)


def resonate(audio: Wave, frequencies: Numbers, widths: Numbers, gains: Numbers, dry: float = 0.0) -> Wave:
    """Two-pole resonators in parallel."""
    out = dry * audio
    for f, w, g in zip(frequencies, widths, gains, strict=False):
        r = np.exp(-np.pi * w / RATE)
        out = out + g * signal.lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * f / RATE), r * r], audio)
    return out


def fires(
    rng: Draws, rate: Curve, uneven: float = 0.15, jitter: float = 0.01, pattern: Numbers | None = None
) -> Wave:
    """Ignition pulses at a rate in Hz, a number or a curve; each cylinder has its own pulse size."""
    rate = np.broadcast_to(rate, (SIZE,))
    phase = np.cumsum(rate / RATE) + jitter * curve(rng, 40, -1, 1)
    wanted = pattern if pattern is not None else [0.0, 0.25, 0.5, 0.75]
    sizes = 1 + uneven * rng.standard_normal(len(wanted))
    out = np.zeros(SIZE)
    for offset, size in zip(wanted, sizes, strict=True):
        place = np.flatnonzero(np.diff(np.floor(phase / len(wanted) + offset)) > 0)
        out[place] += size * (1 + 0.1 * rng.standard_normal(len(place)))
    return out


def engine(
    rng: Draws,
    rate: Curve,
    body: Numbers = (90, 180, 300, 520),
    tone: float = 0.5,
    hiss: float = 0.25,
    clatter: float = 0.0,
    uneven: float = 0.15,
    jitter: float = 0.01,
    pattern: Numbers | None = None,
    load: Curve | None = None,
) -> Wave:
    """An engine: ignition pulses through an exhaust's resonances, gas noise and clatter at the same rate."""
    train = fires(rng, rate, uneven, jitter, pattern)
    t = np.arange(int(0.03 * RATE)) / RATE
    pop = np.exp(-t * rng.uniform(150, 500)) * (1 + 0.5 * rng.standard_normal(len(t)))
    exhaust = signal.fftconvolve(train, pop)[:SIZE]
    exhaust = exhaust - exhaust.mean()
    exhaust = resonate(
        exhaust, body, [f * rng.uniform(0.2, 0.5) for f in body], rng.uniform(0.5, 1.5, len(body)) * 6, tone
    )
    envelope = signal.fftconvolve(train, np.exp(-t * 120))[:SIZE]
    gas = noise(rng, [(50, -10), (300, 0), (2000, -8), (12000, -26)]) * (0.3 + envelope)
    out = exhaust / exhaust.std() + hiss * gas / gas.std()
    if clatter:
        knock = signal.fftconvolve(
            np.roll(train, 200) * rng.uniform(0.3, 1, SIZE), thud(rng, 900, 4500, 0.006)
        )[:SIZE]
        out = out + clatter * knock / max(knock.std(), 1e-9)
    if load is not None:
        out = np.tanh(out * load) / np.maximum(load, 0.3)
    return out


# Voices.

VOWELS = {
    "a": (800, 1200, 2700, 3600, 4900),
    "e": (450, 1900, 2600, 3500, 4900),
    "i": (290, 2300, 3000, 3700, 4900),
    "o": (450, 850, 2600, 3500, 4900),
    "u": (330, 750, 2500, 3500, 4900),
    "@": (550, 1450, 2500, 3600, 4900),
    "A": (900, 1400, 2800, 3800, 4900),
    "m": (240, 1050, 2200, 3300, 4500),
}


def filtered(
    source: Wave,
    track: Track,
    widths: Numbers = (70, 100, 140, 200, 260),
    tilt: float = 0.0,
    scale: float = 1.0,
    ring: float = 0.0,
) -> Wave:
    """A source through formants that move along `track`; `ring`: gain of the singer's formant in dB."""
    n, hop = 1024, 256
    _, _, spectrum = signal.stft(source, RATE, nperseg=n, noverlap=n - hop, boundary="zeros")
    times = np.arange(spectrum.shape[1]) * hop / RATE
    points = np.array([VOWELS[v] for _, v in track], float) * scale
    formants = np.stack([np.interp(times, [s for s, _ in track], points[:, i]) for i in range(5)])
    frequency = np.arange(n // 2 + 1)[:, None] * RATE / n
    gain = np.ones(spectrum.shape)
    for i in range(5):
        f, w = formants[i], widths[i] * scale
        gain *= (f**2 + w**2 / 4) / np.sqrt(
            ((frequency - f) ** 2 + w**2 / 4) * ((frequency + f) ** 2 + w**2 / 4)
        )
    gain *= (1 + frequency / 4500) ** (1.6 - tilt)  # the higher poles' share
    if ring:
        gain *= 10 ** (ring / 20 * np.exp(-(((frequency - 2900) / 450) ** 2)))
    _, out = signal.istft(spectrum * gain, RATE, nperseg=n, noverlap=n - hop, boundary=True)
    return np.pad(out, (0, max(len(source) - len(out), 0)))[: len(source)]


def glottis(
    rng: Draws, f0: Wave, open_: float = 0.6, rough: float = 0.0, jitter: float = 0.006, shimmer: float = 0.05
) -> tuple[Wave, Wave]:
    """Derivative of the glottal flow at a pitch curve in Hz, and phase; `rough` weakens every other pulse."""
    f0 = np.maximum(f0, 1.0) * (
        1
        + jitter * curve(rng, 60, -1, 1, len(f0))
        + 0.5 * jitter * rng.standard_normal(len(f0)).cumsum() / np.sqrt(len(f0))
    )
    phase = np.cumsum(f0 / RATE)
    x = phase % 1
    table = np.linspace(0, 1, 2049)
    flow = np.where(table < open_, np.sin(np.pi * np.minimum(table / open_, 1) ** 1.6) ** 1.5, 0.0)
    wave = np.gradient(flow) * 2048
    out = np.interp(x, table, wave)
    each = 1 + shimmer * rng.standard_normal(int(phase[-1]) + 2)
    if rough:
        each[::2] *= 1 - rough
        each *= 1 + rough * 0.5 * rng.standard_normal(len(each))
    return out * each[phase.astype(int)], x


def voice(
    rng: Draws,
    f0: Wave,
    loudness: Curve,
    track: Track,
    breath: float = 0.05,
    scale: float = 1.0,
    tilt: float = 0.0,
    rough: float = 0.0,
    open_: float = 0.6,
    ring: float = 0.0,
    jitter: float = 0.006,
    shimmer: float = 0.05,
) -> Wave:
    """A voice from curves of pitch (Hz) and loudness, of one length, and from vowels over time."""
    buzz, phase = glottis(rng, f0, open_, rough, jitter, shimmer)
    air = noise(rng, [(100, -20), (1000, -3), (3000, 0), (12000, -4)], len(f0)) * (
        0.4 + 0.6 * (phase < open_)
    )
    source = loudness * (buzz / max(buzz.std(), 1e-9) + breath * air)
    return filtered(source, track, tilt=tilt, scale=scale, ring=ring)


# Rooms and finish.


def room(
    rng: Draws, seconds: float, size: float | None = None, dark: float | None = None, direct: float = 1.0
) -> Wave:
    """An impulse response: direct sound, early reflections of a box of `size` metres, a darkening tail."""
    size = size or rng.uniform(2, 6) * max(seconds, 0.2) ** 0.5
    length = int(max(seconds, 0.05) * RATE)
    t = np.arange(length) / RATE
    tail = np.zeros(length)
    for low, high, share in ((30, 500, 1.15), (500, 2500, 1.0), (2500, 7000, 0.75), (7000, 15000, 0.5)):
        rt = seconds * share * rng.uniform(0.85, 1.15)
        tail += band(rng, low, high, length, 30) * (high - low) ** 0.35 * 10 ** (-3 * t / rt)
    tail *= t > size / 340
    tail /= np.sqrt((tail**2).sum()) + 1e-9
    early = np.zeros(length)
    for _ in range(12):
        at = rng.uniform(0.3, 3) * size / 340
        if at < seconds:
            early[min(int(at * RATE), length - 1)] += rng.choice([-1, 1]) * 0.5 / (1 + at * 120)
    out = tail * rng.uniform(0.5, 1) + early
    out[0] += direct
    if dark:
        out = shape(out, [(20, 0), (dark, 0), (dark * 8, -36)])
    return out


def wet(audio: Wave, response: Wave) -> Wave:
    return signal.oaconvolve(audio, response)[: len(audio)]


def level(audio: Wave, decibels: float) -> Wave:
    """The audio with an RMS level in dB of full scale; lower if its peak would exceed 0.98."""
    audio = audio * (10 ** (decibels / 20) / max(np.sqrt(np.mean(audio**2)), 1e-9))
    peak = np.abs(audio).max()
    return audio / peak * 0.98 if peak > 0.98 else audio


def recorded(
    audio: Wave,
    rng: Draws,
    reverb: float = 0.5,
    floor: tuple[float, float] = (-75, -45),
    lowest: tuple[float, float] = (-34, -14),
    far: float = 0.25,
) -> Wave:
    """The audio as if recorded: at random a room and a microphone's band; a noise floor, a random level."""
    audio = np.nan_to_num(audio[:SIZE])
    if rng.random() < reverb:
        audio = wet(audio, room(rng, rng.uniform(0.1, 0.9), direct=rng.uniform(0.6, 2.0)))
    if rng.random() < 0.6:
        audio = shape(
            audio,
            [
                (30, rng.uniform(-15, 0)),
                (150, rng.uniform(-4, 1)),
                (1500, 0),
                (5000, rng.uniform(-6, 3)),
                (14000, rng.uniform(-20, 0)),
            ],
        )
    audio = level(audio, rng.uniform(*lowest))
    hum = noise(rng, [(30, 6), (200, 0), (1500, -10), (14000, -22)], len(audio)) * 10 ** (
        rng.uniform(*floor) / 20
    )
    return np.clip(audio + hum, -1, 1).astype(np.float32)


def gusts(rng: Draws, rate: float = 0.8, low: float = 0.15) -> Wave:
    return curve(rng, rate, low, 1) ** 1.5


def unit(x: Wave) -> Wave:
    return x / max(np.std(x), 1e-9)


def rms(audio: Wave) -> float:
    """Root mean square plus 1e-9: a divisor that is never zero."""
    return float(np.sqrt(np.mean(audio**2))) + 1e-9

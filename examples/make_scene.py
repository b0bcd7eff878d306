"""Make ``examples/scene.flac``: a clock ticks, it rains, a siren passes; all of it computed.

python examples/make_scene.py [FILE]

The scene exists so that the documentation and the tests have something to hear that anyone may use: no
recording went into it.  The same samples come out every time; the FLAC encoder's bytes may differ between its
versions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

SAMPLE_RATE = 32_000
DURATION_S = 6.0
SEED = 20

Samples = NDArray[np.float64]


def times(duration_s: float) -> Samples:
    """``(S,)`` sample times in seconds."""
    return np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE


def place(scene: Samples, sound: Samples, onset_s: float) -> None:
    """Add ``sound (S',)`` to ``scene (S,)`` from ``onset_s`` on; what reaches beyond the end is cut."""
    start = round(onset_s * SAMPLE_RATE)
    room = scene[start : start + len(sound)]
    room += sound[: len(room)]


def fade(sound: Samples, fade_s: float) -> Samples:
    """``(S,)`` -> ``(S,)``: raised-cosine edges, so that no sound begins or ends with a click."""
    n_fade = round(fade_s * SAMPLE_RATE)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_fade) + 0.5) / n_fade)
    faded = sound.copy()
    faded[:n_fade] *= ramp
    faded[-n_fade:] *= ramp[::-1]
    return faded


def coloured_noise(
    rng: np.random.Generator, duration_s: float, low_hz: float, high_hz: float, tilt: float
) -> Samples:
    """``(S,)`` noise between two frequencies, amplitude as ``frequency ** -tilt``, standard deviation one."""
    n_samples = round(duration_s * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    frequency[0] = frequency[1]
    spectrum *= frequency**-tilt * ((frequency >= low_hz) & (frequency <= high_hz))
    noise = np.fft.irfft(spectrum, n_samples)
    return noise / noise.std()


def siren(duration_s: float) -> Samples:
    """``(S,)`` a wail between 600 and 1,350 Hz that comes nearer until the middle and leaves again."""
    t = times(duration_s)
    frequency = 975 + 375 * np.sin(2 * np.pi * t / 1.6 - np.pi / 2)
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    horn = np.sum([np.sin(k * phase) / k**1.2 for k in range(1, 8)], axis=0)
    nearness = 0.4 + 0.6 * np.sin(np.pi * t / duration_s) ** 2
    return fade(nearness * np.tanh(1.5 * horn), 0.15)


def clock_tick(rng: np.random.Generator) -> Samples:
    """``(S,)`` one beat of an escapement: a click of noise that dies within a few milliseconds."""
    t = times(0.05)
    return rng.standard_normal(len(t)) * np.exp(-t / 0.002)


def make_scene() -> NDArray[np.int16]:
    """``(S,)`` the scene at 32 kHz: two ticks a second, a siren nearest after 3 s, hissing rain behind."""
    rng = np.random.default_rng(SEED)
    scene = 0.005 * coloured_noise(rng, DURATION_S, 100, 14_000, 0.25)
    for beat in range(12):
        place(scene, 0.3 * clock_tick(rng), 0.1 + 0.5 * beat)
    place(scene, 0.25 * siren(DURATION_S), 0.0)
    return np.round(np.clip(scene, -1, 1) * 32_767).astype(np.int16)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("scene.flac")
    soundfile.write(target, make_scene(), SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()

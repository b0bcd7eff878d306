"""Crowds of many voices, and speech and drums in rooms."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pannsx.audio.resample import resample
from train.pool.cutting import CLIP_SAMPLES, SAMPLE_RATE
from train.pool.synthesis.music import drums
from train.pool.synthesis.speech import FLITE_VOICES, HELD_OUT_VOICE, flite, sentence

_N_ECHOES = 5
_VOICES = tuple(voice for voice in FLITE_VOICES if voice != HELD_OUT_VOICE)


def impulse_response(reverberation_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """``(S,)`` of a room: direct sound and noise that falls by 60 dB in the reverberation time."""
    times = np.arange(int(reverberation_s * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(times)) * 10 ** (-3 * times / reverberation_s) * (times > 0.004)
    response[0] = 8 / np.sqrt(reverberation_s)
    normalised: NDArray[np.float64] = response / np.sqrt(np.sum(response**2))
    return normalised


def convolve(waveform: NDArray[np.float32], response: NDArray[np.float64]) -> NDArray[np.float32]:
    """``(S,)`` and ``(R,)`` -> ``(S + R,)``."""
    size = len(waveform) + len(response)
    wet = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(response, size), size)
    return wet.astype(np.float32)


def at_level(waveform: NDArray[np.floating], rms: float = 0.1) -> NDArray[np.float32]:
    """``(S,)`` with another root mean square."""
    scaled = waveform * (rms / max(float(np.sqrt(np.mean(np.square(waveform)))), 1e-6))
    return scaled.astype(np.float32)


def crowds(count: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Many voices at once in a room: chatter."""
    voices = []
    for number, voice in enumerate(_VOICES * 10):
        text = " ".join(sentence(np.random.default_rng([number, 5])) for _ in range(3))
        voices.append(at_level(flite(voice, text)))
    for number in range(count):
        rng = np.random.default_rng([number, 9])
        mix = np.zeros(CLIP_SAMPLES, np.float32)
        for _ in range(int(rng.integers(8, 40))):
            # Slightly resampled, the same voice sounds like another person.
            voice_again = resample(voices[rng.integers(len(voices))], 1000, round(rng.uniform(850, 1150)))
            shifted = np.roll(np.resize(voice_again, len(mix)), int(rng.integers(len(mix))))
            mix += shifted * np.float32(rng.uniform(0.2, 1))
        wet = convolve(mix, impulse_response(rng.uniform(0.3, 1.5), rng))
        yield f"crowd {number}", at_level(wet[: len(mix)], 0.08)


def rooms(count: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Speech and drums with reverberation, or with a plain echo."""
    dry = [
        flite(voice, sentence(np.random.default_rng([number, 6]))) for number, voice in enumerate(_VOICES * 4)
    ]
    dry += [waveform for _, waveform in islice(drums("fluid"), 7)]
    for number in range(count):
        rng = np.random.default_rng([number, 10])
        waveform = dry[number % len(dry)]
        if number % 4 == 0:
            delay = int(rng.uniform(0.2, 0.5) * SAMPLE_RATE)
            wet = np.zeros(len(waveform) + _N_ECHOES * delay, np.float32)
            for echo in range(_N_ECHOES):
                wet[echo * delay : echo * delay + len(waveform)] += waveform * 0.6**echo
        else:
            wet = convolve(waveform, impulse_response(rng.uniform(0.5, 4), rng))
        yield f"room {number}", at_level(wet[:CLIP_SAMPLES])

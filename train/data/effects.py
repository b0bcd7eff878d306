"""Effects between a sound's source and a file: rooms, narrow bands, codecs.

``(S,)`` float32 at 32 kHz -> the same shape, with random choices from a given generator. No effect moves a
sound by more than a few milliseconds, so known onsets remain valid.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import scipy  # not scipy.signal yet, 40 MB that most runs do without
import soundfile
from numpy.typing import NDArray

from pannsx.types import FloatArray

Rng = np.random.Generator

RATE = 32_000
"""Sample rate of inputs and results, in Hz."""


def room(waveform: FloatArray, rng: Rng) -> FloatArray:
    """``(S,)`` -> ``(S,)`` in a room: direct sound, early reflections, exponentially decaying noise.

    Reverberation times of 0.15 to 2 s; higher frequencies decay sooner (Moorer 1979, "About this
    reverberation business"). The overall level is unchanged.
    """
    rt60_s = float(np.exp(rng.uniform(np.log(0.15), np.log(2.0))))
    n = int(min(1.5, rt60_s) * RATE)
    at_s = np.arange(n) / RATE
    tail = rng.standard_normal(n) * 10.0 ** (-3.0 * at_s / rt60_s)
    # Two bands: air and walls absorb more above some kHz.
    dull = scipy.signal.sosfilt(scipy.signal.butter(1, rng.uniform(1500, 6000), fs=RATE, output="sos"), tail)
    tail = dull + (tail - dull) * 10.0 ** (-3.0 * at_s / rt60_s)
    tail[: int(rng.uniform(0.002, 0.02) * RATE)] = 0.0
    for _ in range(int(rng.integers(2, 8))):
        tail[int(rng.uniform(0.001, 0.06) * RATE)] += rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 3.0)
    direct_over_tail = 10.0 ** (rng.uniform(-6.0, 15.0) / 20.0)
    response = tail / (np.sqrt(np.square(tail).sum()) + 1e-12)
    response[0] += direct_over_tail
    wet = scipy.signal.oaconvolve(waveform.astype(np.float64), response)[: len(waveform)]
    return _at_level_of(waveform, wet)


def band(waveform: FloatArray, rng: Rng) -> FloatArray:
    """``(S,)`` -> ``(S,)``, a part of the spectrum: through a telephone, a radio, a wall, small speakers."""
    kind = rng.integers(4)
    if kind == 0:  # telephone
        sections = scipy.signal.butter(4, (300.0, 3400.0), "bandpass", fs=RATE, output="sos")
    elif kind == 1:  # radio, small speaker
        sections = scipy.signal.butter(
            2, (rng.uniform(80.0, 400.0), rng.uniform(4000.0, 9000.0)), "bandpass", fs=RATE, output="sos"
        )
    elif kind == 2:  # a wall, a far source, a low sample rate
        sections = scipy.signal.butter(
            int(rng.integers(1, 9)), rng.uniform(1500.0, 10000.0), fs=RATE, output="sos"
        )
    else:  # handling noise filtered out
        sections = scipy.signal.butter(2, rng.uniform(60.0, 250.0), "highpass", fs=RATE, output="sos")
    return _at_level_of(waveform, scipy.signal.sosfilt(sections, waveform))


def tilt(waveform: FloatArray, rng: Rng) -> FloatArray:
    """``(S,)`` -> ``(S,)`` of another microphone: a shelf of up to 8 dB above or below some frequency."""
    low = scipy.signal.sosfilt(
        scipy.signal.butter(1, np.exp(rng.uniform(np.log(200.0), np.log(6000.0))), fs=RATE, output="sos"),
        waveform,
    )
    gain = 10.0 ** (rng.uniform(-8.0, 8.0) / 20.0)
    return _at_level_of(waveform, low * gain + (waveform - low))


def codec(waveform: FloatArray, rng: Rng) -> FloatArray:
    """``(S,)`` -> ``(S,)``, encoded and decoded: MP3, Ogg Vorbis, mu-law or GSM, the last two at 8 kHz."""
    kind = rng.integers(4)
    limited = np.clip(waveform, -1.0, 1.0)
    if kind < 2:
        form: dict[str, Any] = (
            {"format": "MP3", "subtype": "MPEG_LAYER_III"} if kind else {"format": "OGG", "subtype": "VORBIS"}
        )
        return _at_level_of(waveform, _coded(limited, RATE, form, float(rng.uniform(0.5, 0.95))))
    form = {"format": "WAV", "subtype": "ULAW" if kind == 2 else "GSM610"}
    narrow = scipy.signal.resample_poly(limited, 1, 4).astype(np.float32)
    coded = _coded(narrow, RATE // 4, form, None)[: len(narrow)]
    wide = scipy.signal.resample_poly(coded, 4, 1)
    return _at_level_of(waveform, wide)


def _coded(waveform: FloatArray, rate: int, form: dict[str, Any], compression: float | None) -> NDArray[Any]:
    stream = io.BytesIO()
    if compression is not None:
        form = {**form, "compression_level": compression}
    with soundfile.SoundFile(stream, "w", rate, 1, **form) as file:
        for begin in range(0, len(waveform), 16_384):  # long blocks crash some versions of libsndfile
            file.write(waveform[begin : begin + 16_384])
    stream.seek(0)
    decoded, _ = soundfile.read(stream, dtype="float32", always_2d=True)
    mono: NDArray[Any] = decoded[:, 0]
    return mono


def _at_level_of(before: FloatArray, after: NDArray[Any]) -> FloatArray:
    """``after`` ``(S',)``, cut or padded to ``before``'s ``(S,)`` and scaled to its root mean square."""
    fitted = np.zeros(len(before), np.float64)
    n = min(len(before), len(after))
    fitted[:n] = after[:n]
    wanted = np.sqrt(np.square(before, dtype=np.float64).mean())
    got = np.sqrt(np.square(fitted).mean())
    scaled: FloatArray = (fitted * (wanted / got) if got > 0 else fitted).astype(np.float32)
    return scaled

"""Encoding of a clip's samples as bytes, and decoding.

``raw`` is little-endian int16: 640 kB for ten seconds at 32 kHz, without decoding.  ``flac`` is a FLAC
stream per clip: bit for bit the same samples in about half the bytes, for some milliseconds of decoding.
Raw suits fast disks that are large enough (1.3 TB for all of AudioSet), FLAC all others.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pannsx.types import FloatArray

VARIANTS = ("raw", "flac")
FULL_SCALE = 32768
"""Divisor of stored samples: those of 16-bit files are stored unchanged."""


def as_float(pcm: NDArray[np.int16]) -> FloatArray:
    """int16 samples -> float32 in [-1, 1), any shape."""
    waveform: FloatArray = pcm.astype(np.float32) * np.float32(1 / FULL_SCALE)
    return waveform


def as_pcm(waveform: NDArray[Any]) -> NDArray[np.int16]:
    """Floating-point samples, any shape -> int16, rounded; beyond full scale they are clipped."""
    scaled = np.rint(waveform * np.asarray(FULL_SCALE, waveform.dtype))
    pcm: NDArray[np.int16] = scaled.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return pcm


def encode(pcm: NDArray[np.int16], variant: str, sample_rate: int) -> bytes:
    """``(n,)`` samples -> bytes.

    Raises:
        ValueError: unknown variant, or a rate that FLAC cannot store.
    """
    if variant == "raw":
        return pcm.astype("<i2", copy=False).tobytes()
    if variant != "flac":
        raise ValueError(f"unknown variant {variant!r}; use one of {', '.join(VARIANTS)}")
    import soundfile

    stream = io.BytesIO()
    try:
        soundfile.write(stream, pcm, sample_rate, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"cannot write FLAC at {sample_rate} Hz: {error}") from error
    return stream.getvalue()


def decode(encoded: bytes, variant: str) -> NDArray[np.int16]:
    """Bytes of :func:`encode` -> ``(n,)`` samples.

    Raises:
        ValueError: the bytes are not in this encoding.
    """
    if variant == "raw":
        return np.frombuffer(encoded, "<i2").astype(np.int16, copy=False)
    import soundfile

    try:
        pcm, _ = soundfile.read(io.BytesIO(encoded), dtype="int16")
    except soundfile.LibsndfileError as error:
        raise ValueError(str(error)) from error
    return np.asarray(pcm, np.int16)

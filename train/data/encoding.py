"""Encoding of a clip's samples as bytes, and decoding.

``raw`` is little-endian int16: 640 kB for ten seconds at 32 kHz, without decoding. ``rice``
(:mod:`train.data.rice`) and ``flac``, a FLAC stream per clip, are lossless: bit for bit the same samples in
about half the bytes. Rice codes are about a tenth larger than FLAC, and decoded in under a millisecond by
threads that run at once; FLAC takes several times as long. Raw suits fast disks that are large enough (1.3 TB
for all of AudioSet), Rice codes a GPU that must be fed from less, FLAC the smallest disk.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pannsx.types import FloatArray
from train.data import rice

VARIANTS = ("raw", "rice", "flac")
PADDING = {"raw": 0, "rice": rice.PADDING, "flac": 0}
"""Bytes of any content that `decode_into` needs after a clip."""
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
    if variant == "rice":
        return rice.encode_rice(pcm)
    if variant != "flac":
        raise ValueError(f"unknown variant {variant!r}; use one of {', '.join(VARIANTS)}")
    import soundfile

    stream = io.BytesIO()
    try:
        soundfile.write(stream, pcm, sample_rate, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"cannot write FLAC at {sample_rate} Hz: {error}") from error
    return stream.getvalue()


def decode_into(encoded: NDArray[np.uint8], n_bytes: int, variant: str, out: NDArray[np.int16]) -> None:
    """Decode a clip into ``out``, whose length is the clip's.

    Args:
        encoded: the ``n_bytes`` bytes of :func:`encode`, and `PADDING` more of any content.
        n_bytes: their number.
        variant: their encoding.
        out: ``(n,)``, contiguous.

    Raises:
        ValueError: the bytes are not in this encoding, or of another length.
    """
    if variant == "rice":
        n_samples = rice.n_samples_of(encoded, n_bytes)
        if n_samples == len(out):
            rice.decode_rice(encoded, n_bytes, out)
    else:
        pcm = _decoded(encoded[:n_bytes], variant)
        n_samples = len(pcm)
        if n_samples == len(out):
            out[:] = pcm
    if n_samples != len(out):
        raise ValueError(f"it has {n_samples} samples; {len(out)} are expected")


def _decoded(encoded: NDArray[np.uint8], variant: str) -> NDArray[np.int16]:
    if variant == "raw":
        if len(encoded) % 2:
            raise ValueError(f"{len(encoded)} bytes are no whole number of samples")
        return encoded.view("<i2").astype(np.int16, copy=False)
    import soundfile

    try:
        pcm, _ = soundfile.read(io.BytesIO(encoded.tobytes()), dtype="int16")
    except soundfile.LibsndfileError as error:
        raise ValueError(str(error)) from error
    return np.asarray(pcm, np.int16)

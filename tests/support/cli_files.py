"""Audio files for the tests of the command line, made on the spot."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from small_models import noise

RATE = 32000


def wav_bytes(seconds: float = 1.0, seed: int = 0) -> bytes:
    """The bytes of a mono 16-bit WAV file of noise."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(noise(round(seconds * RATE), seed), -1, 1), RATE, format="WAV")
    return file.getvalue()


def write_wav(path: Path, seconds: float = 1.0, seed: int = 0) -> str:
    """Write a WAV file, and its folder where it is not there; the path as a command line takes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(seconds, seed))
    return str(path)

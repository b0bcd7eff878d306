"""Audio files for the tests of the command line, made on the spot."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_models import noise

from pannsx.events import Event

RATE = 32000
SCENE = Path(__file__).resolve().parents[2] / "examples" / "scene.flac"
SAME_TIME = 2e-6  # seconds: times are written to the microsecond
DIGITS = 2e-5  # of a probability: six digits, and float32 convolutions in other batches


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


def long_scene(folder: Path) -> str:
    """Forty seconds with the example scene in faint noise, twice; the path of the file."""
    scene, rate = soundfile.read(SCENE)
    recording = np.random.default_rng(0).normal(0, 0.002, 40 * rate)
    for begin_s in (3, 24):
        recording[begin_s * rate : begin_s * rate + len(scene)] += scene
    path = folder / "long.flac"
    soundfile.write(path, recording, rate)
    return str(path)


def assert_same_events(found: list[Event], expected: list[Event]) -> None:
    assert [event.label for event in found] == [event.label for event in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1:3] == pytest.approx(other[1:3], abs=SAME_TIME)
        assert one.probability == pytest.approx(other.probability, abs=DIGITS)

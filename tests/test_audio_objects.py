"""Audio in the objects of other libraries: pairs, dicts, decoders and segments."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from audio_files import encoded

from pannsx import audio
from pannsx.errors import AudioError
from pannsx.inference.sources import as_sources

RATE = 8_000
MONO = (np.sin(np.arange(4_000) * 0.1) * 16_000).astype(np.int16)
STEREO = np.stack([MONO, MONO // 2], axis=1)
AS_FLOAT = MONO / np.float32(32_768)
MEAN = (STEREO / 32_768).mean(axis=1).astype(np.float32)


def segment(samples: np.ndarray, width: int = 2) -> Any:
    """What is used of a pydub ``AudioSegment``."""
    return SimpleNamespace(
        raw_data=samples.tobytes(),
        sample_width=width,
        frame_rate=RATE,
        channels=samples.shape[1] if samples.ndim == 2 else 1,
    )


def decoder(samples: np.ndarray) -> Any:
    """What is used of a torchcodec ``AudioDecoder``, which datasets give."""
    found = SimpleNamespace(data=torch.from_numpy(samples.T.copy()), sample_rate=RATE)
    return SimpleNamespace(get_all_samples=lambda: found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((RATE, MONO), AS_FLOAT),
        ((RATE, STEREO), MEAN),
        ((MONO, RATE), AS_FLOAT),
        ((torch.from_numpy(AS_FLOAT), RATE), AS_FLOAT),
        (audio.Audio(AS_FLOAT, RATE), AS_FLOAT),
        ({"array": AS_FLOAT, "sampling_rate": RATE, "path": None}, AS_FLOAT),
        ({"array": AS_FLOAT.tolist(), "sampling_rate": RATE}, AS_FLOAT),
        ({"array": STEREO.T, "sampling_rate": RATE}, MEAN),
        (decoder((STEREO / 32_768).astype(np.float32)), MEAN),
        (segment(MONO), AS_FLOAT),
        (segment(STEREO), MEAN),
    ],
)
def test_sounds_that_state_their_rate(source: Any, expected: np.ndarray) -> None:
    waveform, rate = audio.load(source)
    assert rate == RATE
    np.testing.assert_allclose(waveform, expected, rtol=0, atol=1e-7)  # a float32 step of a mean
    assert as_sources(source) == ([source], False)
    assert as_sources([source, source]) == ([source, source], True)
    with pytest.raises(AudioError, match=r"has a sample rate of 8000 Hz, and source_rate is 16000 Hz; leave"):
        audio.load(source, source_rate=16_000)


def test_a_dict_that_stands_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sound.flac"
    path.write_bytes(encoded("flac", 1_000))
    whole, _ = audio.load(path)
    for source in ({"bytes": path.read_bytes(), "path": "x.flac"}, {"bytes": None, "path": str(path)}):
        np.testing.assert_array_equal(audio.load(source).waveform, whole)


def test_what_cannot_be_used_says_what_is_needed() -> None:
    with pytest.raises(AudioError, match=r"the dict has 'audio', 'label'; .* such as row\['audio'\]"):
        audio.load({"audio": {"array": MONO, "sampling_rate": RATE}, "label": 3})
    with pytest.raises(AudioError, match="samples of 3 bytes"):
        audio.load(segment(MONO, 3))

    def fails() -> None:
        raise RuntimeError("no FFmpeg")

    with pytest.raises(AudioError, match="RuntimeError: no FFmpeg"):
        audio.load(SimpleNamespace(get_all_samples=fails))

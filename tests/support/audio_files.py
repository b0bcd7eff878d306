"""Audio files of many formats, all made here."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import soundfile

RATE = 48_000  # a rate that Opus has
N_SAMPLES = 48_000

LOSSLESS = {
    "wav": ("WAV", "PCM_16"),
    "float": ("WAV", "FLOAT"),
    "wavex": ("WAVEX", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "wave64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
}
LOSSY = {"vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III")}
CONTAINERS = {
    "m4a": ("mp4", "aac"),
    "webm": ("webm", "libopus"),
    "aac": ("adts", "aac"),
    "mka": ("matroska", "flac"),
}


@cache
def sound(n_samples: int = N_SAMPLES) -> np.ndarray:
    """``(S,)`` a tone whose loudness and pitch change, so that no two places are alike."""
    t = np.arange(n_samples) / RATE
    return (0.5 * np.sin(2 * np.pi * (300 + 400 * t) * t) * (0.3 + 0.7 * np.sin(3 * t) ** 2)).astype(
        np.float32
    )


@cache
def encoded(kind: str, n_samples: int = N_SAMPLES) -> bytes:
    """A file by libsndfile, of a kind of ``LOSSLESS`` or ``LOSSY``."""
    file = io.BytesIO()
    container, subtype = (LOSSLESS | LOSSY)[kind]
    with soundfile.SoundFile(file, "w", RATE, 1, subtype, format=container) as out:
        for start in range(
            0, n_samples, 4_096
        ):  # libsndfile overflows its stack on a long Ogg written at once
            out.write(sound(n_samples)[start : start + 4_096])
    return file.getvalue()


@cache
def muxed(kind: str, n_samples: int = N_SAMPLES) -> bytes:
    """A file by FFmpeg's libraries, of a kind of ``CONTAINERS``."""
    return encoded_by_ffmpeg(*CONTAINERS[kind], n_samples)


def encoded_by_ffmpeg(container: str, codec: str, n_samples: int, **options: str) -> bytes:
    """A file in a container, with options of its writer."""
    av = pytest.importorskip("av", reason="PyAV, the extra pannsx[av], is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=RATE, layout="mono")
        resampler = av.AudioResampler(stream.format, "mono", RATE, frame_size=stream.frame_size or 1_024)
        frame = av.AudioFrame.from_ndarray(sound(n_samples)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return file.getvalue()

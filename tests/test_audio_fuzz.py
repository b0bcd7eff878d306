"""Mutated files: whatever they make a system or a codec raise, the answer is audio or an AudioError."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import encoded_by_ffmpeg, sound

from pannsx import audio
from pannsx.errors import AudioError

WRITTEN = {
    "wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "ALAC_16"),
    "w64": ("W64", "PCM_16"), "rf64": ("RF64", "PCM_16"), "au": ("AU", "ULAW"), "adpcm": ("WAV", "MS_ADPCM"),
}  # fmt: skip
MUXED = {
    "m4a": ("mp4", "aac"), "webm": ("webm", "libopus"), "mka": ("matroska", "flac"), "adts": ("adts", "aac"),
    "flv": ("flv", "aac"), "wavpack": ("wv", "wavpack"), "avi": ("avi", "pcm_s16le"),
}  # fmt: skip
N_SAMPLES = 960
MOST_S = 4000.0  # a mutated header may state a low rate, and a time stamp an hour of silence


@cache
def original(kind: str) -> bytes:
    if kind in MUXED:
        return encoded_by_ffmpeg(*MUXED[kind], N_SAMPLES)
    container, subtype = WRITTEN[kind]
    file = io.BytesIO()
    soundfile.write(file, sound(N_SAMPLES), 48_000, format=container, subtype=subtype)
    return file.getvalue()


def mutated(kind: str, rng: np.random.Generator) -> bytes:
    """A file with some bytes changed, most of them in its header, some sizes overwritten, or cut."""
    data = bytearray(original(kind))
    n_head = min(len(data), 160)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(n_head if rng.random() < 0.8 else len(data)))
        if rng.random() < 0.5:
            data[at] = int(rng.integers(256))
        else:
            width = int(rng.choice([2, 4, 8]))
            value = int(rng.choice([0, 1, 0x7F, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFF0]))
            size = (value << 32 | value) & ((1 << 8 * width) - 1)
            data[at : at + width] = size.to_bytes(width, "big" if rng.random() < 0.5 else "little")
    if rng.random() < 0.2:
        del data[int(rng.integers(len(data))) :]
    return bytes(data)


def read_mutations(n_each: int, path: Path, seed: int) -> Counter[str]:
    """Read mutations of each kind; returns how many gave sound, and how many an error."""
    found: Counter[str] = Counter()
    for kind in [*WRITTEN, *MUXED]:
        rng = np.random.default_rng(seed)
        for i in range(n_each):
            data = mutated(kind, rng)
            source: Path | bytes = data
            if i % 4 == 0:
                path.write_bytes(data)
                source = path
            n_samples = 0
            try:
                with audio.open_blocks(source, salvage=i % 3 == 0) as blocks:
                    for block in blocks:
                        assert np.isfinite(block).all()
                        n_samples += len(block)
                        if n_samples > MOST_S * blocks.sample_rate:
                            break
            except AudioError as error:
                is_named = "source of" in str(error) or "mutated" in str(error)
                found["errors" if is_named else "nameless"] += 1
            except Exception as error:
                raise AssertionError(f"mutation {i} of {kind}, seed {seed}: {error!r}") from error
            else:
                found["sound"] += 1
    return found


@pytest.fixture(autouse=True)
def _no_warnings() -> None:
    warnings.simplefilter("ignore")


def test_a_mutated_file_is_an_audio_error_or_still_audio(tmp_path: Path) -> None:
    found = read_mutations(112, tmp_path / "mutated", seed=0)
    assert found.total() == 112 * len(WRITTEN | MUXED) >= 2_000
    assert set(found) == {"errors", "sound"}  # every error names its file
    assert min(found.values()) > 300


@pytest.mark.slow
def test_many_mutated_files(tmp_path: Path) -> None:
    assert read_mutations(1_400, tmp_path / "mutated", seed=1).total() >= 25_000


def test_eight_channels_are_read_within_their_planes() -> None:
    """7.1 AAC, of which PyAV's own conversion reads beyond the list of planes."""
    av = pytest.importorskip("av", reason="PyAV, the extra pannsx[av], is not installed")
    n_samples, levels = 48_000, np.linspace(0.1, 0.8, 8)
    tone = np.sin(2 * np.pi * 440 * np.arange(n_samples) / 48_000)
    interleaved = np.round(20_000 * tone[:, None] * levels).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=48_000, layout="7.1", bit_rate=768_000)
        resampler = av.AudioResampler(stream.format, "7.1", 48_000, frame_size=stream.frame_size or 1_024)
        frame = av.AudioFrame.from_ndarray(interleaved.reshape(1, -1), format="s16", layout="7.1")
        frame.sample_rate, frame.pts = 48_000, 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    for channel in (0, 7):
        read = audio.load(file.getvalue(), 48_000, channel=channel).waveform[4_000:40_000]
        loudest = 20_000 / 32_768 * levels[channel]
        assert float(np.abs(read).max()) == pytest.approx(loudest, rel=0.05)

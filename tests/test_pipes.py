"""Samples from a pipe: WAV of every encoding and of unknown length, and raw samples."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import soundfile
from small_models import noise
from streams import RATE, Pipe, piped_wav

from pannsx import AudioError
from pannsx.audio.pcm import ENCODINGS, read_blocks, read_wav_header


def wav_of_size(size: int, n_samples: int = 500, rate: int = RATE) -> bytes:
    """A WAV of 16 bits that states a length of its samples."""
    file = io.BytesIO()
    soundfile.write(file, noise(n_samples), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()[:40] + size.to_bytes(4, "little") + file.getvalue()[44:]


def read_all(wav: bytes) -> int:
    pipe = Pipe(wav, 77)
    return sum(map(len, read_blocks(pipe, read_wav_header(pipe))))


UNKNOWN = [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x7FFF_FFDB, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFDB]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 3])
def test_wav_of_every_encoding(subtype: str, channels: int) -> None:
    wav, samples = piped_wav(0.1, subtype, channels)
    pipe = Pipe(wav, 1001)
    pcm = read_wav_header(pipe)
    assert (pcm.sample_rate, pcm.n_channels, pcm.n_bytes) == (RATE, channels, None)
    read = np.concatenate(list(read_blocks(pipe, pcm)))
    np.testing.assert_allclose(read, samples.mean(axis=1, dtype=np.float64), rtol=0, atol=1e-7)


def test_wav_that_knows_its_length_ends_there() -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(500), RATE, format="WAV", subtype="PCM_16")
    pipe = Pipe(file.getvalue() + b"LIST\x04\x00\x00\x00abcd", 77)
    pcm = read_wav_header(pipe)
    assert pcm.n_bytes == 1000
    assert sum(map(len, read_blocks(pipe, pcm))) == 500


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_wav_of_the_telephone(subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, noise(500), 8000, format="WAV", subtype=subtype)
    codes = bytes(range(256))
    wav = file.getvalue()[: file.getvalue().index(b"data")] + b"data" + (256).to_bytes(4, "little") + codes
    pipe = Pipe(wav, 77)
    read = np.concatenate(list(read_blocks(pipe, read_wav_header(pipe))))
    np.testing.assert_array_equal(read, soundfile.read(io.BytesIO(wav), dtype="float32")[0])


@pytest.mark.parametrize("size", UNKNOWN)
def test_a_wav_of_unknown_length_goes_on_to_its_end(size: int) -> None:
    assert read_wav_header(Pipe(wav_of_size(size), 77)).n_bytes is None


def test_a_pipe_that_holds_other_than_it_states() -> None:
    assert read_all(wav_of_size(1000) + wav_of_size(600, 300)) == 800
    with pytest.warns(UserWarning, match="announces 600 bytes of samples and more follow"):
        assert read_all(wav_of_size(600)) == 500
    with pytest.raises(AudioError, match=r"another WAV file, \(8000, 1, 's16le'\) after"):
        read_all(wav_of_size(1000) + wav_of_size(1000, rate=8000))
    pipe = Pipe(wav_of_size(2000), 77)
    blocks = read_blocks(pipe, read_wav_header(pipe))
    assert sum(map(len, itertools.islice(blocks, 13))) == 500  # 77 bytes at a time
    with pytest.raises(AudioError, match="announces 2000 bytes of samples, and the pipe ended after 1000"):
        next(blocks)


def test_raw_encodings() -> None:
    for encoding, kind in ENCODINGS.items():
        if encoding in ("s24le", "mulaw", "alaw"):
            continue
        values = np.array([0, 64, 100], np.uint8) if encoding == "u8" else np.array([0, 1, -1], kind)
        pcm = read_wav_header(Pipe(piped_wav(0.01)[0], 10))._replace(encoding=encoding)
        (read,) = read_blocks(Pipe(values.astype(kind).tobytes(), 999), pcm)
        scale = 1 if kind[1] == "f" else 2.0 ** (8 * values.itemsize - 1)
        expected = (values.astype(np.float64) - (128 if encoding == "u8" else 0)) / scale
        np.testing.assert_allclose(read, expected, atol=1e-9)

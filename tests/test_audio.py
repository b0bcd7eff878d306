"""Audio in: arrays and tensors, kinds of source, parts and blocks, and what is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pannsx import audio
from pannsx.audio.resample import resample
from pannsx.errors import AudioError

RATE = 32_000
# Means of float32 samples, taken in float64 and rounded once.
ROUNDING = 1e-7
# The same samples along two ways through the same arithmetic.
SAME = 1e-6


def sound(n_samples: int = 8_000, seed: int = 0) -> np.ndarray:
    """``(S,)`` a tone in noise, well inside of [-1, 1]."""
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    return (0.4 * np.sin(0.07 * np.arange(n_samples)) + 0.05 * noise).astype(np.float32)


def wav(waveform: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format="WAV", subtype=subtype)
    return file.getvalue()


# --- arrays and tensors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i2", "<i4", ">f4", "f2", "f4", "f8", "g"]
)
def test_every_number_type_is_scaled_by_its_full_scale(dtype: str) -> None:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        samples, expected = np.array([-1, 0, 0.5, 1], kind), [-1.0, 0.0, 0.5, 1.0]
    else:
        half = 2 ** (8 * kind.itemsize - 1)
        zero = half if kind.kind == "u" else 0
        samples = np.array([zero - half, zero, zero + half // 2, zero + half - 1], kind)
        expected = [-1.0, 0.0, 0.5, (half - 1) / half]
    waveform, rate = audio.load(samples, RATE)
    assert (waveform.dtype, rate) == (np.float32, RATE)
    np.testing.assert_allclose(waveform, expected, rtol=0, atol=ROUNDING)
    assert np.abs(waveform).max() <= 1


def test_float_samples_are_taken_as_they_are_and_the_result_is_fresh() -> None:
    samples = np.array([0.25, 1.5, -3.0], np.float32)
    waveform, _ = audio.load(samples, RATE)
    np.testing.assert_array_equal(waveform, samples)
    waveform[0] = 9
    assert samples[0] == 0.25


@settings(max_examples=30, deadline=None, derandomize=True)
@given(n_channels=st.integers(1, 8), n_samples=st.integers(8, 200), seed=st.integers(0, 99))
def test_downmix_is_the_mean_and_linear(n_channels: int, n_samples: int, seed: int) -> None:
    x, y = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, n_samples, n_channels)).astype(np.float32)
    mixed = [audio.load(source, RATE).waveform for source in (x, y, x + y)]
    np.testing.assert_allclose(mixed[0], x.astype(np.float64).mean(axis=1), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(mixed[2], mixed[0] + mixed[1], rtol=0, atol=4 * ROUNDING)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x.requires_grad_(),
        lambda x: x.double(),
        lambda x: (x * 2**15).to(torch.int16),
        lambda x: x.unsqueeze(1).repeat(1, 2),
        lambda x: torch.nn.Parameter(x),
        lambda x: torch.stack([x, x])[:, :].T,
    ],
)
def test_tensors(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    samples = torch.tensor([0.5, -0.25, 0.125, 0.0])
    waveform, _ = audio.load(change(samples.clone()), RATE)
    np.testing.assert_array_equal(waveform, samples.numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_tensors(dtype: torch.dtype) -> None:
    waveform, _ = audio.load(torch.tensor([0.5, -0.25], dtype=dtype), RATE)
    np.testing.assert_array_equal(waveform, [0.5, -0.25])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.empty(0), "empty"),
        (np.empty((0, 2)), "empty"),
        (np.empty((5, 0)), "empty"),
        (np.array(1.0), r"shape \(\)"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros((2, 1000)), r"pass its transpose, \.T"),
        (torch.zeros(1, 1000), r"the tensor .* pass its transpose, \.T"),
        (np.zeros((1000, 65)), "65 channels"),
        (np.zeros(9, bool), "bool"),
        (np.zeros(9, complex), r"take \.real"),
        (np.array([[1, 2], [3]], object), "object"),
        (np.array(["a", "b"]), "type <U1"),
        (np.zeros(9, "M8[s]"), "datetime64"),
        (np.ma.masked_less(np.arange(9.0), 3), "masked"),
        (torch.zeros(9, dtype=torch.bool), "bool"),
        (torch.zeros(9, device="meta"), "cannot be read"),
        (torch.zeros(9).to_sparse(), "cannot be read"),
        (np.float32(0.5), "cannot read audio from float32"),
        ([0.0, 0.1], "cannot read audio from list"),
        (None, "cannot read audio from NoneType"),
        (3, "cannot read audio from int"),
    ],
)
def test_what_is_no_waveform_is_refused(array: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        audio.load(array, RATE)


@pytest.mark.parametrize(
    ("bad", "kind"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite"), (1e300, "too large")]
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_samples_that_are_not_finite_are_refused_with_their_place(
    bad: float, kind: str, n_channels: int
) -> None:
    samples = np.zeros((RATE, n_channels))
    samples[16_000, 0] = bad
    with pytest.raises(AudioError, match=rf"{kind}.* at sample 16000 \(0.500 s\)"):
        audio.load(samples, 8_000, source_rate=RATE)


def test_opposite_infinities_do_not_cancel() -> None:
    with pytest.raises(AudioError, match=r"infinite .* at sample 2"):
        audio.load(np.array([[0, 0], [0, 0], [np.inf, -np.inf]]), RATE)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_narrow_samples_in_wide_integers_are_said(dtype: str, as_tensor: bool) -> None:
    narrow = np.round(sound() * 32_767) + (32_768 if dtype[0] == "u" else 0)
    samples: Any = narrow.astype(dtype)
    if as_tensor:
        if dtype[0] == "u":
            pytest.skip("torch has few unsigned types")
        samples = torch.from_numpy(samples)
    message = r"16-bit samples in (32|64) bits; .*(astype\(numpy|to\(torch)\.u?int16\), or .*32768"
    if dtype[1] == "8":
        with pytest.raises(AudioError, match=message):
            audio.load(samples, RATE)
    else:
        with pytest.warns(UserWarning, match=message):
            audio.load(samples, RATE)


def test_integers_that_use_their_range_or_are_silent_are_not_suspected() -> None:
    for scale in (2.0**31 - 1, 2.0**25):
        audio.load((sound().astype(np.float64) * scale).astype(np.int32), RATE)
    audio.load((sound().astype(np.float64) * 2.0**62).astype(np.int64), RATE)
    for dtype in ("i2", "i4", "i8"):
        assert not audio.load(np.zeros(99, dtype), RATE).waveform.any()
    with pytest.warns(UserWarning, match="24-bit samples in 32 bits; .* divide by 8388608"):
        audio.load((sound() * 2.0**23).astype(np.int32), RATE)


def test_floats_far_beyond_full_scale_are_said_once() -> None:
    loud = sound(200_000) * 10_000
    loud[70_000] = 32_000
    for source in (loud, wav(loud), torch.from_numpy(loud)):
        with pytest.warns(UserWarning, match=r"full scale of floating-point .* divide them by 32768") as seen:
            waveform, _ = audio.load(source, RATE)
        assert len(seen) == 1
        np.testing.assert_array_equal(waveform, loud)
    audio.load(sound() * 20, RATE)


# --- sample rates ---------------------------------------------------------------------------------------


def test_an_array_needs_a_rate_and_is_converted_from_it() -> None:
    samples = sound()
    with pytest.raises(AudioError, match="source_rate=44100"):
        audio.load(samples)
    np.testing.assert_array_equal(audio.load(samples, 8_000).waveform, samples)
    assert audio.load(samples, source_rate=8_000).sample_rate == 8_000
    converted = audio.load(samples, RATE, source_rate=44_100)
    np.testing.assert_array_equal(converted.waveform, resample(samples, 44_100, RATE))


def test_a_files_own_rate_is_kept_confirmed_or_defended() -> None:
    data = wav(sound(), 44_100)
    assert audio.load(data).sample_rate == 44_100
    assert audio.load(data, RATE, source_rate=44_100).sample_rate == RATE
    with pytest.raises(AudioError, match="has a sample rate of 44100 Hz, and source_rate is 32000 Hz"):
        audio.load(data, source_rate=32_000)


@pytest.mark.parametrize("rate", [0, -8_000, 44_100.0, "32000", True, float("nan"), 99, 10**9])
def test_rates_that_are_none(rate: Any) -> None:
    with pytest.raises(AudioError, match="sample_rate is"):
        audio.load(sound(), rate)
    with pytest.raises(AudioError, match="source_rate is"):
        audio.load(sound(), RATE, source_rate=rate)


def test_a_numpy_integer_is_a_rate() -> None:
    assert audio.load(sound(), np.int64(16_000)).sample_rate == 16_000


# --- kinds of source ------------------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """Bytes that can be read once, in small helpings, like standard input."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(memoryview(buffer)[:1_000])


def test_paths_bytes_and_file_objects_are_the_same_audio(tmp_path: Path) -> None:
    data = wav(sound())
    path = tmp_path / "Straße 日本 🎧.wav"
    path.write_bytes(data)
    at_its_end = io.BytesIO(data)
    at_its_end.seek(0, io.SEEK_END)
    with path.open("rb") as file:
        sources = [
            path, str(path), os.fsencode(path).decode(), data, bytearray(data), memoryview(data),
            memoryview(np.frombuffer(data, np.uint8))[::1], io.BytesIO(data), at_its_end, file, Pipe(data),
            io.BufferedReader(Pipe(data)),
        ]  # fmt: skip
        for source in sources:
            np.testing.assert_array_equal(audio.load(source).waveform, sound())
        assert not file.closed


def test_the_name_of_a_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp3"
    path.write_bytes(wav(sound()))
    assert audio.info(path).format == "WAV"
    for name in ("noise.raw", "noise.au", "noise.vox"):
        (tmp_path / name).write_bytes(b"these are words, not samples " * 50)
        with pytest.raises(AudioError, match="not audio: it is text"):
            audio.load(tmp_path / name)


@pytest.mark.parametrize("url", ["https://example.org/a.wav", "s3://bucket/a.wav", "file:///a.wav"])
def test_a_url_is_not_fetched(url: str) -> None:
    with pytest.raises(AudioError, match="is a URL; fetch it first"):
        audio.load(url)


def test_paths_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"there is no file 'absent\.wav' in "):
        audio.load("absent.wav")
    with pytest.raises(AudioError, match="is a folder"):
        audio.load(tmp_path)
    with pytest.raises(AudioError, match="cannot open"):
        audio.load("nul\0l.wav")


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="needs a file that this user may not read; administrators may read all",
)
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(wav(sound()))
    path.chmod(0)
    with pytest.raises(AudioError, match="Permission denied"):
        audio.load(path)


def test_file_objects_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="open it in binary mode"):
        audio.load(io.StringIO("RIFF"))
    closed = io.BytesIO(wav(sound()))
    closed.close()
    with pytest.raises(AudioError, match="closed"):
        audio.load(closed)
    with tempfile.SpooledTemporaryFile() as nameless:
        nameless.write(b"notes")
        nameless.seek(0)
        with pytest.raises(AudioError, match=r"^the file object is not audio: it is text"):
            audio.load(nameless)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz"])
@pytest.mark.parametrize("way", [":", "|"])
def test_a_member_of_a_tar_archive(kind: str, mode: Any, way: str, tmp_path: Path) -> None:
    data = written(kind)
    with tarfile.open(tmp_path / "shard.tar", mode) as archive:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    read_mode: Any = f"r{way}*"
    with tarfile.open(tmp_path / "shard.tar", read_mode) as archive:
        for member in archive:
            file = archive.extractfile(member)
            np.testing.assert_array_equal(audio.load(file).waveform, audio.load(data).waveform)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_files_within_files(kind: str, tmp_path: Path) -> None:
    data = written(kind)
    expected = audio.load(data).waveform
    for module in (gzip, bz2, lzma):
        with module.open(tmp_path / "packed", "wb") as file:
            file.write(data)
        with module.open(tmp_path / "packed", "rb") as file:
            np.testing.assert_array_equal(audio.load(file).waveform, expected)
            np.testing.assert_array_equal(audio.load(io.BufferedReader(file)).waveform, expected)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", data)
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive, archive.open("a") as member:
        np.testing.assert_array_equal(audio.load(member).waveform, expected)


class Failing(io.BytesIO):
    """A file in memory whose calls fail from a position on, as on a bad card or a lost share."""

    def __init__(self, data: bytes, method: str, error: Exception, after: int) -> None:
        super().__init__(data)
        self._method, self._failure, self._after = method, error, after

    def _fail(self, method: str) -> None:
        if method == self._method and super().tell() >= self._after:
            raise self._failure

    def read(self, size: int | None = -1, /) -> bytes:
        self._fail("read")
        return super().read(size)

    def readinto(self, buffer: Any, /) -> int:
        self._fail("read")
        return super().readinto(buffer)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._fail("seek")
        return super().seek(offset, whence)

    def tell(self) -> int:
        self._fail("tell")
        return super().tell()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("method", ["read", "seek", "tell"])
@pytest.mark.parametrize("after", [0, 1, 20_000])
@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), RuntimeError("lost"), AttributeError("half")]
)
def test_an_error_of_a_file_object_is_an_audio_error_with_its_cause(
    kind: str, method: str, after: int, error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    data = io.BytesIO()
    soundfile.write(data, sound(200_000), RATE, format=kind)
    source = Failing(data.getvalue(), method, error, after)
    if method == "read":
        with pytest.raises(AudioError, match=str(error.args[-1])) as raised:
            audio.load(source)
        assert raised.value.__cause__ is error
    else:  # a file may be read without the call that fails
        with suppress(AudioError):
            np.testing.assert_array_equal(audio.load(source).waveform, audio.load(data.getvalue()).waveform)
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens and cannot be read")
def test_a_file_whose_disk_fails() -> None:
    with pytest.raises(AudioError, match=r"cannot read '/proc/self/mem': .*; check the disk") as raised:
        audio.load("/proc/self/mem")
    assert isinstance(raised.value.__cause__, OSError)


@cache
def written(kind: str) -> bytes:
    """A short file of a kind."""
    file = io.BytesIO()
    soundfile.write(file, sound(300), RATE, format=kind)
    return file.getvalue()


def test_info() -> None:
    stereo = np.stack([sound(), sound()], axis=1)
    assert audio.info(wav(stereo, 16_000)) == (16_000, 2, 0.5, "WAV")
    assert audio.info(stereo, source_rate=8_000) == (8_000, 2, 1.0, "array of float32")
    with pytest.raises(AudioError, match="source_rate"):
        audio.info(stereo)


# --- parts and blocks -----------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    source_rate=st.sampled_from([8_000, 11_025, 32_000, 44_100, 47_999]),
    sample_rate=st.sampled_from([None, 8_000, 16_000, 32_000]),
    start=st.floats(0, 0.99),
    duration_s=st.floats(0.001, 1) | st.none(),
    block_s=st.floats(0.005, 1),
    as_file=st.booleans(),
)
def test_a_part_and_its_blocks_equal_that_part_of_the_whole(
    source_rate: int,
    sample_rate: int | None,
    start: float,
    duration_s: float | None,
    block_s: float,
    as_file: bool,
) -> None:
    samples = sound(9_001)
    source = wav(samples, source_rate) if as_file else samples
    rate_of_array = None if as_file else source_rate
    whole, rate = audio.load(source, sample_rate, source_rate=rate_of_array)
    np.testing.assert_allclose(whole, resample(samples, source_rate, rate), rtol=0, atol=SAME)
    start_s = start * 9_001 / source_rate
    first = round(start_s * rate)
    expected = whole[first:] if duration_s is None else whole[first : first + round(duration_s * rate)]
    arguments = {"source_rate": rate_of_array, "start_s": start_s, "duration_s": duration_s}
    part, _ = audio.load(source, sample_rate, **arguments)
    np.testing.assert_allclose(part, expected, rtol=0, atol=SAME)
    with audio.open_blocks(source, sample_rate, block_s=block_s, **arguments) as blocks:
        assert blocks.sample_rate == rate
        assert blocks.duration_s == pytest.approx(len(part) / rate)
        pieces = list(blocks)
    np.testing.assert_array_equal(np.concatenate(pieces), part)
    assert {len(piece) for piece in pieces[:-1]} <= {round(block_s * rate)}
    assert 1 <= len(pieces[-1]) <= round(block_s * rate)


@pytest.mark.parametrize("source", [sound(RATE), wav(sound(RATE))], ids=["array", "file"])
def test_times_outside_of_the_audio(source: Any) -> None:
    assert len(audio.load(source, RATE, start_s=0.75, duration_s=99).waveform) == RATE // 4
    for start_s in (1.0, 1.5, 1e9):
        with pytest.raises(AudioError, match=rf"start_s is {start_s} s, and .* lasts 1.000 s"):
            audio.load(source, RATE, start_s=start_s)
    for start_s in (-0.1, float("nan"), float("inf"), "now"):
        with pytest.raises(AudioError, match="start_s is"):
            audio.load(source, RATE, start_s=start_s)  # type: ignore[arg-type]
    for duration_s in (0, 1e-6, -1, float("inf"), "all"):
        with pytest.raises(AudioError, match="duration_s is"):
            audio.load(source, RATE, duration_s=duration_s)  # type: ignore[arg-type]
    for block_s in (0, -1, float("inf"), float("nan")):
        with pytest.raises(AudioError, match="block_s is"):
            audio.open_blocks(source, RATE, block_s=block_s)


def test_one_sample_is_a_sound() -> None:
    for rate in (None, 8_000, 44_100):
        waveform, _ = audio.load(wav(np.array([0.5], np.float32)), rate)
        assert waveform.shape == (1,) if rate != 44_100 else len(waveform) >= 1
        assert np.any(waveform != 0)


def test_three_hours_are_never_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    n_samples = 3 * 3600 * 8_000
    header = wav(np.zeros(1), 8_000, "PCM_U8")[:44]
    with path.open("wb") as file:  # a sparse file: no disk is written for what is not set
        file.write(header[:4] + (n_samples + 36).to_bytes(4, "little") + header[8:40])
        file.write(n_samples.to_bytes(4, "little"))
        file.truncate(44 + n_samples)
        file.seek(44 + 3300 * 8_000)
        file.write(b"\xff")
    tracemalloc.start()
    try:
        with audio.open_blocks(path, 8_000) as blocks:
            assert blocks.duration_s == 3 * 3600
            peaks = [float(block.max()) for block in blocks]
        part, _ = audio.load(path, 8_000, start_s=3299.5, duration_s=1)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert int(np.argmax(peaks)) == 330
    assert int(np.argmax(part)) == 4_000
    assert peak_bytes < 8e6  # the whole is 345 MB


def test_blocks_close_early_and_let_go_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(wav(sound()))
    with audio.open_blocks(path, RATE, block_s=0.01) as blocks:
        assert len(next(iter(blocks))) == 320
    assert list(blocks) == []
    path.unlink()  # Windows refuses while the file is open
    with pytest.raises(AudioError):
        audio.open_blocks(path, RATE)

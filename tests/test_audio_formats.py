"""Audio files: every format that is promised, and every way in which a file can be broken. All made here."""

from __future__ import annotations

import io
import os
import struct
import sys
import tarfile
import warnings
import zipfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import CONTAINERS, LOSSLESS, LOSSY, N_SAMPLES, RATE, encoded, muxed, sound
from hypothesis import given, settings
from hypothesis import strategies as st

from pannsx import audio
from pannsx.audio.mp3 import frame_length
from pannsx.audio.view import View
from pannsx.errors import AudioError

# 16-bit samples round to half a step of 2**-15.
PCM_16_STEP = 2.0**-15
# A part against the whole: lossy decoders restart with a lead-in, in float32.
SAME = 1e-6
# Lossy codecs keep a loud tone to a few percent at their default quality.
LEAST_CORRELATION = 0.95


def any_file(kind: str) -> bytes:
    return muxed(kind) if kind in CONTAINERS else encoded(kind)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats(kind: str) -> None:
    waveform, rate = audio.load(encoded(kind))
    assert rate == RATE
    np.testing.assert_allclose(waveform, sound(), rtol=0, atol=PCM_16_STEP)


@pytest.mark.parametrize("kind", [*LOSSY, *CONTAINERS])
def test_lossy_and_muxed_formats(kind: str) -> None:
    waveform, rate = audio.load(any_file(kind))
    assert rate == RATE
    n = min(len(waveform), N_SAMPLES)
    assert abs(len(waveform) - N_SAMPLES) <= 4_096  # encoders pad to whole packets
    # Formats that do not tell how much the encoder put in front are late by up to two packets.
    lags = range(2_200) if kind == "aac" else (0,)
    best = max(np.corrcoef(waveform[lag:n], sound()[: n - lag])[0, 1] for lag in lags)
    assert best > LEAST_CORRELATION


@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY, "webm", "aac", "mka"])
@pytest.mark.parametrize("rate", [None, 32_000])
def test_a_part_of_a_file_equals_that_part_of_the_whole(kind: str, rate: int | None) -> None:
    data = any_file(kind)
    whole, own = audio.load(data, rate)
    for start_s, duration_s in [(0.0, 0.1), (0.2003, 0.05), (0.4, None), (0.61, 0.3), (0.9, 5.0)]:
        part, _ = audio.load(data, rate, start_s=start_s, duration_s=duration_s)
        first = round(start_s * own)
        stop = None if duration_s is None else first + round(duration_s * own)
        np.testing.assert_allclose(part, whole[first:stop], rtol=0, atol=SAME)
    with pytest.raises(AudioError, match="start_s is 5 s, and"):
        audio.load(data, rate, start_s=5)


def test_a_part_of_m4a_lies_where_it_should() -> None:
    # AAC's noise substitution is drawn again in each decoding: the place is exact, the noise is not.
    data = muxed("m4a")
    whole, _ = audio.load(data)
    for start_s in (0.3, 0.5001, 0.7):
        part, _ = audio.load(data, start_s=start_s, duration_s=0.2)
        first = round(start_s * RATE)
        assert np.corrcoef(part, whole[first : first + len(part)])[0, 1] > 0.999


@pytest.mark.parametrize(
    ("kind", "name"),
    [("m4a", "MP4/M4A"), ("webm", "WebM/Matroska"), ("aac", r"AAC \(ADTS\)")],
)
def test_without_the_extra_the_error_names_format_and_extra(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = muxed(kind)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=rf"is {name}, which needs .* pip install 'pannsx\[av\]'"):
        audio.load(data)


UNSEEKABLE = [
    ("WAV", "GSM610"),
    ("AIFF", "GSM610"),
    ("W64", "GSM610"),
    ("AU", "G721_32"),
    ("AU", "G723_24"),
    ("AU", "G723_40"),
    ("WAV", "G721_32"),
    ("WAV", "NMS_ADPCM_16"),
    ("WAV", "NMS_ADPCM_24"),
    ("WAV", "NMS_ADPCM_32"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("AIFF", "IMA_ADPCM"),
    ("WAV", "ULAW"),
]


@pytest.mark.parametrize(("container", "subtype"), UNSEEKABLE)
def test_telephone_codecs_are_as_soundfile_reads_them(container: str, subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, sound()[:16_000], 8_000, format=container, subtype=subtype)
    expected, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    assert len(expected) >= 16_000
    np.testing.assert_array_equal(audio.load(file.getvalue()).waveform, expected)
    part, _ = audio.load(file.getvalue(), start_s=0.7, duration_s=0.5)
    np.testing.assert_array_equal(part, expected[5_600:9_600])
    with pytest.raises(AudioError, match="start_s is 9 s, and"):
        audio.load(file.getvalue(), start_s=9)


def test_stereo_files_are_mixed_down() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.stack([sound(), np.zeros(N_SAMPLES)], axis=1), RATE, format="FLAC")
    np.testing.assert_allclose(audio.load(file).waveform, sound() / 2, rtol=0, atol=PCM_16_STEP)


# --- headers that do not tell the length ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("riff_size", "data_size"),
    [(0, 0), (0xFFFF_FFFF, 0xFFFF_FFFF), (0x7FFF_F024, 0x7FFF_F000), (0xFFFF_FFFF, 0xFFFF_FFD8), (36, 0)],
)
def test_streamed_wav_of_unknown_size(riff_size: int, data_size: int) -> None:
    data = bytearray(encoded("wav"))
    at = data.index(b"data")
    data[4:8] = riff_size.to_bytes(4, "little")
    data[at + 4 : at + 8] = data_size.to_bytes(4, "little")
    np.testing.assert_allclose(audio.load(data).waveform, sound(), rtol=0, atol=PCM_16_STEP)


def long_wav(path: Path, n_bytes: int, stated: int, before: bytes = b"", after: bytes = b"") -> None:
    """A sparse WAV, stereo of 16 bits at 48 kHz, whose last sample but one is not zero."""
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, RATE, 4 * RATE, 4, 16)
    head = b"WAVE" + form + before + b"data" + struct.pack("<I", stated)
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", (stated + len(head) + 8) & 0xFFFF_FFFF) + head)
        file.seek(n_bytes - 8, io.SEEK_CUR)
        file.write(b"\0\x40\0\x40" + bytes(4) + after)


@pytest.mark.parametrize("after", [b"", b"LIST\x04\0\0\0INFO"])
@pytest.mark.parametrize(
    ("n_bytes", "stated"),
    [
        ((1 << 32) + 4_000, 4_000),
        ((1 << 33) + 4_000, 4_000),
        ((1 << 32) + 4_000, 0xFFFF_FFFF),
        ((1 << 31) + (1 << 20), 0x7FFF_F000),
        ((1 << 32) + 4_000, 0),
    ],
)
def test_wav_longer_than_its_32_bits_can_say(tmp_path: Path, n_bytes: int, stated: int, after: bytes) -> None:
    path = tmp_path / "long.wav"
    long_wav(path, n_bytes, stated, b"LIST\x04\0\0\0INFO", after)
    duration_s = audio.info(path).duration_s
    assert duration_s == pytest.approx(n_bytes / 4 / RATE, abs=0.001)
    if not after or (stated and stated < 1 << 20):
        assert duration_s == n_bytes / 4 / RATE
    tail, _ = audio.load(path, start_s=n_bytes / 4 / RATE - 1)
    assert tail[RATE - 2] == 0.5
    assert np.count_nonzero(tail[:RATE]) == 1


def test_what_may_follow_the_samples_of_a_wav() -> None:
    data = encoded("wav")
    whole, _ = audio.load(data)
    tails = [b"\0", bytes(512), b"TAG" + bytes(125), b"abcd\x02\0\0\0xy", b"LIST\x0a\0\0\0INFO"]
    for tail in tails:
        np.testing.assert_array_equal(audio.load(data + tail).waveform, whole)


@pytest.mark.parametrize("kind", ["wav", "float", "wavex", "rf64", "wave64", "aiff", "au", "caf"])
def test_bytes_after_the_stated_samples_are_an_error_with_both_lengths(kind: str) -> None:
    data = encoded(kind)
    noise = np.random.default_rng(0).integers(128, 256, 20_000, np.uint8).tobytes()
    with pytest.raises(AudioError, match=r"longer than .* announces \d+ bytes of samples and \d+ follow"):
        audio.load(data + noise)
    part, _ = audio.load(data + noise, start_s=0.2, duration_s=0.3)
    np.testing.assert_allclose(part, sound()[RATE // 5 : RATE // 2], rtol=0, atol=PCM_16_STEP)


def test_streamed_flac_of_unknown_length() -> None:
    data = bytearray(encoded("flac"))
    data[21] &= 0xF0  # the 36 bits of the number of samples
    data[22:26] = bytes(4)
    assert audio.info(data).duration_s == 1.0  # by its frames
    with audio.open_blocks(data, RATE, start_s=0.5) as blocks:
        assert blocks.duration_s == 0.5
        waveform = np.concatenate(list(blocks))
    np.testing.assert_allclose(waveform, sound()[N_SAMPLES // 2 :], rtol=0, atol=PCM_16_STEP)
    with pytest.raises(AudioError, match=r"start_s is 2 s, and .* lasts 1.000 s"):
        audio.load(data, start_s=2)


def test_mp3_without_a_length_header_is_read_to_its_end() -> None:
    # Silence, then sound: variable bit rate, whose first frames promise another length than there is.
    file = io.BytesIO()
    loud = np.random.default_rng(0).uniform(-0.9, 0.9, 2 * RATE).astype(np.float32)
    with soundfile.SoundFile(file, "w", RATE, 1, format="MP3") as out:
        out.write(np.concatenate([loud, np.zeros(2 * RATE, np.float32)]))
    data = file.getvalue()
    whole, _ = audio.load(data)
    bare = data[frame_length(data[:4]) :]
    assert b"Xing" not in bare
    assert b"Info" not in bare
    waveform, _ = audio.load(bare)
    assert abs(len(waveform) - len(whole)) <= 3 * 1_152
    for tail in (b"TAG" + bytes(125), b"APETAGEX" + bytes(24)):
        np.testing.assert_array_equal(audio.load(bare + tail).waveform, waveform)
    tagged = b"ID3\x04\0\0" + bytes([0, 0, 1, 0]) + bytes(128) + bare
    np.testing.assert_array_equal(audio.load(tagged).waveform, waveform)
    with pytest.raises(AudioError, match="truncated: it ends within a frame"):
        audio.load(bare[:-30])


# An encoder's delay and the padding of its last frame, in frames of 1152 samples.
MP3_PADDING = 4 * 1_152


@cache
def varied_mp3(n_channels: int = 1, rate: int = RATE) -> bytes:
    """4 s of noise, then almost silence: variable bit rate, with a length header."""
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (4 * rate, n_channels)).astype(np.float32)
    samples[2 * rate :] *= 1e-3
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.9)
    return file.getvalue()


def bare_mp3(data: bytes) -> bytes:
    """An MP3 without its first frame, which states the length."""
    return data[frame_length(data[:4]) :]


def id3(n_bytes: int, stated: int | None = None) -> bytes:
    size = n_bytes if stated is None else stated
    return b"ID3\x04\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(n_bytes)


@pytest.mark.parametrize("with_header", [True, False])
@pytest.mark.parametrize(
    "front",
    [
        id3(20) + bytes(512),
        id3(20),
        id3(20) + id3(50),
        id3(20, stated=3_000),
        id3(20, stated=1 << 27),
        id3(0),
    ],
    ids=["gap", "tag", "two tags", "tag states too much", "tag beyond the file", "empty tag"],
)
def test_mp3_is_whole_whatever_its_tag_states(front: bytes, with_header: bool) -> None:
    data = varied_mp3() if with_header else bare_mp3(varied_mp3())
    waveform, _ = audio.load(front + data)
    assert abs(len(waveform) - 4 * RATE) <= MP3_PADDING


@pytest.mark.parametrize("between", [b"", id3(100), b"TAG" + bytes(125), b"APETAGEX" + bytes(24), bytes(700)])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_joined_mp3s_are_read_to_the_end(between: bytes, n_channels: int) -> None:
    data = varied_mp3(n_channels)
    for first in (data, bare_mp3(data)):
        joined = first + between + data
        waveform, _ = audio.load(joined)
        assert abs(len(waveform) - 8 * RATE) <= 2 * MP3_PADDING
        assert audio.info(joined).duration_s == len(waveform) / RATE
        loud = np.abs(waveform[4 * RATE + MP3_PADDING : 6 * RATE - MP3_PADDING])
        assert loud.mean() > 0.1  # the second file's noise, where it should be


@pytest.mark.parametrize("front", ["zeros", "many zeros", "tag, zeros", "text", "noise", "mid frame"])
def test_mp3_with_something_in_front_is_known_by_its_content(front: str, tmp_path: Path) -> None:
    data = bare_mp3(varied_mp3())
    data = {
        "zeros": bytes(417) + data,
        "many zeros": bytes(500_000) + data,
        "tag, zeros": id3(20) + bytes(4_096) + data,
        "text": b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + data,
        "noise": np.random.default_rng(0).integers(0, 256, 5_000, np.uint8).tobytes() + data,
        "mid frame": data[700:],
    }[front]
    path = tmp_path / "sound.bin"
    path.write_bytes(data)
    for source in (data, path):
        assert abs(len(audio.load(source).waveform) - 4 * RATE) <= MP3_PADDING


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_with_an_mp3_is_no_mp3(kind: str) -> None:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.mp3", varied_mp3())
    else:
        with tarfile.open(fileobj=file, mode="w") as tar:
            member = tarfile.TarInfo("a.mp3")
            member.size = len(varied_mp3())
            tar.addfile(member, io.BytesIO(varied_mp3()))
    with pytest.raises(AudioError, match="archive; unpack it first"):
        audio.load(file.getvalue())


def test_an_mp3_header_that_states_another_count_is_not_believed() -> None:
    data = bytearray(varied_mp3())
    whole, _ = audio.load(data)
    at = max(data.find(b"Xing"), data.find(b"Info"))
    count = int.from_bytes(data[at + 8 : at + 12], "big")
    data[at + 8 : at + 12] = (count // 2).to_bytes(4, "big")
    assert abs(len(audio.load(data).waveform) - len(whole)) <= MP3_PADDING
    data[at + 8 : at + 12] = (count * 2).to_bytes(4, "big")
    with pytest.raises(AudioError, match=r"announces 8\.\d* s, 4\.\d* s can be read"):
        audio.load(data)


@pytest.mark.parametrize(
    ("second", "what"), [({"rate": 44_100}, "44100 Hz mono"), ({"n_channels": 2}, "48000 Hz stereo")]
)
def test_joined_mp3s_of_different_formats_are_refused(second: dict[str, int], what: str) -> None:
    with pytest.raises(AudioError, match=f"changes from 48000 Hz mono of layer III to {what}"):
        audio.load(varied_mp3() + varied_mp3(**second))


@cache
def layer_2(rate: int = 44_100, bit_rate: int = 128_000) -> bytes:
    av = pytest.importorskip("av", reason="PyAV, the extra pannsx[av], is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format="mp2") as out:
        stream = out.add_stream("mp2", rate=rate)
        stream.layout, stream.bit_rate = "mono", bit_rate
        samples = (sound() * 32_767).astype(np.int16)
        for start in range(0, len(samples) - 1_151, 1_152):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1_152], "s16", "mono")
            frame.sample_rate, frame.pts = rate, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
def test_layer_2_has_as_many_samples_as_its_frames(rate: int) -> None:
    data = layer_2(rate)
    whole, _ = audio.load(data)
    assert len(whole) == len(sound()) // 1_152 * 1_152
    correlations = [np.corrcoef(whole[lag:], sound()[: len(whole) - lag])[0, 1] for lag in range(500)]
    assert max(correlations) > LEAST_CORRELATION
    part, _ = audio.load(data, start_s=0.75, duration_s=0.05)
    first = round(0.75 * rate)
    np.testing.assert_allclose(part, whole[first : first + round(0.05 * rate)], rtol=0, atol=SAME)
    joined, _ = audio.load(data + layer_2(rate, 64_000) + data)
    assert len(joined) == 3 * len(whole)
    np.testing.assert_allclose(joined[-10_000:], whole[-10_000:], rtol=0, atol=SAME)
    with pytest.raises(AudioError, match="it ends within a frame"):
        audio.load(data[:-10])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    prefix=st.binary(max_size=20),
    rest=st.binary(max_size=40),
    skip=st.integers(0, 40),
    reads=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 30)), max_size=6),
)
def test_a_view_is_the_file_that_it_pretends_to_be(
    prefix: bytes, rest: bytes, skip: int, reads: list[tuple[int, int]]
) -> None:
    skip = min(skip, len(rest))
    runs = [(skip, len(rest)), (0, skip), (0, 0), (skip // 2, skip)]
    for view, plain in (
        (View(io.BytesIO(rest), prefix, skip), io.BytesIO(prefix + rest[skip:])),
        (
            View(io.BytesIO(rest), prefix, skip, runs=runs),
            io.BytesIO(prefix + b"".join(rest[start:stop] for start, stop in runs)),
        ),
    ):
        assert_same_file(view, plain, reads)


def assert_same_file(view: View, plain: io.BytesIO, reads: list[tuple[int, int]]) -> None:
    assert view.seek(0, io.SEEK_END) == plain.seek(0, io.SEEK_END)
    for position, length in reads:
        view.seek(position)
        plain.seek(position)
        assert view.read(length) == plain.read(length)
        assert view.tell() == plain.tell()


# --- broken files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY, "m4a"])
def test_a_file_cut_anywhere_is_an_error(kind: str) -> None:
    data = muxed(kind, 6_000) if kind in CONTAINERS else encoded(kind, 6_000)
    whole, _ = audio.load(data)
    n = len(data)
    cuts = {*range(0, min(n, 120), 7), *range(0, n, max(1, n // 40)), *range(max(0, n - 5), n)}
    for cut in sorted(cuts):
        try:
            waveform, _ = audio.load(data[:cut])
        except AudioError:
            continue
        else:  # only what comes after the samples may be missing
            np.testing.assert_array_equal(waveform, whole, err_msg=f"cut after {cut} of {n} bytes")


def test_a_truncated_file_says_so_and_gives_what_is_there_on_request() -> None:
    data = encoded("wav")
    cut = data[: len(data) // 2]
    with pytest.raises(AudioError, match=r"truncated: .*96000 bytes .* 0\.500 s can be read; fetch or copy"):
        audio.load(cut)
    with pytest.raises(AudioError, match="truncated"):
        audio.open_blocks(cut, 32_000, start_s=0.4, duration_s=0.2)
    part, _ = audio.load(cut, 32_000, start_s=0.1, duration_s=0.3)
    expected, _ = audio.load(data, 32_000, start_s=0.1, duration_s=0.3)
    np.testing.assert_array_equal(part, expected)


def test_a_file_cut_within_its_trailing_metadata_is_whole() -> None:
    data = encoded("wav") + b"LIST" + (100).to_bytes(4, "little") + bytes(100)
    np.testing.assert_array_equal(audio.load(data[:-50]).waveform, audio.load(encoded("wav")).waveform)


@pytest.mark.parametrize("kind", [*LOSSLESS, "vorbis"])
def test_a_file_without_samples_is_empty(kind: str) -> None:
    with pytest.raises(AudioError, match=r"empty|no samples|truncated"):
        audio.load(encoded(kind, 0))


def test_a_file_with_nan_says_where() -> None:
    samples = sound().copy()
    samples[36_000] = np.nan
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
    with pytest.raises(AudioError, match=r"NaN at sample 36000 \(0.750 s\)"):
        audio.load(file, 32_000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"an empty file \(0 bytes\)"),
        (b"\0" * 5_000, "no known audio format"),
        ("Grüße aus dem Wald\n".encode() * 60, "text"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://example.org/a.ts\n", "text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"%PDF-1.7\n\xff", "a PDF document"),
        (b"PK\x03\x04\x14\x00\x00", "a ZIP archive"),
        (b"MThd\x00\x00\x00\x06\x00\x01", "MIDI"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "no known audio format"),
    ],
)
def test_what_is_not_audio_is_named(data: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=f"is not audio: it is .*{message}"):
        audio.load(data)


SIGNATURES = [
    b"", b"RIFF\x24\x00\x00\x00WAVE", b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0", b"FORM\0\0\0\x24AIFF",
    b"fLaC\0", b"OggS\0\x02", b"ID3\x04\0\0\0\0\0\x05", b"\xff\xfb\x90", b".snd\0\0\0\x18", b"caff\0\x01\0\0",
    b"NIST_1A\n   1024\n", b"\0\0\0\x18ftypM4A ", b"\x1a\x45\xdf\xa3", b"\xff\xf1\x50\x80", b"#!AMR\n",
    b"RF64\xff\xff\xff\xffWAVEds64",
]  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(signature=st.sampled_from(SIGNATURES), junk=st.binary(max_size=400))
def test_random_bytes_are_an_audio_error_and_nothing_else(signature: bytes, junk: bytes) -> None:
    # Random bytes after an MPEG or AU signature can be a sound, if hardly one of note; nothing else may be.
    try:
        waveform, _ = audio.load(signature + junk)
    except AudioError:
        return
    assert signature[:4] in (b".snd", b"RIFF", b"caff") or signature[:1] == b"\xff"
    assert np.isfinite(waveform).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["wav", "aiff", "flac", "caf"]),
    changes=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_damaged_header_is_an_audio_error_or_still_audio(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(kind, 3_000))
    for at, value in changes:
        data[at] = value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a length or samples that are not plausible
            waveform, _ = audio.load(data)
    except AudioError:
        return
    assert len(waveform) > 0
    assert np.isfinite(waveform).all()


def test_frame_lengths_of_mp3() -> None:
    assert frame_length(b"\xff\xfb\x90\x00") == 417  # MPEG-1, 128 kbit/s, 44.1 kHz: 144 * 128000 // 44100
    assert frame_length(b"\xff\xfb\x92\x00") == 418  # the same, padded
    assert frame_length(b"\xff\xf3\x80\xc0") == 208  # MPEG-2, 64 kbit/s, 22.05 kHz: 72 * 64000 // 22050
    assert frame_length(b"\xff\xfb\x00\x00") == 0  # free bit rate
    assert frame_length(b"\xff\xfd\x90\x00") == 522  # layer II, 160 kbit/s: 144 * 160000 // 44100
    assert frame_length(b"\xff\xf5\x82\xc0") == 418  # MPEG-2, 64 kbit/s, padded: 144 * 64000 // 22050 + 1
    assert frame_length(b"\xff\xff\x90\x00") == 312  # layer I, 288 kbit/s: 4 * (12 * 288000 // 44100)
    data = encoded("mp3")
    starts = [0]
    while starts[-1] < len(data):
        starts.append(starts[-1] + frame_length(data[starts[-1] : starts[-1] + 4]))
    assert starts[-1] == len(data)
    assert all(later > earlier for earlier, later in pairwise(starts))


DATA = Path(os.environ.get("PANNSX_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.mark.skipif(
    not (DATA / "esc10").is_dir(), reason="no recordings: set PANNSX_TEST_DATA to the data folder"
)
def test_real_recordings_are_read_whole() -> None:
    paths = sorted((DATA / "esc10").glob("*/*.ogg"))[::20]
    assert paths
    for path in paths:
        waveform, rate = audio.load(path, 32_000)
        assert len(waveform) / rate == pytest.approx(5, abs=0.05)
        assert np.abs(waveform).max() > 0


@pytest.mark.skipif(os.name == "nt", reason="Windows does not remove files that are open")
def test_a_file_that_was_removed_or_replaced_after_it_was_opened(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(1000, 0.25), 32_000)
    with path.open("rb") as opened:
        path.unlink()
        np.testing.assert_allclose(audio.load(opened).waveform, 0.25, atol=1e-4)
        soundfile.write(path, np.full(1000, 0.5), 32_000)
        np.testing.assert_allclose(audio.load(opened).waveform, 0.25, atol=1e-4)

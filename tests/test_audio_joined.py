"""Files joined one after another, and headers that state another length than the bytes that follow."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import LOSSLESS, RATE, encoded, encoded_by_ffmpeg, sound

from pannsx import audio
from pannsx.audio import flac
from pannsx.errors import AudioError

N_FIRST, N_SECOND = 24_000, 12_000
# Lossy decoders begin again in float32.
SAME = 1e-6
# AAC's noise substitution differs in every decoding.
SAME_NOISE = 0.05
MUXED = {
    "m4a": ("mp4", "aac"),
    "mov": ("mov", "pcm_s16le"),
    "alac": ("ipod", "alac"),
    "webm": ("webm", "libopus"),
    "mka": ("matroska", "flac"),
    "ogg flac": ("ogg", "flac"),
    "caf alac": ("caf", "alac"),
    "adts": ("adts", "aac"),
    "flv": ("flv", "aac"),
    "wavpack": ("wv", "wavpack"),
    "tta": ("tta", "tta"),
    "avi": ("avi", "pcm_s16le"),
    "ac3": ("ac3", "ac3"),
}
# Without a sign of where one ends, these decode as one: the encoder's delay is there once instead of twice.
DELAY = {"adts": 1024, "webm": 400}


def pair(kind: str) -> tuple[bytes, bytes]:
    if kind in MUXED:
        return encoded_by_ffmpeg(*MUXED[kind], N_FIRST), encoded_by_ffmpeg(*MUXED[kind], N_SECOND)
    return encoded(kind, N_FIRST), encoded(kind, N_SECOND)


@pytest.mark.parametrize("kind", [*LOSSLESS, "vorbis", "opus", *MUXED])
def test_joined_files_are_read_to_the_end(kind: str) -> None:
    first, second = pair(kind)
    before, after = audio.load(first).waveform, audio.load(second).waveform
    joined = audio.load(first + second).waveform
    assert abs(len(joined) - len(before) - len(after)) <= DELAY.get(kind, 0)
    np.testing.assert_allclose(joined[: len(before) - 2000], before[:-2000], rtol=0, atol=SAME_NOISE)
    if kind in LOSSLESS:
        np.testing.assert_array_equal(joined, np.concatenate([before, after]))


@pytest.mark.parametrize("kind", ["wav", "flac", "vorbis", "opus", "tta"])
def test_a_part_of_joined_files_equals_that_part_of_the_whole(kind: str) -> None:
    data = b"".join(pair(kind))
    whole, rate = audio.load(data)
    for start_s, duration_s in [(0.1, 0.2), (0.45, 0.1), (0.6, None)]:
        part, _ = audio.load(data, start_s=start_s, duration_s=duration_s)
        stop = None if duration_s is None else round((start_s + duration_s) * rate)
        np.testing.assert_allclose(part, whole[round(start_s * rate) : stop], rtol=0, atol=SAME)


def test_the_length_of_joined_files_is_that_of_all() -> None:
    assert audio.info(b"".join(pair("vorbis"))).duration_s == (N_FIRST + N_SECOND) / RATE
    with pytest.raises(AudioError, match=r"file 2 of 2 in it\) is truncated.*it ends within a page"):
        audio.load(b"".join(pair("vorbis"))[:-40])


def test_joined_files_of_different_rates_are_an_error_with_both_lengths() -> None:
    file = io.BytesIO()
    soundfile.write(file, sound(8_000), 8_000, format="FLAC")
    with pytest.raises(
        AudioError, match=r"from 48000 to 8000 Hz after 0.500 s, with file 2, which lasts 1.0"
    ):
        audio.load(encoded("flac", N_FIRST) + file.getvalue())


@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0xFFFF_FFFF])
def test_joined_wavs_of_unknown_length(size: int) -> None:
    first, second = (bytearray(each) for each in pair("wav"))
    for data in (first, second):
        data[4:8] = data[40:44] = size.to_bytes(4, "little")
    expected = np.concatenate([sound(N_FIRST), sound(N_SECOND)])
    np.testing.assert_allclose(audio.load(first + second).waveform, expected, rtol=0, atol=2.0**-15)


def test_ogg_says_what_is_missing() -> None:
    data = encoded("opus", 300_000)
    starts = [i for i in range(len(data)) if data[i : i + 5] == b"OggS\0"]
    third = starts[3]
    with pytest.raises(AudioError, match=r"is damaged: its page 4 .* follows page 2, .* pages are missing"):
        audio.load(data[:third] + data[starts[4] :])
    damaged = bytearray(data)
    damaged[third + 200] ^= 0xFF
    with pytest.raises(AudioError, match=rf"is damaged: its page at byte {third} has a wrong checksum"):
        audio.load(damaged)


def with_total(data: bytes, n_samples: int) -> bytes:
    """A FLAC file that states another number of samples."""
    old = int.from_bytes(data[18:26], "big")
    return data[:18] + (old >> 36 << 36 | n_samples).to_bytes(8, "big") + data[26:]


def flac_frames(data: bytes) -> list[int]:
    """First bytes of the frames of a FLAC file of mono 16 bits at 48 kHz."""
    return [i for i in range(42, len(data)) if data[i : i + 2] == b"\xff\xf8" and data[i + 3] == 8]


@pytest.mark.parametrize("stated", [0, 1, 5_000, N_FIRST - 1])
def test_flac_that_states_too_few_samples_is_read_whole(stated: int) -> None:
    data = with_total(encoded("flac", N_FIRST), stated)
    np.testing.assert_allclose(audio.load(data).waveform, sound(N_FIRST), rtol=0, atol=2.0**-15)
    assert audio.info(data).duration_s == N_FIRST / RATE


def test_flac_cut_by_a_stream_copy_is_read_as_it_is() -> None:
    data = encoded("flac", N_FIRST)
    frames = flac_frames(data)
    whole = audio.load(data).waveform
    from_third = data[: frames[0]] + data[frames[2] :]  # numbers and length are those of the whole
    np.testing.assert_array_equal(audio.load(from_third).waveform, whole[2 * 4096 :])
    np.testing.assert_array_equal(
        audio.load(from_third, start_s=0.125, duration_s=0.1).waveform, whole[2 * 4096 + 6_000 :][:4_800]
    )
    to_third = data[: frames[3]]
    with pytest.warns(UserWarning, match=r"states 0.500 s in its header and has 0.256 s, its last frame"):
        np.testing.assert_array_equal(audio.load(to_third).waveform, whole[: 3 * 4096])
    with pytest.raises(AudioError, match=r"is truncated: its header announces 0.500 s, 0.\d+ s can be read"):
        audio.load(to_third[:-1])
    with pytest.raises(AudioError, match=r"is damaged: frames before its byte .* are missing"):
        audio.load(data[: frames[2]] + data[frames[3] :])


def test_large_flac_is_searched_at_some_places_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    plain, other = io.BytesIO(), io.BytesIO()
    for file in (plain, other):
        soundfile.write(file, rng.normal(0, 0.1, 400_000), RATE, format="FLAC")
    monkeypatch.setattr(flac, "_FEW_BYTES", 0)
    scanned: list[int] = []
    streams = flac._streams
    monkeypatch.setattr(flac, "_streams", lambda window, start: scanned.append(1) or streams(window, start))
    assert len(audio.load(plain.getvalue()).waveform) == 400_000
    assert not scanned
    for data, n_samples in (
        (plain.getvalue() + other.getvalue(), 800_000),
        (with_total(plain.getvalue(), 5_000), 400_000),
    ):
        assert len(audio.load(data).waveform) == n_samples
        assert scanned


def test_a_tag_in_front_of_any_format_is_passed_over() -> None:
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    for kind in ("wav", "aiff", "vorbis", "flac", "wave64"):
        plain = audio.load(encoded(kind, N_SECOND)).waveform
        np.testing.assert_array_equal(audio.load(tag + encoded(kind, N_SECOND)).waveform, plain)


def test_mp3_within_wav_is_read_by_its_frames() -> None:
    mp3 = encoded("mp3", N_FIRST)
    form = b"fmt \x1e\0\0\0\x55\0\x01\0" + RATE.to_bytes(4, "little") + bytes(22)
    data = b"WAVE" + form + b"data" + len(mp3).to_bytes(4, "little") + mp3
    wav = b"RIFF" + len(data).to_bytes(4, "little") + data
    np.testing.assert_array_equal(audio.load(wav).waveform, audio.load(mp3).waveform)
    with pytest.raises(AudioError, match="truncated"):
        audio.load(wav[: len(wav) * 2 // 3])


def webm_with_gaps(gaps: dict[int, int], **options: str) -> bytes:
    """A WebM of Opus of 20 ms a packet; before packet ``n``, the time stamps jump by so many milliseconds."""
    av = pytest.importorskip("av", reason="PyAV, the extra pannsx[av], is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format="webm", options=options) as out:
        stream = out.add_stream("libopus", rate=RATE, layout="mono")
        for n in range(50):
            tone = 0.5 * np.sin(np.arange(n * 960, (n + 1) * 960) * 0.05)
            frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, n * 960
            for packet in stream.encode(frame):
                late_ms = sum(ms for at, ms in gaps.items() if packet.pts >= at * 960)
                packet.pts += round(late_ms / 1000 / packet.time_base)
                packet.dts = packet.pts
                out.mux(packet)
    return file.getvalue()


def test_gaps_of_time_stamps_are_silence() -> None:
    whole = audio.load(webm_with_gaps({})).waveform
    waveform, rate = audio.load(webm_with_gaps({20: 500}))
    assert len(waveform) == pytest.approx(len(whole) + 0.5 * rate, abs=0.03 * rate)
    silent = np.flatnonzero(np.abs(waveform) < 1e-6)
    assert np.count_nonzero(np.diff(silent) == 1) > 0.48 * rate
    first = silent[np.flatnonzero(np.diff(silent) == 1)[100]]
    assert first / rate == pytest.approx(0.4, abs=0.03)
    after = waveform[-4_000:-1_000]
    assert np.abs(after).max() > 0.4
    # Those of a live recording jitter.
    jittered = audio.load(webm_with_gaps({10: 15, 11: -15, 30: 20})).waveform
    assert len(jittered) == pytest.approx(len(whole), abs=0.03 * rate)


def test_a_time_stamp_that_cannot_be_right_is_an_error() -> None:
    with pytest.raises(AudioError, match=r"has a time stamp of \d+.*damaged"):
        audio.load(webm_with_gaps({20: 10_000_000}, live="1"))


def test_several_audio_tracks_are_said() -> None:
    av = pytest.importorskip("av", reason="PyAV, the extra pannsx[av], is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        for stream in [out.add_stream("flac", rate=RATE, layout="mono") for _ in range(2)]:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    with pytest.warns(UserWarning, match="has 2 audio tracks, of which the first is read"):
        audio.load(file.getvalue())


def test_an_mp3_beside_a_companion_of_macos(tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(encoded("mp3", N_SECOND))
    (tmp_path / "._song.mp3").write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(4_000))
    for kind in ("mp3", "wav", "flac"):
        (tmp_path / f"song.{kind}").write_bytes(encoded(kind, N_SECOND))
        (tmp_path / f"._song.{kind}").write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(4_000))
        found = audio.load(tmp_path / f"song.{kind}").waveform
        np.testing.assert_array_equal(found, audio.load(encoded(kind, N_SECOND)).waveform)


def test_an_ogg_checksum_is_zlibs_with_its_bits_mirrored() -> None:
    from pannsx.audio.ogg import _checksum

    page = encoded("vorbis", N_SECOND)[:58]  # the first page, of a packet of 30 bytes
    plain = page[:22] + bytes(4) + page[26:]
    value = 0
    for byte in plain:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C1_1DB7 if value >> 31 else 0)) & 0xFFFF_FFFF
    assert _checksum(page) == value == int.from_bytes(page[22:26], "little") != zlib.crc32(plain)

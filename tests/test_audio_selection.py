"""What is read of a source: one channel or the mean, and a broken file as far as it goes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import RATE, encoded, muxed, sound

from pannsx import audio
from pannsx.cli import main
from pannsx.errors import AudioError

N_SAMPLES = 4 * RATE  # several pages of Ogg
PCM_16_STEP = 2.0**-15


def wav(frames: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, frames, RATE, format="WAV")
    return file.getvalue()


def test_one_channel_or_the_mean() -> None:
    left = sound(9_000)
    right = 0.5 * left[::-1]
    frames = np.stack([left, right], axis=1)
    for source, rate in ((wav(frames), None), (frames, RATE)):
        for channel, expected in ((0, left), (1, right), ("mean", (left + right) / 2), (np.int64(1), right)):
            waveform, _ = audio.load(source, source_rate=rate, channel=channel)
            np.testing.assert_allclose(waveform, expected, rtol=0, atol=PCM_16_STEP)
        for wrong in (2, -1):
            with pytest.raises(AudioError, match=rf"has 2 channels, and channel is {wrong}; give 0 to 1, or"):
                audio.load(source, source_rate=rate, channel=wrong)
        for wrong in ("left", 0.0, True, None):
            with pytest.raises(AudioError, match="a number is needed, 0 for the first or left channel"):
                audio.load(source, source_rate=rate, channel=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_samples", [2_000, 2 * RATE])
def test_channels_that_cancel_each_other_are_said(n_samples: int) -> None:
    tone = sound(n_samples)
    opposed = wav(np.stack([tone, -tone], axis=1))
    with pytest.warns(
        UserWarning, match=r"channels that cancel each other \(L = -R\) .* channel=0"
    ) as warned:
        audio.load(opposed, 32_000)
    assert len(warned) == 1
    np.testing.assert_allclose(audio.load(opposed, channel=1).waveform, -tone, rtol=0, atol=PCM_16_STEP)
    # Without a word: other stereo, silence, and a moment of a long recording.
    audio.load(wav(np.stack([tone, -0.9 * tone], axis=1)))
    audio.load(wav(np.zeros((n_samples, 2))))
    moment = np.stack([sound(3 * RATE)] * 2, axis=1)
    moment[: RATE // 2, 1] *= -1
    audio.load(wav(moment))


@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "vorbis", "opus", "mp3", "au", "webm", "aac"])
def test_a_cut_file_is_read_as_far_as_it_goes_on_request(kind: str) -> None:
    data = (
        muxed(kind, N_SAMPLES)
        if kind in ("webm", "aac")
        else encoded(kind, N_SAMPLES * (3 if kind == "vorbis" else 1))
    )
    whole, rate = audio.load(data)
    cut = data[: len(data) * 3 // 5]
    with pytest.raises(AudioError, match=r"salvage=True|within a page"):
        audio.load(cut)
    with pytest.warns(UserWarning, match=r"(?:, \d.\d+ s can be read|read to \d.\d+ s).*, and no more"):
        waveform, _ = audio.load(cut, salvage=True)
    assert 0.3 * len(whole) < len(waveform) < 0.8 * len(whole)
    assert rate == RATE
    settled = len(waveform) - 4_096  # a decoder's last block may differ
    np.testing.assert_allclose(waveform[:settled], whole[:settled], rtol=0, atol=0.05)


def test_a_damaged_flac_is_read_up_to_the_damage() -> None:
    data = bytearray(encoded("flac"))
    data[len(data) // 2] ^= 0xFF
    whole, _ = audio.load(encoded("flac"))
    with pytest.warns(UserWarning, match=r"read to 0\.\d+ s of 1.000 s, and no more is used: .*damaged"):
        waveform, _ = audio.load(data, salvage=True)
    assert len(waveform) > 0.3 * RATE
    np.testing.assert_array_equal(waveform, whole[: len(waveform)])
    with pytest.raises(AudioError, match=r"cannot be decoded|damaged"):
        audio.load(data[:60], salvage=True)  # nothing to salvage


@pytest.mark.filterwarnings("always")  # the command prints them
def test_the_command_line_selects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tone = 0.5 * np.sin(np.arange(3 * 32_000) * 0.2).astype(np.float32)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone, -tone], axis=1), 32_000)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(path.read_bytes()[:200_000])
    options = ["--start", "1", "--duration", "1.5", "--channel", "0", "-q"]
    assert main(["events", str(path), "-t", "0.05", "--format", "jsonl", *options]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    times = [event["onset_s"] for event in json.loads(line)["events"]]
    assert times
    assert min(times) >= 1.0  # of the whole recording
    assert main(["tag", str(path), "--format", "json", *options]) == 0
    assert json.loads(capsys.readouterr().out)[0]["duration_s"] == 1.5
    assert main(["tag", str(cut), "--salvage", "--channel", "1"]) == 0
    assert "is truncated: its header announces" in capsys.readouterr().err
    assert main(["embed", str(cut), "-o", str(tmp_path / "out.npz"), "--channel", "2"]) == 1
    assert "and channel is 2; give 0 to 1" in capsys.readouterr().err

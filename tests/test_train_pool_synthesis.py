"""The synthesised part of the pool: formulas, scores, rooms, and the programs that speak and play."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from train.pool.cutting import CLIP_SAMPLES, SAMPLE_RATE
from train.pool.errors import PoolError
from train.pool.synthesis import STEPS, find_step, midi, music, rooms, signals, speech

CONVOLUTION_TOLERANCE = 1e-5  # float32 result of a float64 FFT
RMS_TOLERANCE = 0.01  # clipping of peaks at full scale takes a little of the level


def test_signals_are_a_function_of_their_number() -> None:
    first, again = list(signals.signals(0, 1)), list(signals.signals(0, 1))
    assert [name for name, _ in first] == [f"{kind} 0" for kind in signals.KINDS]
    for (name, a), (_, b) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert a.shape == (CLIP_SAMPLES,), name
        assert np.isfinite(a).all(), name
        assert np.abs(a).max() <= 1, name
    levels = {name: np.sqrt(np.mean(np.square(a, dtype=np.float64))) for name, a in first}
    assert levels["quiet 0"] == pytest.approx(0.002, rel=RMS_TOLERANCE)
    for kind in ("sine", "pink noise", "dial tone"):
        assert min(abs(levels[f"{kind} 0"] / level - 1) for level in (0.03, 0.1, 0.2)) < RMS_TOLERANCE


def test_other_numbers_are_other_signals() -> None:
    trained, held_out = dict(signals.signals(0, 1)), dict(signals.signals(100, 1))
    assert not np.array_equal(trained["sine 0"], held_out["sine 100"])


def test_formulas_are_what_they_are_called() -> None:
    def peaks(kind: str, n_peaks: int) -> set[int]:
        wave = signals.KINDS[kind](signals.Canvas(np.random.default_rng(1)))
        spectrum = np.abs(np.fft.rfft(wave))
        return {round(int(place) / 5) for place in np.argsort(spectrum)[-n_peaks:]}

    canvas = signals.Canvas(np.random.default_rng(1))
    assert peaks("sine", 1) == {round(canvas.frequency)}
    assert peaks("smoke alarm", 1) == {3100}
    assert peaks("dial tone", 2) in ({350, 440}, {425})
    hiss = np.abs(np.fft.rfft(signals.KINDS["hiss"](canvas)))
    assert hiss[: 2990 * 5].max() < 1e-6 * hiss.max()
    brown = np.abs(np.fft.rfft(canvas.coloured(2))) ** 2
    low, high = brown[1000:2000].mean(), brown[10000:20000].mean()
    assert low / high == pytest.approx(100, rel=0.2), "20 dB a decade"


def test_midi_files() -> None:
    score = [midi.program(0, 5), *midi.note(0.2, 0.3, 0, 200, 90.7)]
    content = midi.midi_file(score)
    header = b"MThd\0\0\0\6\0\0\0\1\1\xf4MTrk"
    # Ticks are milliseconds in sevens of bits, most significant first; keys end at 127.
    track = b"\0\xc0\x05" + b"\x81\x48\x90\x7f\x5a" + b"\x82\x2c\x80\x7f\0" + b"\0\xff\x2f\0"
    assert content == header + len(track).to_bytes(4, "big") + track


def test_scores_are_drawn_from_seeds() -> None:
    for manner in ("melody", "chords", "held", "arpeggio"):
        first, again, other = (music._phrase(30, manner, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first == again != other
        assert first[0] == (0.0, b"\xc0\x1e")
    for style in music.STYLES.values():
        song = music._song(style, 16, np.random.default_rng(3))
        channels = {message[0] & 15 for _, message in song if message[0] & 0xF0 == 0x90}
        assert channels == ({0, 1, 2} if style.beat == "none" else {0, 1, 2, midi.DRUM_CHANNEL})


def test_valid_instruments_are_not_trained_on() -> None:
    assert set(range(music.N_PROGRAMS)) > music.HELD_OUT
    assert speech.HELD_OUT_VOICE not in rooms._VOICES


def test_sentences() -> None:
    sentences = {speech.sentence(np.random.default_rng(seed)) for seed in range(20)}
    assert len(sentences) == 20
    assert all(text[0].isupper() and text[-1] in ".?!" for text in sentences)


def test_rooms_die_away_in_their_time() -> None:
    response = rooms.impulse_response(1.0, np.random.default_rng(0))
    energy = np.square(response)
    assert energy.sum() == pytest.approx(1)
    late = 10 * np.log10(energy[8000:12000].sum() / energy[24000:28000].sum())
    assert late == pytest.approx(30, abs=1), "30 dB in half of the reverberation time"
    waveform = np.random.default_rng(1).standard_normal(500).astype(np.float32)
    wet = rooms.convolve(waveform, response[:300])
    expected = np.convolve(waveform, response[:300])
    np.testing.assert_allclose(wet[: len(expected)], expected, rtol=0, atol=CONVOLUTION_TOLERANCE)


def test_steps_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PoolError, match=r"no step of synthesis 'wispers'; did you mean 'whispers'"):
        find_step("wispers")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PoolError, match=r"espeak-ng not found; install the packages .*espeak-ng"):
        next(STEPS["whispers"].make())
    monkeypatch.setitem(midi.FONTS, "fluid", Path("/no/font.sf2"))
    with pytest.raises(PoolError, match=r"fluidsynth, /no/font\.sf2 not found"):
        next(STEPS["drums fluid"].make())


def test_programs_that_fail_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flite", "fluidsynth", "espeak-ng"):
        (tmp_path / name).write_text(
            f"#!/bin/sh\n[ {name} = espeak-ng ] && exit 0\necho broken >&2\nexit 3\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(PoolError, match="flite failed with status 3: broken"):
        speech.flite("slt", "a")
    with pytest.raises(PoolError, match="fluidsynth failed with status 3: broken"):
        midi.play("fluid", [[]], 1.0)
    with pytest.raises(PoolError, match="gave no audio"):
        next(iter(speech.whispers(1)))


def test_fluidsynth_plays_scores_apart() -> None:
    font = next((name for name, path in midi.FONTS.items() if path.is_file()), None)
    if shutil.which("fluidsynth") is None or font is None:
        pytest.skip("FluidSynth or its soundfonts are not installed")
    flute = midi.program(0, 73)
    scores = [[flute, *midi.note(0.1, 0.8, 0, key, 100)] for key in (69, 81)]
    first, second = midi.play(font, [*scores, []], 1.0)[:2]
    for waveform, frequency in ((first, 440), (second, 880)):
        middle = waveform[SAMPLE_RATE // 4 : 3 * SAMPLE_RATE // 4]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        assert spectrum.argmax() * 2 == pytest.approx(frequency, rel=0.02)


def test_flite_speaks() -> None:
    if shutil.which("flite") is None:
        pytest.skip("Flite is not installed")
    short, long = (speech.flite("slt", text) for text in ("one", "one two three four five"))
    assert SAMPLE_RATE // 5 < len(short) < len(long)
    assert np.sqrt(np.mean(np.square(long))) > 0.01

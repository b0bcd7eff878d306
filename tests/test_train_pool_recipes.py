"""Recipes of sounds, singing and bands, and clips composed of clips."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_banks import write_bank_of

from pannsx import labels
from train.data.encoding import as_pcm
from train.pool import compose
from train.pool.cutting import CLIP_SAMPLES, SAMPLE_RATE
from train.pool.errors import PoolError
from train.pool.synthesis import (
    STEPS,
    bands,
    blocks,
    chosen,
    instruments,
    midi,
    recipes,
    singing,
    songs,
    speech,
)
from train.pool.synthesis.lineage import Lineage

RMS_TOLERANCE = 1e-6  # of float64 sums
PCM_TOLERANCE = 1.5 / 32767  # rounded to 16 bits


def test_relatives_share_most_draws() -> None:
    def drawn(*seeds: int) -> np.ndarray:
        rng = Lineage(seeds)
        return np.array([rng.uniform(2, 5) for _ in range(500)])

    parent = drawn(3)
    np.testing.assert_array_equal(parent, drawn(3))
    assert 2 <= parent.min() < 2.1 < 4.9 < parent.max() < 5
    child, stranger = drawn(3, 11), drawn(4)
    assert 0.02 < np.mean(child != parent) < 0.4
    assert np.mean(stranger != parent) > 0.99
    np.testing.assert_array_equal(Lineage([3]).standard_normal(100), Lineage([3, 11]).standard_normal(100))


def test_draws_are_those_of_a_generator() -> None:
    rng = Lineage([1])
    assert {rng.integers(3) for _ in range(100)} == {0, 1, 2}
    assert {rng.integers(4, 6) for _ in range(100)} == {4, 5}
    assert {rng.choice(["a", "b"]) for _ in range(100)} == {"a", "b"}
    assert np.mean([rng.choice(2, p=[0.9, 0.1]) for _ in range(1000)]) == pytest.approx(0.1, abs=0.04)
    assert rng.uniform([0, 10], [1, 11]).shape == (2,)
    normal = np.array([rng.normal(3, 2) for _ in range(2000)])
    assert (normal.mean(), normal.std()) == (pytest.approx(3, abs=0.2), pytest.approx(2, abs=0.2))
    assert np.mean([rng.exponential(2) for _ in range(2000)]) == pytest.approx(2, abs=0.2)
    assert rng.pareto(2, 100).min() >= 0


def test_noise_has_the_spectrum_asked_for() -> None:
    noise = blocks.noise(np.random.default_rng(0), [(100, 0), (1000, -20), (10000, -20)], loose=0.0)
    assert noise.std() == pytest.approx(1, abs=RMS_TOLERANCE)
    power = np.abs(np.fft.rfft(noise)) ** 2
    low, high = power[90 * 5 : 110 * 5].mean(), power[2000 * 5 : 4000 * 5].mean()
    assert 10 * np.log10(low / high) == pytest.approx(20, abs=1.5)


def test_struck_bodies_ring_at_their_modes() -> None:
    rung = blocks.modes(np.random.default_rng(0), [500.0], [0.5], [1.0], 1.0)
    spectrum = np.abs(np.fft.rfft(rung))
    assert spectrum.argmax() == 500
    first, later = rung[: SAMPLE_RATE // 10], rung[SAMPLE_RATE // 2 :][: SAMPLE_RATE // 10]
    assert 20 * np.log10(first.std() / later.std()) == pytest.approx(60, abs=2), "60 dB in half a second"


def test_voices_have_the_pitch_asked_for() -> None:
    f0 = np.full(CLIP_SAMPLES, 200.0)
    voice = blocks.voice(np.random.default_rng(0), f0, 1.0, [(0, "a"), (5, "a")], jitter=0.0, shimmer=0.0)
    spectrum = np.abs(np.fft.rfft(voice))
    peaks = spectrum[: 3000 * 5].reshape(-1, 5 * 100).argmax(axis=1)
    loud = spectrum[: 3000 * 5].reshape(-1, 5 * 100).max(axis=1)
    assert loud[::2].min() > 10 * np.median(spectrum), "harmonics of 200 Hz"
    assert set(peaks[::2]) <= {0, 1}


def test_everything_is_recorded_at_some_level() -> None:
    tone = blocks.swept(1000.0)
    for seed in range(5):
        recorded = blocks.recorded(tone, np.random.default_rng(seed))
        assert recorded.dtype == np.float32
        assert np.abs(recorded).max() <= 1
        assert -40 < 20 * np.log10(recorded.std()) < -8


def test_recipes_are_meant_for_classes_of_audioset() -> None:
    names = set(labels.audioset().names)
    assert len(recipes.EVENTS) > 100
    for name, recipe in recipes.EVENTS.items():
        assert set(recipe.classes) <= names, name
    assert all(set(genre.classes) <= names for genre in bands.GENRES.values())
    kinds = [*singing.KINDS.values(), *songs.DUETS.values()]
    assert all(set(classes) <= names for classes in kinds)


@pytest.mark.parametrize("name", ["rain", "car idling", "church bell", "sawing", "birds", "pulse"])
def test_recipes_draw_five_seconds_of_their_own(name: str) -> None:
    draw = recipes.EVENTS[name].draw
    first, again, other = (draw(Lineage([seed])) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (CLIP_SAMPLES,)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert first.std() > 1e-3


def test_chosen_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = chosen.read_chosen()
    assert len(rows) == len(set(rows)), "every sound once"
    assert all(f"chosen {row.group}" in STEPS for row in rows)
    path = tmp_path / "chosen.csv"
    header = "group,generator,recipe,seeds\n"
    for line in (
        "tones,events,no such,1",
        "tones,events,pulse,",
        "tones,events,pulse,1 x",
        "tunes,events,pulse,1",
    ):
        path.write_text(header + line + "\n", encoding="utf-8")
        with pytest.raises(PoolError, match=r"line 2: .* is not a group"):
            chosen.read_chosen(path)
    path.write_text(header + "tones,events,pulse,1 5\nanimals,events,birds,2\n", encoding="utf-8")
    read = chosen.read_chosen(path)
    monkeypatch.setattr(chosen, "read_chosen", lambda: read)
    ((name, sound),) = STEPS["chosen tones"].make()
    assert name == "pulse 1 5"
    np.testing.assert_array_equal(sound, recipes.EVENTS["pulse"].draw(Lineage([1, 5])))


def test_scores_of_bands() -> None:
    for name, genre in bands.GENRES.items():
        clean, dirty, song = bands.track(np.random.default_rng(1), name, 5.0)
        again = bands.track(np.random.default_rng(1), name, 5.0)
        assert (clean, dirty, song) == again
        assert song.singer in genre.singers
        assert genre.drive or not dirty, name
        assert all(0 <= time_s < 15 for time_s, _ in clean + dirty), name
        assert midi.midi_file(clean)
        assert song.singer is None or song.singer in singing.SINGERS or song.singer[:5] in ("rap", "choir")


@pytest.mark.parametrize("program", [0, 4, 10, 19, 22, 25, 30, 33, 38, 48, 52, 57, 66, 73, 81, 87, 95, 104])
def test_instruments_of_our_own_play_in_tune(program: int) -> None:
    sound = instruments.instrument(np.random.default_rng(0), program, 220.0, 1.0, np.full(8, 0.5))
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(1)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * SAMPLE_RATE)) ** 2
    hertz = np.arange(len(spectrum)) / 4
    octave_hz = 110 if program == 19 else 220  # the organ has a stop an octave below
    off = np.abs(hertz / octave_hz - np.round(hertz / octave_hz)) * octave_hz
    assert spectrum[off < 12].sum() > 0.95 * spectrum.sum(), "nearly all of it is in harmonics"


def test_notes_are_heard_as_written() -> None:
    score = [midi.program(2, 40), *midi.note(0.5, 0.25, 2, 60, 90), *midi.note(0.6, 0.1, 2, 60, 80)]
    notes, programs = instruments.heard(score)
    assert programs == {2: 40}
    assert [(note.start_s, round(note.length_s, 3), note.velocity) for note in notes] == [
        (0.5, 0.2, 90),
        (0.6, 0.15, 80),
    ]


def test_amplifiers_distort() -> None:
    tone = blocks.swept(200.0)
    soft, hard = (bands.amplifier(tone, drive, np.random.default_rng(0)) for drive in (0.0, 2.0))

    def harmonics(wave: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(wave)) ** 2
        return float(spectrum[300 * 5 :].sum() / spectrum.sum())

    assert harmonics(hard) > harmonics(soft) > 1e-6


def test_nothing_sings_with_the_held_out_voice() -> None:
    assert speech.HELD_OUT_VOICE not in {singer.voice for singer in singing.SINGERS.values()}


def test_singing_holds_its_notes() -> None:
    if shutil.which("flite") is None:
        pytest.skip("Flite is not installed")
    wave = singing.sung(
        np.random.default_rng(0), "slt", "la la la", [(57, 2.0)], 0.6, vibrato=0.0, drift=0.0, breath=0.0
    )
    middle = wave[SAMPLE_RATE // 2 : SAMPLE_RATE]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 8 * len(middle)))
    peak_hz = spectrum[: 300 * 4].argmax() / 4
    assert peak_hz == pytest.approx(220, rel=0.02)


def bank_of_tones(folder: Path, licences: list[str], splits: list[str]) -> Path:
    times = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    numbers = range(len(licences))
    clips = [as_pcm(0.3 * np.sin(2 * np.pi * (300 + 100 * number) * times)) for number in numbers]
    names = [f"/{number}.wav" for number in numbers]
    packages = ["birds" for _ in numbers]
    return write_bank_of(folder, clips, package=packages, file=names, licence=licences, split=splits)


def write_compositions(path: Path, *rows: tuple[str, int, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("kind", "seed", "sources"), *rows])
    return path


def test_composed_banks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = bank_of_tones(tmp_path / "bank", ["MIT or GPL-2", "GPL-3", "CC0"], ["train", "train", "valid"])
    two = "birds|/0.wav|0.0 ; birds|/1.wav|0.0"
    table = write_compositions(
        tmp_path / "table.csv",
        *((kind, 3, two) for kind in compose.KINDS),
        ("loop", 4, "birds|/2.wav|0.0"),
    )
    folder = tmp_path / "composed"
    assert compose.main([str(table), str(folder), str(bank)]) == 0
    assert capsys.readouterr().out == f"{folder}: 7 clips\n"
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["licence"] == "MIT and GPL-3"
    assert [(row["tier"], row["split"]) for row in rows] == [
        *([("share-alike", "train")] * 6),
        ("permissive", "valid"),
    ]
    clips = np.load(folder / "pool.npy")
    assert clips.shape == (7, CLIP_SAMPLES)
    assert all(np.abs(clip.astype(int)).max() > 100 for clip in clips)
    sources = compose.Sources([bank])
    waves = [sources.read(clip) for clip in sources.find(two.split(" ; "))]
    again = compose.compose("layer", 3, waves)
    np.testing.assert_allclose(clips[2] / 32767, again, rtol=0, atol=PCM_TOLERANCE)
    spectrum = np.abs(np.fft.rfft(again))
    assert spectrum[250 * 5 : 450 * 5].sum() > 10 * spectrum[1000 * 5 : 1200 * 5].sum()


def test_compositions_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = bank_of_tones(tmp_path / "bank", ["CC0", "CC0"], ["train", "valid"])
    for row, message in (
        (("loop", 1, "cats|/0.wav|0.0"), "no bank has the clip 'cats|/0.wav|0.0'"),
        (("layer", 1, "birds|/0.wav|0.0 ; birds|/1.wav|0.0"), "of both splits"),
        (("twist", 1, "birds|/0.wav|0.0"), "line 2: got 'twist'"),
    ):
        table = write_compositions(tmp_path / "table.csv", row)
        assert compose.main([str(table), str(tmp_path / "composed"), str(bank)]) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "composed" / "index.csv").exists()
    rows = (("loop", 1, "cats|/0.wav|0.0"), ("loop", 2, "birds|/0.wav|0.0"))
    table = write_compositions(tmp_path / "table.csv", *rows)
    assert compose.main([str(table), str(tmp_path / "composed"), str(bank), "--keep-going"]) == 0
    said = capsys.readouterr()
    assert "left out: loop 1, missing from all banks: cats|/0.wav|0.0" in said.err
    assert "1 clips, 1 left out" in said.out

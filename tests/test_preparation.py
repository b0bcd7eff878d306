"""Preparations: what the field's tools make of a file, and the filters of torchaudio by their definition."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from seeded_models import golden_arrays

from pannsx.audio import Preparation, av_bench, load
from pannsx.audio.preparation import PRESETS
from pannsx.audio.resample import output_length, resample
from pannsx.audio.sinc import DESIGNS
from pannsx.errors import AudioError

# Of full scale. torchaudio sums up to 400 products in float32 one after the other, which is off by 1e-6.
OF_TOOLS = 2e-6
# Weights are rounded to float32 and summed from both ends, ours as in the resampler's other filter.
OF_DEFINITION = 1e-6

TOOLS = {
    "audioldm_eval": PRESETS["audioldm_eval"],
    "av_bench_2s": av_bench(2.0),
    "kadtk_float": replace(PRESETS["kadtk"], sixteen_bit=False),
}
NAMES = ["stereo_44100", "mono_48000", "mono_16000"]


def golden_audio(name: str) -> tuple[np.ndarray, int]:
    return golden_arrays("generation.npz")[f"audio/{name}"], int(name.rpartition("_")[2])


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", NAMES)
def test_makes_the_tools_waveforms(tool: str, name: str) -> None:
    audio, rate = golden_audio(name)
    expected = golden_arrays("generation.npz")[f"prepared/{tool}/{name}"]
    found = TOOLS[tool].load(audio, 16_000, source_rate=rate)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= OF_TOOLS
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format="WAV")
    np.testing.assert_array_equal(TOOLS[tool].load(file.getvalue(), 16_000), found)


def test_every_golden_waveform_is_compared() -> None:
    prepared = {key for key in golden_arrays("generation.npz") if key.startswith("prepared/")}
    assert prepared == {f"prepared/{tool}/{name}" for tool in TOOLS for name in NAMES}


def test_the_preset_of_pannsx_is_what_load_gives() -> None:
    audio, rate = golden_audio("stereo_44100")
    found = PRESETS["pannsx"].load(audio, 16_000, source_rate=rate)
    np.testing.assert_array_equal(found, load(audio, 16_000, source_rate=rate).waveform)


def by_definition(waveform: np.ndarray, from_rate: int, to_rate: int, filter_: str) -> np.ndarray:
    """Output by output in float64, but for the times of a period, which torchaudio rounds to float32."""
    design = DESIGNS[filter_]
    cutoff = min(1.0, to_rate / from_rate) * design.rolloff
    divisor = math.gcd(from_rate, to_rate)
    up, down = to_rate // divisor, from_rate // divisor
    n = np.arange(len(waveform))
    out = []
    for m in range(math.ceil(len(waveform) * to_rate / from_rate)):
        time = down * (m // up + float(np.float32(m % up) / np.float32(up)))
        crossings = (n - time) * cutoff
        x = np.clip(crossings / design.n_crossings, -1, 1)
        if design.beta is None:
            window = np.cos(np.pi * x / 2) ** 2
        else:
            window = np.i0(design.beta * np.sqrt(1 - x**2)) / np.i0(design.beta)
        weights = np.where(np.abs(x) < 1, cutoff * np.sinc(crossings) * window, 0.0)
        out.append(weights @ waveform)
    return np.array(out)


@pytest.mark.parametrize("filter_", ["hann6", "kaiser64"])
@pytest.mark.parametrize(
    "rates", [(48_000, 16_000), (8_000, 16_000), (44_100, 16_000), (22_050, 32_000), (11_025, 16_000)]
)
def test_filters_equal_their_definition(filter_: str, rates: tuple[int, int]) -> None:
    waveform = np.random.default_rng(0).uniform(-1, 1, 777).astype(np.float32)
    found = resample(waveform, *rates, filter=filter_)  # type: ignore[arg-type]
    expected = by_definition(waveform, *rates, filter_)
    assert found.shape == expected.shape == (output_length(777, *rates, filter_),)  # type: ignore[arg-type]
    assert np.abs(found - expected).max() <= OF_DEFINITION


@pytest.mark.parametrize("filter_", ["hann6", "kaiser64"])
def test_rates_with_nothing_in_common(filter_: str) -> None:
    waveform = np.random.default_rng(0).uniform(-1, 1, 15_000).astype(np.float32)
    rates = 999_983, 16_000
    found = resample(waveform, *rates, filter=filter_)  # type: ignore[arg-type]
    assert np.abs(found - by_definition(waveform, *rates, filter_)).max() <= OF_DEFINITION


def test_unknown_filters_and_presets_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'hann7'.*kaiser_best, hann6, kaiser64"):
        resample(np.zeros(4, np.float32), 8_000, 16_000, filter="hann7")  # type: ignore[arg-type]
    for bad, said in (
        ({"channels": "second"}, "channels is 'second'; use one of mean, first"),
        ({"resampler": "soxr"}, "resampler is 'soxr'"),
        ({"longest_s": 0.0}, "longest_s is 0.0"),
        ({"shortest_samples": -1}, "shortest_samples is -1"),
    ):
        with pytest.raises(ValueError, match=said):
            Preparation("mine", **bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no preparation 'kaldi'; use audioldm_eval"):
        Preparation.named("kaldi")
    with pytest.raises(ValueError, match="the length in 'av_bench:long' is not a number of seconds"):
        Preparation.named("av_bench:long")


def test_presets_by_name() -> None:
    assert {name: Preparation.named(name) for name in PRESETS} == PRESETS
    assert Preparation.named("av_bench:10").longest_s == 10
    assert PRESETS["av_bench"].longest_s == 8


def test_steps_are_done_in_their_order() -> None:
    stereo = np.array([[0.5, 0.1], [0.25, 0.1], [0.0, 0.1], [0.25, 0.1]], np.float32)
    made = Preparation("mine", channels="first", remove_mean=True, longest_s=3 / 8000, shortest_samples=5)
    assert made.load(stereo, 8_000).tolist() == [0.25, 0.0, -0.25, 0.0, 0.0]  # the mean is that of all four
    rounded = replace(made, sixteen_bit=True, remove_mean=False)
    assert rounded.load(np.array([1.5, -1.5, 0.4 / 32768], np.float32), 8_000).tolist() == [
        32767 / 32768, -1.0, 0.0, 0.0, 0.0,
    ]  # fmt: skip


def test_bad_audio_is_refused_whatever_the_channel() -> None:
    for preparation in PRESETS.values():
        with pytest.raises(AudioError, match="NaN at sample 1"):
            preparation.load(np.array([[0.0, 0.0], [np.nan, 0.0]], np.float32), 8_000)
        with pytest.raises(AudioError, match="no file"):
            preparation.load("nothing.wav", 8_000)


def test_a_truncated_file_is_refused_whatever_the_channel() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((8_000, 2)), 8_000, format="WAV")
    for preparation in PRESETS.values():
        with pytest.raises(AudioError, match="truncated"):
            preparation.load(file.getvalue()[:20_000], 8_000)


def test_descriptions_come_back_and_say_where_they_differ() -> None:
    for preparation in PRESETS.values():
        assert Preparation.of_json(preparation.as_json()) == preparation
        assert preparation.differences(replace(preparation, name="another")) == []
    found = PRESETS["audioldm_eval"].differences(PRESETS["av_bench"])
    assert found == ["channels 'first' and 'mean'", "longest_s None and 8.0", "shortest_samples 32000 and 0"]
    assert "first channel, mean removed, resampled with hann6" in str(PRESETS["audioldm_eval"])
    with pytest.raises(ValueError, match="not a preparation"):
        Preparation.of_json({"name": "mine"})

"""Sample rate conversion: the physics of it, resampy as the reference, and pieces against the whole."""

from __future__ import annotations

import numpy as np
import pytest
import resampy
from hypothesis import given, settings
from hypothesis import strategies as st

from pannsx.audio import polyphase
from pannsx.audio.resample import StreamResampler, output_length, resample
from pannsx.errors import AudioError

# Up to 2.5e-4 is resampy's own, which rounds the stride through its filter table to whole entries.
PASS_BAND_ERROR = 3e-4
# kaiser_best attenuates by more than 90 dB beyond its transition.
STOP_BAND_LEVEL = 1e-4
# The filter reaches over 50 zero crossings; near the ends the sine is cut off.
EDGE_S = 0.02

OF_FULL_SCALE = 1e-6  # float32 sums of a hundred to three thousand products
# resampy's time stamps are rounded: where one should meet a sample, it may use the filter's other side.
WHERE_RESAMPY_ROUNDS = 1e-4

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 47_999, 48_000])


def sine(frequency: float, rate: int, duration_s: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(duration_s * rate)) / rate).astype(np.float32)


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n_samples) * 0.3).astype(np.float32)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44_100, 32_000), (8_000, 32_000), (48_000, 8_000)])
@pytest.mark.parametrize("frequency", [50.0, 997.0, 3_000.0])
def test_a_sine_in_band_keeps_amplitude_and_phase(from_rate: int, to_rate: int, frequency: float) -> None:
    converted = resample(sine(frequency, from_rate), from_rate, to_rate)
    expected = sine(frequency, to_rate)
    inside = slice(round(EDGE_S * to_rate), -round(EDGE_S * to_rate))
    np.testing.assert_allclose(converted[inside], expected[inside], rtol=0, atol=PASS_BAND_ERROR)


@pytest.mark.parametrize("frequency", [4_500.0, 10_000.0, 15_900.0])
def test_what_lies_above_the_new_nyquist_frequency_is_removed(frequency: float) -> None:
    converted = resample(sine(frequency, 32_000), 32_000, 8_000)
    inside = slice(round(EDGE_S * 8_000), -round(EDGE_S * 8_000))
    assert np.abs(converted[inside]).max() < STOP_BAND_LEVEL


@pytest.mark.parametrize(
    "from_rate",
    [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000],
)
@pytest.mark.parametrize("to_rate", [8_000, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_equals_resampy(from_rate: int, to_rate: int) -> None:
    if from_rate == to_rate:
        return
    waveform = np.random.default_rng(0).uniform(-1, 1, from_rate + 7)
    expected = resampy.resample(waveform, from_rate, to_rate, filter="kaiser_best")
    assert np.abs(resample(waveform, from_rate, to_rate) - expected).max() <= OF_FULL_SCALE


@pytest.mark.parametrize("rates", [(47_999, 32_000), (44_100, 44_099), (11_024, 11_025)])
def test_rates_with_little_in_common(rates: tuple[int, int]) -> None:
    waveform = noise(rates[0] // 2 + 7)
    expected = resampy.resample(waveform, *rates, filter="kaiser_best")
    error = np.abs(resample(waveform, *rates) - expected)
    assert error.max() <= WHERE_RESAMPY_ROUNDS
    assert np.median(error) <= OF_FULL_SCALE


def test_rates_with_nothing_in_common_go_through_resampys_loop() -> None:
    waveform = noise(30_000)
    expected = resampy.resample(waveform, 9_999_991, 32_000, filter="kaiser_best")
    np.testing.assert_allclose(resample(waveform, 9_999_991, 32_000), expected, atol=OF_FULL_SCALE)


@pytest.mark.parametrize("n_samples", [1, 2, 3, 17])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(48_000, 8_000), (44_100, 32_000), (8_000, 32_000)])
def test_the_shortest_sounds_stay_sounds(n_samples: int, from_rate: int, to_rate: int) -> None:
    converted = resample(np.full(n_samples, 0.5, np.float32), from_rate, to_rate)
    assert converted.dtype == np.float32
    assert converted.shape == (output_length(n_samples, from_rate, to_rate),)
    assert converted.shape[0] >= 1
    assert np.any(converted != 0)


def test_output_length_rounds_down_but_not_to_nothing() -> None:
    assert output_length(44_101, 44_100, 32_000) == 32_000
    assert output_length(1, 48_000, 8_000) == 1
    assert output_length(0, 48_000, 8_000) == 0
    assert resample(np.empty(0, np.float32), 48_000, 8_000).shape == (0,)


def test_equal_rates_give_the_waveform_itself() -> None:
    waveform = noise(100)
    assert resample(waveform, 32_000, 32_000) is waveform


def test_neither_argument_nor_strides_matter() -> None:
    stereo = np.stack([noise(2_000), noise(2_000, 1)], axis=1)
    before = stereo.copy()
    strided = resample(stereo[:, 0], 44_100, 32_000)
    np.testing.assert_array_equal(strided, resample(stereo[:, 0].copy(), 44_100, 32_000))
    np.testing.assert_array_equal(stereo, before)


def test_arrays_that_are_read_only_or_not_aligned_need_no_other_machine_code() -> None:
    """Numba compiles for each kind of array: some seconds, at the first of its kind."""
    waveform = noise(2_000)
    expected = resample(waveform, 44_100, 32_000)
    n_compiled = len(getattr(polyphase._kernel(), "signatures", []))
    fixed = np.frombuffer(waveform.tobytes(), np.float32)
    unaligned = np.frombuffer(b"0" + waveform.tobytes(), np.float32, offset=1)
    for array in (fixed, unaligned):
        np.testing.assert_array_equal(resample(array, 44_100, 32_000), expected)
    assert len(getattr(polyphase._kernel(), "signatures", [])) == n_compiled


@pytest.mark.parametrize(("from_rate", "to_rate"), [(0, 8_000), (8_000, 0), (-1, 8_000)])
def test_rates_must_be_positive(from_rate: int, to_rate: int) -> None:
    with pytest.raises(AudioError, match="at least 1 Hz"):
        resample(noise(10), from_rate, to_rate)


def test_rates_too_far_apart_are_refused() -> None:
    with pytest.raises(AudioError, match="differ by a factor of 8192"):
        resample(noise(10), 10_000_000, 100)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    from_rate=RATES,
    to_rate=RATES,
    lengths=st.lists(st.integers(0, 4_000), min_size=1, max_size=8),
    part=st.tuples(st.floats(0, 1), st.floats(0, 1)) | st.none(),
)
def test_pieces_and_parts_are_the_whole_bit_for_bit(
    from_rate: int, to_rate: int, lengths: list[int], part: tuple[float, float] | None
) -> None:
    waveform = noise(sum(lengths) + 1)
    whole = resample(waveform, from_rate, to_rate)
    first, stop = 0, None
    if part is not None:
        first, last = (round(share * (len(whole) - 1)) for share in sorted(part))
        stop = last + 1
    resampler = StreamResampler(from_rate, to_rate, first_out=first, stop_out=stop)
    end = len(waveform) if resampler.stop_in is None else min(len(waveform), resampler.stop_in)
    cuts = np.clip(np.cumsum(lengths), resampler.first_in, end)
    pieces = np.split(waveform[:end], cuts)
    pieces[0] = pieces[0][resampler.first_in :]
    out = [resampler.push(piece) for piece in pieces]
    out.append(resampler.finish())
    np.testing.assert_array_equal(np.concatenate(out), whole[first:stop])

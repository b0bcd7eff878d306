"""The log-mel front end: two implementations, one float64 definition, and the published numbers."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pannsx.frontend.definition import (
    hann_window,
    hz_to_mel,
    mel_filters,
    mel_to_hz,
    reference_log_mel,
    reflected_indices,
)
from pannsx.frontend.kernel import compiled_kernel
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.frontend.settings import FrontEnd
from pannsx.frontend.torch_logmel import LogMel
from pannsx.inference.cpu.workers import Workers

GOLDEN = Path(__file__).parent / "golden"

KERNEL_DB = 2e-4
"""The kernel's bound on the golden input and on noise: its order of operations is ours on every processor."""

U = 2.0**-24
"""Relative error of one float32 rounding."""

AMPLITUDE_ERROR = 8 * U
"""Of a band's amplitude, the square root of its mel power, relative to :func:`greatest_amplitude`.

The law of any float32 front end, whatever the order in which its transform adds. Window and products round
each sample by about 0.6 U; a fast transform adds about 0.6 U sqrt(log2 n_fft) (Schatzman 1996). Both are root
mean squares relative to that of the bins: 2.2 U at most, for n_fft = 4096. Such errors lie like noise, so
the largest of 100,000 is sqrt(ln 100,000) = 3.4 times as large: 7.5 U. The root mean square of the bins is
at most their greatest, and the band's root of a weighted sum of squares moves by no more than that of the
errors. In decibels it follows that a band D dB below the greatest is exact within
20 log10(1 + 8 U 10^(D/20)): 4.2e-4 dB at D = 40, 4e-6 dB at D = 0."""

OWN_ERROR = 2e-6
"""Of a band's own amplitude: float32 decibels near 100 are 8e-6 dB apart, 1e-6 of the amplitude, and the
sum of a band and its logarithm round as often as that."""

SETTINGS = {
    "32k_mel64": FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14000),
    "32k_mel32": FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=32, fmin=50, fmax=14000),
    "32k_mel128": FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=128, fmin=50, fmax=14000),
    "16k_mel64": FrontEnd(sample_rate=16000, n_fft=512, hop_length=160, n_mels=64, fmin=50, fmax=8000),
    "8k_mel64": FrontEnd(sample_rate=8000, n_fft=256, hop_length=80, n_mels=64, fmin=50, fmax=4000),
}


def by_kernel(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    return LogMelKernel(frontend)(waveform)


def by_torch(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    return LogMel(frontend)(torch.from_numpy(waveform)[None])[0].numpy()


IMPLEMENTATIONS = {"kernel": by_kernel, "torch": by_torch}


@pytest.fixture(params=IMPLEMENTATIONS)
def log_mel(request):
    return IMPLEMENTATIONS[request.param]


def greatest_amplitude(waveform: np.ndarray, frontend: FrontEnd) -> np.ndarray:
    """``(T, 1)`` root of the greatest mel power a band could have, were all its bins a frame's loudest."""
    padded = waveform[reflected_indices(len(waveform), frontend.n_fft // 2)].astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, frontend.n_fft)[:: frontend.hop_length]
    loudest = np.abs(np.fft.rfft(frames * hann_window(frontend.n_fft), axis=-1)).max(-1)
    return (loudest * np.sqrt(mel_filters(frontend).sum(0).max()))[:, None]


def assert_float32_exact(computed: np.ndarray, exact: np.ndarray, greatest: np.ndarray) -> None:
    """``(T, F)`` log-mels in dB agree as far as float32 goes; ``greatest`` is ``(T, 1)``."""
    one, other = (10 ** (decibels.astype(np.float64) / 20) for decibels in (computed, exact))
    assert (np.abs(one - other) <= AMPLITUDE_ERROR * greatest + OWN_ERROR * other).all()


@pytest.mark.parametrize("setting", SETTINGS)
def test_golden(log_mel, setting):
    frontend = SETTINGS[setting]
    waveform = np.load(GOLDEN / "inputs.npz")[f"w{frontend.sample_rate}"].astype(np.float32) / 32768
    expected = np.load(GOLDEN / "frontend.npz")[f"logmel/{setting}"]
    computed = log_mel(waveform, frontend)
    assert computed.shape == expected.shape
    assert_float32_exact(computed, expected, greatest_amplitude(waveform, frontend))
    if log_mel is by_kernel:
        assert np.abs(computed - expected).max() <= KERNEL_DB
    # Both from float64; the recorded values are float32, and those near 100 dB are 8e-6 dB apart.
    assert np.abs(reference_log_mel(waveform, frontend) - expected).max() <= 1e-5


@pytest.mark.parametrize("setting", SETTINGS)
def test_broadband_noise(log_mel, setting):
    frontend = SETTINGS[setting]
    noise = np.random.default_rng(1).standard_normal(3 * frontend.sample_rate).astype(np.float32) / 8
    computed, exact = log_mel(noise, frontend), reference_log_mel(noise, frontend)
    assert_float32_exact(computed, exact, greatest_amplitude(noise, frontend))
    if log_mel is by_kernel:
        assert np.abs(computed - exact).max() <= KERNEL_DB


@st.composite
def front_ends(draw):
    n_fft = 2 ** draw(st.integers(6, 12))
    sample_rate = draw(st.sampled_from([8000, 16000, 22050, 32000, 44100, 48000]))
    fmin = draw(st.floats(0, sample_rate / 8))
    fmax = draw(st.floats(fmin + 100, sample_rate / 2))
    return FrontEnd(
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop_length=draw(st.integers(max(1, n_fft // 512), 2 * n_fft)),  # else 3,000 frames of 4,096 bins
        n_mels=draw(st.integers(1, 140)),
        fmin=fmin,
        fmax=fmax,
    )


@st.composite
def waveforms(draw):
    n = draw(st.integers(1, 3000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t = np.arange(n)
    kinds = {
        "noise": rng.standard_normal(n),
        "silence": np.zeros(n),
        "constant": np.ones(n),
        "full scale": np.sign(rng.standard_normal(n)),
        "tone": np.sin(t * rng.uniform(0, np.pi)),
        "impulse": (t == rng.integers(n)).astype(float),
        "onset": rng.standard_normal(n) * (t > n // 2),
        "quiet then loud": rng.standard_normal(n) * np.where(t > n // 2, 1, 1e-5),
        "offset": 0.9 + 1e-3 * rng.standard_normal(n),
    }
    gain = 10.0 ** draw(st.integers(-4, 0))
    return (gain * kinds[draw(st.sampled_from(sorted(kinds)))]).astype(np.float32)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(waveform=waveforms(), frontend=front_ends())
def test_power_is_exact_relative_to_the_loudest(implementation, waveform, frontend):
    decibels = IMPLEMENTATIONS[implementation](waveform, frontend)
    exact = reference_log_mel(waveform, frontend)
    assert decibels.shape == exact.shape == (frontend.n_frames(len(waveform)), frontend.n_mels)
    assert decibels.dtype == np.float32
    assert_float32_exact(decibels, exact, greatest_amplitude(waveform, frontend))


def test_silence_is_the_floor(log_mel):
    computed = log_mel(np.zeros(5000, np.float32), SETTINGS["32k_mel64"])
    np.testing.assert_allclose(computed, -100, atol=1e-4)


def test_a_silent_frame_beside_a_loud_one_stays_silent():
    """Frames share vectors in the kernel; none may leak into its neighbour."""
    frontend = SETTINGS["32k_mel64"]
    waveform = np.zeros(64000, np.float32)
    waveform[32000:] = np.random.default_rng(2).standard_normal(32000)
    assert (by_kernel(waveform, frontend)[: 100 - 2] <= -99.99).all()


@pytest.mark.parametrize("n_samples", [1, 2, 3, 319, 320, 321, 511, 512, 513, 1023, 1024, 5119, 5120, 5121])
def test_short_and_odd_lengths(log_mel, n_samples):
    frontend = SETTINGS["32k_mel64"]
    waveform = np.random.default_rng(n_samples).standard_normal(n_samples).astype(np.float32)
    expected = reference_log_mel(waveform, frontend)
    computed = log_mel(waveform, frontend)
    assert computed.shape == (n_samples // 320 + 1, 64)
    assert_float32_exact(computed, expected, greatest_amplitude(waveform, frontend))


@given(n=st.integers(1, 40), pad=st.integers(0, 100))
@settings(deadline=None, derandomize=True)
def test_reflection_is_numpys(n, pad):
    x = np.arange(n)
    np.testing.assert_array_equal(x[reflected_indices(n, pad)], np.pad(x, pad, mode="reflect"))


def test_not_finite_is_not_silence(log_mel):
    waveform = np.zeros(3200, np.float32)
    waveform[1600] = np.nan
    assert np.isnan(log_mel(waveform, SETTINGS["32k_mel64"])).any()


def test_kernel_is_compiled():
    frontend = SETTINGS["32k_mel64"]
    kernel = LogMelKernel(frontend)
    kernel(np.zeros(1000, np.float32))
    function = compiled_kernel(1024, (8, 8, 8))
    assert function.nopython_signatures, "the kernel ran interpreted"


def test_the_module_computes_in_float32_under_autocast():
    module = LogMel(SETTINGS["32k_mel64"])
    waveform = torch.from_numpy(0.1 * np.random.default_rng(0).standard_normal((1, 32000)).astype(np.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = module(waveform)
    torch.testing.assert_close(reduced, module(waveform), atol=0, rtol=0)


def test_the_kernel_gives_the_same_on_several_threads():
    kernel = LogMelKernel(SETTINGS["32k_mel64"])
    waveform = np.random.default_rng(0).standard_normal(32000 * 5).astype(np.float32)
    workers = Workers()
    np.testing.assert_array_equal(kernel(waveform, workers), kernel(waveform))
    np.testing.assert_array_equal(kernel(waveform[:999], workers), kernel(waveform[:999]))


def test_threads_do_not_share_scratch_memory():
    frontend = SETTINGS["16k_mel64"]
    kernel = LogMelKernel(frontend)
    rng = np.random.default_rng(3)
    clips = [rng.standard_normal(16000 + 777 * i).astype(np.float32) for i in range(8)]
    alone = [kernel(clip) for clip in clips]
    together: list[list[np.ndarray]] = [[] for _ in clips]

    def work(i: int) -> None:
        for _ in range(5):
            together[i].append(kernel(clips[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, results in enumerate(together):
        assert len(results) == 5
        assert all(np.array_equal(result, alone[i]) for result in results)


def test_wrong_shape_is_an_error():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        LogMelKernel(SETTINGS["32k_mel64"])(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="at least one sample"):
        LogMelKernel(SETTINGS["32k_mel64"])(np.zeros(0, np.float32))


def test_torch_module_holds_no_state_and_batches():
    module = LogMel(SETTINGS["32k_mel64"])
    assert module.state_dict() == {}
    batch = torch.from_numpy(np.random.default_rng(4).standard_normal((3, 8000)).astype(np.float32))
    together = module(batch)
    for waveform, computed in zip(batch.numpy(), together.numpy(), strict=True):
        exact = reference_log_mel(waveform, module.frontend)
        assert_float32_exact(computed, exact, greatest_amplitude(waveform, module.frontend))


def test_torch_module_has_gradients():
    waveform = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    LogMel(SETTINGS["32k_mel64"])(waveform).sum().backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()


def test_mel_scale():
    hz = np.linspace(0, 20000, 1000)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-6)
    assert hz_to_mel(1000.0) == pytest.approx(15)
    assert hz_to_mel(6400.0) == pytest.approx(15 + 27)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fft": 1000}, "power of two"),
        ({"n_fft": 8192}, "from 64 to 4096"),
        ({"hop_length": 0}, "hop_length is 0"),
        ({"fmax": 17000}, "half the sample rate"),
        ({"fmin": 15000}, "fmin is 15000"),
    ],
)
def test_impossible_settings(change, message):
    settings_ = dict(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14000)  # noqa: C408
    with pytest.raises(ValueError, match=message):
        FrontEnd(**{**settings_, **change})

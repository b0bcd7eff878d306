"""How fast is the log-mel front end, and how exact?

    python -m benchmarks.frontend

One thread by default: the kernel computes on the calling thread, so peers get one as well.  An error is the
largest difference from the float64 definition, in dB, for mel powers above -80 dB: at the floor of -100 dB
a comparison is meaningless.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks import harness
from benchmarks.material import Samples, sound
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import alternate, paired_ratio
from pannsx.frontend.definition import hann_window, mel_filters, reference_log_mel
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.frontend.settings import FrontEnd
from pannsx.frontend.torch_logmel import LogMel
from pannsx.inference.cpu.cores import n_processors
from pannsx.inference.cpu.workers import Workers
from pannsx.weights.manifest import load_manifest

QUESTION = harness.Question(
    "frontend",
    "How fast is the log-mel front end, and how exact?",
    rounds=40,
    quick_rounds=4,
    one_thread=True,
)
FRONT_END = FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14000)
OURS, ROUTE = "pannsx kernel", "torch.stft route"
AUDIBLE_DB = -80.0
AMIN = 1e-10


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    for title, n_samples in (("10 s at 32 kHz", 320_000), ("25 ms at 32 kHz", 800)):
        found.comparisons.append(_against_peers(title, n_samples, given.rounds, found))
    ten_seconds = found.comparisons[0]
    found.comparisons += _all_settings(max(3, given.rounds // 4))
    found.facts += _long(ten_seconds.entries[0].times.median, 60 if given.quick else 3600)
    found.facts += _threads(given.threads, max(3, given.rounds // 4))
    if given.threads == 1:
        present = {entry.name for entry in ten_seconds.entries}
        found.goals += [
            Goal(f"times faster than {name}, 10 s, one thread", ten_seconds.ratio(name), least, aim=aim)
            for name, least, aim in ((ROUTE, 2.5, 3.0), ("torchlibrosa", 20.0, None), ("librosa", 5.0, None))
            if name in present
        ]
    return found


def _against_peers(title: str, n_samples: int, rounds: int, found: Findings) -> Comparison:
    waveform = sound(n_samples, FRONT_END.sample_rate)
    makers = [(name, partial(maker, waveform, FRONT_END)) for name, maker in MAKERS.items()]
    calls = gather(makers, found.absent)
    with torch.inference_mode():
        times = alternate(calls, rounds=rounds, pause_s=0.002)
        errors = {
            name: {"max error, dB": error_db(call(), waveform, FRONT_END)} for name, call in calls.items()
        }
    entries = tuple(Entry(name, times[name], errors[name]) for name in calls)
    return Comparison(title, entries, audio_s=n_samples / FRONT_END.sample_rate)


def _all_settings(rounds: int) -> list[Comparison]:
    """Every front end of the manifest, against the fastest plain implementation in torch."""
    comparisons = []
    frontends = {record.frontend for record in load_manifest().values() if record.frontend is not None}
    for frontend in sorted(frontends, key=lambda f: (-f.sample_rate, f.n_fft, f.n_mels)):
        waveform = sound(10 * frontend.sample_rate, frontend.sample_rate)
        calls = {name: MAKERS[name](waveform, frontend) for name in (OURS, ROUTE)}
        with torch.inference_mode():
            times = alternate(calls, rounds=rounds, pause_s=0.002)
            entries = tuple(
                Entry(name, times[name], {"max error, dB": error_db(call(), waveform, frontend)})
                for name, call in calls.items()
            )
        title = (
            f"{frontend.sample_rate // 1000} kHz, {frontend.n_fft} / {frontend.hop_length}, "
            f"{frontend.n_mels} bands to {frontend.fmax:g} Hz"
        )
        comparisons.append(Comparison(title, entries, group="10 s, the settings of every checkpoint"))
    return comparisons


def _long(ten_seconds_s: float, duration_s: int) -> list[Fact]:
    """``duration_s`` in one call: it must not fail, nor take more time per second of audio."""
    waveform = np.tile(sound(320_000, FRONT_END.sample_rate), duration_s // 10)
    call = MAKERS[OURS](waveform, FRONT_END)
    took_s = alternate({OURS: call}, rounds=3, warm_ups=1, shortest_s=0)[OURS].median
    share = took_s / (duration_s / 10 * ten_seconds_s)
    return [
        Fact(f"{duration_s:,} s of audio in one call", took_s, "s"),
        Fact(f"{duration_s:,} s in one call, against calls of 10 s each", share, "times the time"),
    ]


def _threads(given_threads: int, rounds: int) -> list[Fact]:
    """A waveform divided among the pool's threads, and clips on one thread each, against one thread."""
    n = n_processors()
    if n == 1:
        return []
    kernel, workers = LogMelKernel(FRONT_END), Workers()
    rate = FRONT_END.sample_rate
    clips = [sound(10 * rate, rate, seed) for seed in range(8 * n)]
    minute = np.tile(clips[0], 6)

    def share(i: int) -> None:
        for clip in clips[i::n]:
            kernel(clip)

    pairs: dict[str, tuple[Call, Call]] = {
        "10 s": (lambda: kernel(clips[0]), lambda: kernel(clips[0], workers)),
        "a minute": (lambda: kernel(minute), lambda: kernel(minute, workers)),
        "many clips": (lambda: [kernel(clip) for clip in clips], lambda: workers.run(share)),
    }
    facts = []
    torch.set_num_threads(n)  # the pool uses torch's number
    for what, (alone, together) in pairs.items():
        times = alternate({"alone": alone, "together": together}, rounds=rounds)
        gain = paired_ratio(times["alone"].seconds, times["together"].seconds)
        facts.append(Fact(f"{what} on {n} threads, against one", gain, "times as fast"))
    torch.set_num_threads(given_threads)
    return facts


def error_db(log_mel: Any, waveform: Samples, frontend: FrontEnd) -> float:
    """Largest difference from the definition, in dB, of ``(T, F)`` or ``(1, 1, T, F)`` log-mel."""
    reference = reference_log_mel(waveform, frontend)
    difference = np.abs(np.asarray(log_mel, np.float64).reshape(reference.shape) - reference)
    return float(difference[reference > AUDIBLE_DB].max(initial=0.0))


def _kernel(waveform: Samples, frontend: FrontEnd) -> Call:
    kernel = LogMelKernel(frontend)
    return lambda: kernel(waveform)


def _module(waveform: Samples, frontend: FrontEnd) -> Call:
    module, batch = LogMel(frontend), torch.from_numpy(waveform)[None]
    return lambda: module(batch)


def _stft_route(waveform: Samples, frontend: FrontEnd) -> Call:
    """A short implementation in torch, with precomputed tables."""
    window = torch.tensor(hann_window(frontend.n_fft), dtype=torch.float32)
    filters = torch.tensor(mel_filters(frontend).T.copy(), dtype=torch.float32)
    samples = torch.from_numpy(waveform)

    def call() -> torch.Tensor:
        spectrum = torch.stft(
            samples,
            frontend.n_fft,
            frontend.hop_length,
            window=window,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (10.0 * torch.log10((filters @ power).clamp_min(AMIN))).T

    return call


def _torchlibrosa(waveform: Samples, frontend: FrontEnd) -> Call:
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    spectrogram = Spectrogram(n_fft=frontend.n_fft, hop_length=frontend.hop_length, win_length=frontend.n_fft)
    log_mel = LogmelFilterBank(
        sr=frontend.sample_rate,
        n_fft=frontend.n_fft,
        n_mels=frontend.n_mels,
        fmin=frontend.fmin,
        fmax=frontend.fmax,
        amin=AMIN,
        top_db=None,
    )
    both = torch.nn.Sequential(spectrogram, log_mel).eval()
    batch = torch.from_numpy(waveform)[None]
    return lambda: both(batch).detach()


def _librosa(waveform: Samples, frontend: FrontEnd) -> Call:
    """With precomputed filters; ``librosa.feature.melspectrogram`` computes them in every call."""
    import librosa

    filters = librosa.filters.mel(
        sr=frontend.sample_rate,
        n_fft=frontend.n_fft,
        n_mels=frontend.n_mels,
        fmin=frontend.fmin,
        fmax=frontend.fmax,
    )

    def call() -> Samples:
        spectrum = librosa.stft(
            waveform, n_fft=frontend.n_fft, hop_length=frontend.hop_length, pad_mode="reflect"
        )
        power = spectrum.real**2 + spectrum.imag**2
        return np.asarray(librosa.power_to_db(filters @ power, amin=AMIN, top_db=None).T)

    return call


def _nnaudio(waveform: Samples, frontend: FrontEnd) -> Call:
    from nnAudio.features.mel import MelSpectrogram

    module = MelSpectrogram(
        sr=frontend.sample_rate,
        n_fft=frontend.n_fft,
        n_mels=frontend.n_mels,
        hop_length=frontend.hop_length,
        fmin=frontend.fmin,
        fmax=frontend.fmax,
        verbose=False,
    ).eval()
    batch = torch.from_numpy(waveform)[None]
    # Its pad_mode="reflect" is ours, its padding of sounds shorter than half a window fails.
    return lambda: 10.0 * torch.log10(functional.relu(module(batch)).clamp_min(AMIN)).transpose(1, 2)


MAKERS: dict[str, Callable[[Samples, FrontEnd], Call]] = {
    OURS: _kernel,
    "pannsx torch module": _module,
    ROUTE: _stft_route,
    "librosa": _librosa,
    "nnAudio": _nnaudio,
    "torchlibrosa": _torchlibrosa,
}


if __name__ == "__main__":
    main()

"""How fast is the resampler, and how exact?

    python -m benchmarks.resampler

On one thread, like all of these.  Two errors, as parts of full scale: the largest difference from resampy's
``kaiser_best`` in float64, the reference for pannsx (not for soxr, which has another filter by design); and
the largest difference of a converted tone of 1 kHz from the exact one.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.material import Samples, sound
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Findings, Goal
from benchmarks.timing import alternate
from pannsx.audio.resample import StreamResampler, resample

QUESTION = harness.Question(
    "resampler", "How fast is the resampler, and how exact?", rounds=20, quick_rounds=3, one_thread=True
)
FIRST = (44_100, 32_000)
USUAL_RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 48_000, 88_200, 96_000, 176_400, 192_000)
OURS, STREAMED = "pannsx", "pannsx, in blocks of 1 s"
RESAMPY, SOXR = "resampy kaiser_best", "soxr HQ"
FROM_RESAMPY, FROM_TONE = "from float64 resampy", "of a 1 kHz tone"
DURATION_S = 10
EDGE_S = 0.1  # excluded: there, the filter reaches past the end of the tone


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    pairs = [FIRST, *((rate, 32_000) for rate in USUAL_RATES)]
    for from_rate, to_rate in pairs[:3] if given.quick else pairs:
        first = (from_rate, to_rate) == FIRST
        rounds = given.rounds if first else max(3, given.rounds // 4)
        found.comparisons.append(_compare(from_rate, to_rate, rounds, found, first=first))
    first_pair = found.comparisons[0]
    present = {entry.name for entry in first_pair.entries}
    for name, least, aim in ((RESAMPY, 60.0, 120.0), (SOXR, 1.2, 2.0)):
        if name in present and given.threads == 1:
            what = f"times faster than {name}, 44.1 to 32 kHz, one thread"
            found.goals.append(Goal(what, first_pair.ratio(name), at_least=least, aim=aim))
    worst = [
        entry.errors[FROM_RESAMPY]
        for comparison in found.comparisons
        for entry in comparison.entries
        if entry.name == OURS and FROM_RESAMPY in entry.errors
    ]
    if worst:
        what = "largest difference from resampy in float64, of full scale, every rate here"
        found.goals.append(Goal(what, max(worst), at_most=1e-6))
    return found


def _compare(from_rate: int, to_rate: int, rounds: int, found: Findings, *, first: bool) -> Comparison:
    waveform = sound(DURATION_S * from_rate, from_rate)
    makers = {OURS: _ours, STREAMED: _streamed, SOXR: _soxr, RESAMPY: _resampy}
    if not first:
        del makers[STREAMED]
    calls = gather(
        [(name, partial(make, waveform, from_rate, to_rate)) for name, make in makers.items()], found.absent
    )
    times = alternate(calls, rounds=rounds)
    try:
        exact = _resampy(waveform.astype(np.float64), from_rate, to_rate)()
    except ImportError:
        exact = None
    time_s = np.arange(len(waveform)) / from_rate
    tone = np.sin(2000 * np.pi * time_s).astype(np.float32)
    entries = []
    for name, call in calls.items():
        errors = {}
        if exact is not None and name != SOXR:
            errors[FROM_RESAMPY] = _largest(np.asarray(call()) - exact)
        errors[FROM_TONE] = _tone_error(makers[name](tone, from_rate, to_rate)(), to_rate)
        entries.append(Entry(name, times[name], errors))
    return Comparison(
        f"{from_rate / 1000:g} to {to_rate / 1000:g} kHz",
        tuple(entries),
        group="" if first else "10 s from the other usual rates",
        audio_s=DURATION_S,
    )


def _tone_error(converted: Any, rate: int) -> float:
    edge = int(EDGE_S * rate)
    exact = np.sin(2000 * np.pi * np.arange(len(converted)) / rate)
    return _largest((np.asarray(converted) - exact)[edge:-edge])


def _largest(difference: NDArray[np.float64]) -> float:
    return float(np.abs(difference).max())


def _ours(waveform: Samples, from_rate: int, to_rate: int) -> Call:
    return lambda: resample(waveform, from_rate, to_rate)


def _streamed(waveform: Samples, from_rate: int, to_rate: int) -> Call:
    def call() -> Samples:
        resampler = StreamResampler(from_rate, to_rate)
        blocks = [
            resampler.push(waveform[begin : begin + from_rate])
            for begin in range(0, len(waveform), from_rate)
        ]
        return np.concatenate([*blocks, resampler.finish()])

    return call


def _resampy(waveform: NDArray[np.floating[Any]], from_rate: int, to_rate: int) -> Call:
    import resampy

    return lambda: resampy.resample(waveform, from_rate, to_rate, filter="kaiser_best")


def _soxr(waveform: Samples, from_rate: int, to_rate: int) -> Call:
    import soxr

    return lambda: soxr.resample(waveform, from_rate, to_rate, quality="HQ")


if __name__ == "__main__":
    main()

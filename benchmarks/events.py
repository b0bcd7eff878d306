"""How fast are events found in frames?

    python -m benchmarks.events

Ten minutes of frames 0.02 s apart, 527 classes, on one thread: a few simultaneous events above a floor of
noise, as in the output of networks; and, as the worst case, all classes rising and falling continuously.
The peer is a plain NumPy loop, class by class; it finds the same events.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks import harness
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import alternate
from pannsx.events import Event, detect, frame_edges

QUESTION = harness.Question(
    "events", "How fast are events found in frames?", rounds=20, quick_rounds=3, one_thread=True
)
HOP_S, N_CLASSES, DURATION_S = 0.02, 527, 600
LABELS = [f"class {k}" for k in range(N_CLASSES)]
OURS, PEER = "pannsx", "NumPy, a class at a time"
SETTINGS: dict[str, dict[str, float | int]] = {
    "one threshold": {"threshold": 0.5},
    "hysteresis": {"threshold": 0.5, "off_threshold": 0.2},
    "hysteresis, median of 0.3 s, gaps and shortest": {
        "threshold": 0.5, "off_threshold": 0.2, "median_s": 0.3, "max_gap_s": 0.2, "min_duration_s": 0.1,
    },
    "three classes at a time": {"threshold": 0.5, "top_k": 3},
}  # fmt: skip
LEAST_TIMES_REAL_TIME = 5000.0

Frames = npt.NDArray[np.float32]


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    n_frames = round((60 if given.quick else DURATION_S) / HOP_S)
    duration_s = n_frames * HOP_S
    usual = usual_frames(n_frames)
    for title, settings in SETTINGS.items():
        makers = [(OURS, partial(_ours, usual, settings))]
        if title == "one threshold":
            makers.append((PEER, partial(_numpy, usual, settings["threshold"])))
        calls = gather(makers, found.absent)
        times = alternate(calls, rounds=given.rounds, warm_ups=1)
        answers = {name: call() for name, call in calls.items()}
        if any(answer != answers[OURS] for answer in answers.values()):
            raise RuntimeError("the candidates do not find the same events")
        entries = tuple(Entry(name, times[name]) for name in calls)
        found.comparisons.append(
            Comparison(title, entries, group="a few events at a time", audio_s=duration_s)
        )
        faster = duration_s / times[OURS].median
        goal = f"times real time, {title}, 0.02 s frames, {N_CLASSES} classes, one thread"
        found.goals.append(Goal(goal, faster, at_least=LEAST_TIMES_REAL_TIME))
        found.facts.append(Fact(f"events found, {title}", len(answers[OURS]), ""))
    restless = restless_frames(n_frames)
    calls = {OURS: _ours(restless, SETTINGS["hysteresis"])}
    times = alternate(calls, rounds=given.rounds, warm_ups=1)
    found.comparisons.append(
        Comparison(
            "every class rises and falls all the time, hysteresis",
            (Entry(OURS, times[OURS]),),
            audio_s=duration_s,
            note=f"{len(detect(restless, HOP_S, labels=LABELS, **SETTINGS['hysteresis']))} events",
        )
    )
    return found


def usual_frames(n_frames: int) -> Frames:
    """``(T', K)``: a floor around 0.01, and two events a second of random classes, each of 0.1 to 4 s."""
    rng = np.random.default_rng(0)
    floor = rng.normal(-4.5, 1.0, (-(-n_frames // 16), N_CLASSES)).astype(np.float32)
    logits = np.repeat(floor, 16, axis=0)[:n_frames]
    logits += rng.normal(0, 0.2, logits.shape).astype(np.float32)
    for begin in rng.integers(0, n_frames, 2 * round(n_frames * HOP_S)):
        length = round(rng.uniform(0.1, 4.0) / HOP_S)
        logits[begin : begin + length, rng.integers(N_CLASSES)] += rng.uniform(4, 8)
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def restless_frames(n_frames: int) -> Frames:
    """``(T', K)``: a tenth of the classes is above 0.5 at any time, a different tenth each second."""
    rng = np.random.default_rng(0)
    levels = rng.random((-(-n_frames // 50), N_CLASSES)) ** 6
    wobble = 0.9 + 0.1 * rng.random((n_frames, N_CLASSES))
    return (np.repeat(levels, 50, axis=0)[:n_frames] * wobble).astype(np.float32)


def _ours(frames: Frames, settings: dict[str, float | int]) -> Call:
    return lambda: detect(frames, HOP_S, labels=LABELS, **settings)  # type: ignore[arg-type]


def _numpy(frames: Frames, threshold: float) -> Call:
    edges = frame_edges(len(frames), HOP_S)

    def call() -> list[Event]:
        events = []
        for k, label in enumerate(LABELS):
            scores = frames[:, k]
            active = np.concatenate([[False], scores >= np.float32(threshold), [False]])
            turns = np.flatnonzero(active[1:] != active[:-1])
            for start, stop in zip(turns[::2], turns[1::2], strict=True):
                peak = float(scores[start:stop].max())
                events.append(Event(label, float(edges[start]), float(edges[stop]), peak))
        return sorted(events, key=lambda event: (event.onset_s, LABELS.index(event.label)))

    return call


if __name__ == "__main__":
    main()

"""How well are sound events found, and how do thresholds, hysteresis and calibration change this?

    python -m benchmarks.sed --data ESC10              the bundled checkpoint
    python -m benchmarks.sed --data ESC10 --model Cnn14

Soundscapes of three minutes, composed from ESC-10's clips of fold 5 over pink noise
(:mod:`benchmarks.soundscapes`), held out from the bundled checkpoint's training; thresholds are chosen on
clips of the other folds. Scores are those of sed_scores_eval and sed_eval (:mod:`benchmarks.sed_metrics`; the
extra ``pannsx[sed]``). Results go to ``benchmarks/sound_events``, and :mod:`benchmarks.sed_page` makes the
documentation's page from them. Speed is the subject of ``benchmarks.events``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import sed_metrics
from benchmarks.conditions import ROOT
from benchmarks.sed_metrics import Frames
from benchmarks.soundscapes import RATE, Scene, Soundscape, compose, read_categories, read_sounds
from pannsx import AudioTagger, __version__
from pannsx.atomic import replacing
from pannsx.events import (
    Annotated,
    Event,
    calibrate,
    detect,
    frame_edges,
    frame_targets,
    median_filter,
    tune_events,
)
from pannsx.events.super_classes import noisy_or
from pannsx.inference.fine_frames import FrameReader

RESULTS = ROOT / "benchmarks" / "sound_events"
HOP_S = 0.16
UNSEEN_FOLD = 5
USUAL = Scene()
SCENES = {
    "usual": USUAL,
    "faint": replace(USUAL, snr_db=0.0),
    "one at a time": replace(USUAL, overlap=1),
    "crowded": replace(USUAL, overlap=4),
    "repeated": replace(USUAL, repetition=0.8),
}
MEDIAN_S, GAP_S, SHORTEST_S = 0.5, 0.5, 0.2
MEDIANS_S = (0.0, 0.5, 1.0, 1.5)
"""Lengths of the median filter, one of which is chosen for PSDS on the soundscapes of folds 1 to 4."""
FLAT = np.arange(1, 100) / 100

Float = npt.NDArray[np.float32]
Rule = Callable[[Float, float], list[Event]]
"""``(T', K)`` scores and the length in seconds -> events."""


def main() -> None:
    given = _arguments()
    categories = read_categories(given.data)
    tagger = AudioTagger(given.model)
    seen = read_sounds(given.data, {1, 2, 3, 4, 5} - {UNSEEN_FOLD})
    unseen = read_sounds(given.data, {UNSEEN_FOLD})
    classes = tuple(sorted(categories))

    def heard(scapes: Sequence[Soundscape]) -> dict[str, Frames]:
        return {each.name: frames_of(tagger, each, [categories[name] for name in classes]) for each in scapes}

    _say(f"calibrates on {given.known} soundscapes of folds 1 to 4")
    known = [compose(seen, USUAL, seed) for seed in range(1000, 1000 + given.known)]
    offset_s = FrameReader(tagger, HOP_S).offset_s
    known_frames = heard(known)
    rules, thresholds = rules_from(known_frames, known, classes, offset_s)
    median_s = best_median(known_frames, known, classes)
    result: dict[str, Any] = {
        "model": tagger.record.name,
        "pannsx": __version__,
        "hop_s": HOP_S,
        "soundscapes": given.scapes,
        "known_soundscapes": given.known,
        "thresholds": thresholds,
        "psds_median_s": median_s,
        "scenes": {name: asdict(scene) for name, scene in SCENES.items()},
        "scores": {},
    }
    for name, scene in SCENES.items():
        _say(f"{name}: {given.scapes} soundscapes of fold {UNSEEN_FOLD}")
        scapes = [compose(unseen, scene, seed) for seed in range(given.scapes)]
        result["scores"][name] = scored(heard(scapes), scapes, classes, rules, median_s)
        _say(json.dumps(result["scores"][name], indent=1))
    given.results.mkdir(parents=True, exist_ok=True)
    path = given.results / f"{tagger.record.name}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8", newline="\n")
    print(path)


def frames_of(tagger: AudioTagger, scape: Soundscape, members: Sequence[Sequence[str]]) -> Frames:
    """``(T', K)`` probabilities of at least one member of each class, and the frames' edges."""
    result = tagger.inference(scape.waveform, RATE, hop_s=HOP_S)
    if result.framewise is None:
        raise RuntimeError("the result has no frames")
    columns = [[result.labels.index(label) for label in labels] for labels in members]
    scores = np.stack([noisy_or(result.framewise[:, each]) for each in columns], axis=1)
    edges = frame_edges(len(scores), HOP_S, offset_s=result.offset_s, duration_s=result.duration_s)
    return Frames(scores, edges)


def rules_from(
    frames: Mapping[str, Frames], scapes: Sequence[Soundscape], classes: Sequence[str], offset_s: float
) -> tuple[dict[str, Rule], dict[str, Any]]:
    """The compared decision rules, with thresholds chosen on these soundscapes; and those thresholds."""
    scores = np.concatenate([frames[each.name].scores for each in scapes])
    targets = np.concatenate(
        [frame_targets(each.events, frames[each.name].edges_s, classes) for each in scapes]
    )
    flat = best_flat_threshold(targets, scores)
    points = calibrate(targets, scores, classes, hop_s=HOP_S)
    annotated = [
        Annotated(frames[each.name].scores, each.events, len(each.waveform) / RATE) for each in scapes
    ]
    tuned = tune_events(annotated, points, classes, hop_s=HOP_S, offset_s=offset_s)
    on = points.thresholds()
    off = {label: threshold / 2 for label, threshold in on.items()}
    smooth = {"median_s": MEDIAN_S, "max_gap_s": GAP_S, "min_duration_s": SHORTEST_S}

    def rule(**settings: Any) -> Rule:
        def decide(scores: Float, duration_s: float) -> list[Event]:
            return detect(scores, HOP_S, labels=classes, offset_s=offset_s, duration_s=duration_s, **settings)

        return decide

    rules = {
        "threshold 0.5": rule(threshold=0.5),
        "one threshold, chosen": rule(threshold=flat),
        "hysteresis, off at half of it": rule(threshold=flat, off_threshold=flat / 2),
        "calibrated": rule(threshold=on),
        "calibrated, hysteresis": rule(threshold=on, off_threshold=off),
        "calibrated, smoothed": rule(threshold=on, **smooth),
        "calibrated, hysteresis, smoothed": rule(threshold=on, off_threshold=off, **smooth),
        "calibrated for whole events": rule(threshold=tuned),
    }
    return rules, {"one": flat, "calibrated": on, "for whole events": tuned.thresholds()}


def best_median(frames: Mapping[str, Frames], scapes: Sequence[Soundscape], classes: Sequence[str]) -> float:
    """The length of a median filter, in seconds, with the greatest sum of both PSDS on these soundscapes."""
    truth = {each.name: each.events for each in scapes}
    durations_s = {each.name: len(each.waveform) / RATE for each in scapes}
    sums = [
        sum(sed_metrics.psds(filtered(frames, median_s), truth, durations_s, classes).values())
        for median_s in MEDIANS_S
    ]
    return MEDIANS_S[int(np.argmax(sums))]


def filtered(frames: Mapping[str, Frames], median_s: float) -> dict[str, Frames]:
    """The frames with their scores after a median filter."""
    return {
        name: Frames(median_filter(each.scores, hop_s=HOP_S, median_s=median_s), each.edges_s)
        for name, each in frames.items()
    }


def best_flat_threshold(targets: npt.NDArray[np.bool_], scores: Float) -> float:
    """The threshold, in steps of 0.01, with the best mean F1 of frames over classes."""
    found = [scores >= np.float32(threshold) for threshold in FLAT]
    n_both = targets.sum(axis=0)
    f1 = [
        (2 * (each & targets).sum(axis=0) / np.maximum(1, each.sum(axis=0) + n_both)).mean() for each in found
    ]
    return float(FLAT[int(np.argmax(f1))])


def scored(
    frames: Mapping[str, Frames],
    scapes: Sequence[Soundscape],
    classes: Sequence[str],
    rules: Mapping[str, Rule],
    median_s: float,
) -> dict[str, Any]:
    """Results for one kind of scene: PSDS of the scores, as they are and filtered, and each rule's F1s."""
    truth = {each.name: each.events for each in scapes}
    durations_s = {each.name: len(each.waveform) / RATE for each in scapes}
    by_rule = {}
    for name, rule in rules.items():
        found = {each.name: rule(frames[each.name].scores, durations_s[each.name]) for each in scapes}
        by_rule[name] = {
            "events": sum(map(len, found.values())),
            "event_f1": round(sed_metrics.event_f1(found, truth, durations_s, classes), 4),
            "event_f1_1s": round(sed_metrics.event_f1(found, truth, durations_s, classes, collar_s=1.0), 4),
            "segment_f1": round(sed_metrics.segment_f1(found, truth, durations_s, classes), 4),
        }
    psds = sed_metrics.psds(frames, truth, durations_s, classes)
    after_median = sed_metrics.psds(filtered(frames, median_s), truth, durations_s, classes)
    return {
        "events": sum(map(len, truth.values())),
        **{name: round(value, 4) for name, value in psds.items()},
        **{f"{name}_median": round(value, 4) for name, value in after_median.items()},
        "rules": by_rule,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of ESC-10")
    parser.add_argument("--model", help="name of a checkpoint (default: the bundled one)")
    parser.add_argument("--scapes", type=int, default=10, help="soundscapes of each kind (default: 10)")
    parser.add_argument(
        "--known", type=int, default=40, help="soundscapes of folds 1 to 4, for the thresholds (default: 40)"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

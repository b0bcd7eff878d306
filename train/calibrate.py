"""Operating points of a checkpoint, calibrated on scenes with known onsets.

    python -m train.calibrate BANKS
    python -m train.calibrate BANKS --checkpoint best.safetensors --output best.operating_points.json

BANKS is a folder of banks of clips with a teacher's logits (:mod:`train.data.banks`), that of the training.
Only clips of the split ``train`` are used, so the split ``valid`` and every other test stay unheard.  Scenes
are composed of them with another seed than a training's (:mod:`train.data.scenes`).  A class sounds where a
part sounds of which the teacher gives it at least 0.3.

Each class with enough clips gets the threshold, off-threshold and smoothing that find most of its events
(:mod:`pannsx.events.tuning`), unless even so most of its events are wrong. Every other class gets the one
threshold that is best on average.

Without options, the points of the bundled checkpoint are written into the package. Run
``python tools/build_manifest.py`` afterwards, which records their digest.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pannsx import AudioTagger
from pannsx.errors import WeightsError
from pannsx.events import (
    Event,
    OperatingPoints,
    calibrate,
    frame_edges,
    frame_targets,
    write_operating_points,
)
from pannsx.events.tuning import Annotated, tune_events
from pannsx.inference.fine_frames import FrameReader
from pannsx.types import FloatArray
from pannsx.weights import operating_points_path
from pannsx.weights.local import PACKAGE
from pannsx.weights.record import OPERATING_POINTS_SUFFIX
from train.data.banks import RATE
from train.data.scenes import BLOCK, HEARD, Scene, Scenes
from train.recipe import read_recipe

N_SCENES = 4_000
SCENE_S = 10.0
SEED = 20_001
"""Unlike that of a training, so that its scenes are other ones."""

FEWEST_CLIPS = 8
"""Different clips of a class, below which its threshold would be that of single clips."""

LEAST_F1 = 0.2
"""Of a class's events, below which its threshold says little: of mostly wrong events, at any probability."""

_FLAT = np.arange(1, 100, dtype=np.float32) / 100


def calibrated(tagger: AudioTagger, banks: Path, *, n_scenes: int, seed: int, quiet: bool) -> OperatingPoints:
    """Operating points of a tagger with AudioSet's classes.

    Raises:
        OSError, ValueError: the banks cannot be read, or hold too few clips of every class.
    """
    settings = read_recipe("MobileNetV1_distilled").scenes
    if settings is None:
        raise ValueError("the recipe MobileNetV1_distilled has no scenes")
    settings = replace(
        settings,
        n_scenes=n_scenes,
        durations_s=(SCENE_S,),
        duration_shares=(1.0,),
        draw_shares=(1.0, 0.0, 0.0),  # by class, so that rare ones get their points too
    )
    scenes = Scenes(banks, settings, seed)
    if scenes.labels != tagger.labels:
        raise ValueError(f"{tagger.record.name} has other classes than AudioSet's, the teacher's")
    clips_of: dict[str, set[int]] = defaultdict(set)
    events: list[list[Event]] = []

    def waveforms() -> Iterator[FloatArray]:
        for number in tqdm(range(n_scenes), unit="scene", disable=quiet or None, file=sys.stderr):
            scene = scenes.compose(number, round(SCENE_S * RATE))
            events.append(events_of(scene, scenes))
            for clip in scene.clips:
                for label in scenes.heard_in(clip):
                    clips_of[label].add(clip)
            yield scene.waveform

    results = tagger.iter_inference(waveforms(), RATE, framewise=True)
    frames = [np.zeros(0, np.float32) if result.framewise is None else result.framewise for result in results]
    labels = [label for label in scenes.labels if len(clips_of[label]) >= FEWEST_CLIPS]
    if not labels:
        raise ValueError(f"{banks} holds fewer than {FEWEST_CLIPS} training clips of every class")
    grid = FrameReader(tagger).grid
    columns = [scenes.labels.index(label) for label in labels]
    known = set(labels)
    recordings = [
        Annotated(framewise[:, columns], [each for each in own if each.label in known], SCENE_S)
        for framewise, own in zip(frames, events, strict=True)
    ]
    edges = frame_edges(len(recordings[0].framewise), grid.hop_s, offset_s=grid.offset_s, duration_s=SCENE_S)
    scores = np.concatenate([each.framewise for each in recordings])
    targets = np.concatenate([frame_targets(each.events, edges, labels) for each in recordings])
    points = calibrate(targets, scores, labels, model=tagger.record.name)
    points = tune_events(recordings, points, labels, hop_s=grid.hop_s, offset_s=grid.offset_s)
    useful = {label: point for label, point in points.points.items() if (point.f1 or 0.0) >= LEAST_F1}
    return replace(
        points,
        points=useful,
        default=best_flat_threshold(targets, scores),
        data=f"{n_scenes:,} scenes of {SCENE_S:g} s, seed {seed}, of the banks {scenes.digest[:12]}, "
        f"split train; targets: the teacher's, from {HEARD:g} on",
        weights_sha256=tagger.record.sha256,
    )


def events_of(scene: Scene, scenes: Scenes) -> list[Event]:
    """The events of a scene: where any part with the class sounds."""
    sounding: dict[str, NDArray[np.bool_]] = {}
    for part, clip in enumerate(scene.clips):
        for label in scenes.heard_in(clip):
            sounding[label] = scene.sounding[part] | sounding.get(label, False)
    found = []
    for label, blocks in sounding.items():
        turns = np.flatnonzero(np.diff(np.concatenate([[0], blocks.astype(np.int8), [0]])))
        for begin, end in zip(turns[::2], turns[1::2], strict=True):
            found.append(Event(label, begin * BLOCK / RATE, end * BLOCK / RATE, 1.0))
    return found


def best_flat_threshold(targets: NDArray[np.bool_], scores: FloatArray) -> float:
    """``(N, K)`` both -> the threshold, in steps of 0.01, with the best mean F1 of frames over classes."""
    n_true = targets.sum(axis=0)
    f1 = []
    for threshold in _FLAT:
        found = scores >= threshold
        f1.append(
            float((2 * (found & targets).sum(axis=0) / np.maximum(1, found.sum(axis=0) + n_true)).mean())
        )
    return round(float(_FLAT[int(np.argmax(f1))]), 2)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train.calibrate", description="Operating points of a checkpoint, from scenes of banks of clips."
    )
    parser.add_argument("banks", type=Path, help="a bank, or a folder of banks, with a teacher's logits")
    parser.add_argument("--checkpoint", type=Path, help="file of weights (default: the bundled ones)")
    parser.add_argument(
        "-o", "--output", type=Path, help="file to write (default: beside the checkpoint, or in the package)"
    )
    parser.add_argument(
        "--scenes", type=int, default=N_SCENES, help="number of scenes (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the scenes (default: %(default)s)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    if given.scenes < 1:
        parser.error(f"--scenes {given.scenes}: at least 1 is needed")
    try:
        tagger = AudioTagger(checkpoint=given.checkpoint)
        points = calibrated(tagger, given.banks, n_scenes=given.scenes, seed=given.seed, quiet=given.quiet)
        output = given.output or (
            PACKAGE / "data" / f"{tagger.record.name}{OPERATING_POINTS_SUFFIX}"
            if given.checkpoint is None
            else operating_points_path(tagger.record, given.checkpoint)
        )
        write_operating_points(points, output)
    except (OSError, ValueError, WeightsError) as error:
        print(f"train.calibrate: {error}", file=sys.stderr)
        return 1
    f1 = np.mean([point.f1 or 0 for point in points.points.values()])
    print(
        f"{output}: {len(points.points)} classes, {points.default:g} for the others; mean F1 of events "
        f"within 1 s {f1:.3f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

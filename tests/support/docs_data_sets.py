"""The data sets that pages of the documentation read, in their published layout: real ones, or made up."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
CATEGORIES = (
    "chainsaw", "clock_tick", "crackling_fire", "crying_baby", "dog", "helicopter", "rain", "rooster",
    "sea_waves", "sneezing",
)  # fmt: skip
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
ACTORS = 6


def make_esc10(folder: Path, real: Path | None = None) -> None:
    """``ESC-50-master`` with the clips of ESC-10: links to ``real``, or a tone for each class in noise."""
    audio = folder / "ESC-50-master" / "audio"
    audio.mkdir(parents=True)
    meta = audio.parent / "meta" / "esc50.csv"
    meta.parent.mkdir()
    with meta.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "fold", "target", "category", "esc10"])
        if real is not None:
            for row in _rows(real):
                name = Path(row["file"]).name
                (audio / name).symlink_to(real / row["file"])
                rows.writerow([name, row["fold"], 0, row["category"], True])
            return
        for fold in range(1, 6):
            for target, category in enumerate(CATEGORIES):
                name = f"{fold}-{target}.wav"
                _write(audio / name, 200 + 300 * target, seed=10 * fold + target)
                rows.writerow([name, fold, target, category, True])
        _write(audio / "other.wav", 50, seed=0)
        rows.writerow(["other.wav", 1, 11, "cat", False])


def make_ravdess(folder: Path, real: Path | None = None) -> None:
    """``RAVDESS`` with a folder for each of the first actors: links to ``real``, or tones in noise."""
    for actor in range(1, ACTORS + 1):
        place = folder / "RAVDESS" / f"Actor_{actor:02}"
        place.mkdir(parents=True)
        if real is not None:
            for path in sorted((real / f"actor_{actor:02}").glob("*.ogg")):
                (place / path.name).symlink_to(path)
            continue
        for emotion in range(1, len(EMOTIONS) + 1):
            name = f"03-01-{emotion:02}-01-01-01-{actor:02}.wav"
            _write(place / name, 200 + 300 * emotion, seed=10 * actor + emotion)


def _rows(real: Path) -> Iterator[dict[str, str]]:
    with (real / "index.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _write(path: Path, frequency: float, seed: int) -> None:
    times_s = np.arange(RATE // 4) / RATE
    noise = 0.05 * np.random.default_rng(seed).standard_normal(len(times_s))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * frequency * times_s) + noise, RATE)

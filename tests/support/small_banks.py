"""Small banks of tones with a teacher's logits."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.data.banks import RATE

N_CLASSES = 527


def tone(hz: float, duration_s: float) -> NDArray[np.int16]:
    times = np.arange(round(duration_s * RATE)) / RATE
    return np.asarray(9000 * np.sin(2 * np.pi * hz * times), np.int16)


def write_bank(folder: Path, clips: list[tuple[NDArray[np.int16], str, str, int]]) -> Path:
    """Clips of samples, kind, split and the one class that the teacher hears."""
    folder.mkdir(parents=True)
    pool = np.zeros((len(clips), 5 * RATE), np.int16)
    logits = np.full((len(clips), N_CLASSES), -8.0, np.float16)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "package", "file", "start_s", "seconds", "licence", "tier", "kind", "split"])
        for row, (samples, kind, split, heard) in enumerate(clips):
            pool[row, : len(samples)] = samples
            logits[row, heard] = 4.0
            seconds = len(samples) / RATE
            writer.writerow([row, "own", f"{row}.wav", 0, seconds, "CC0", "permissive", kind, split])
    np.save(folder / "pool.npy", pool)
    np.save(folder / "lengths.npy", np.array([len(clip[0]) for clip in clips], np.int32))
    np.save(folder / "logits.npy", logits)
    return folder

"""Small banks of clips, as train.pool makes them, and a teacher's logits of tones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from train.data.banks import INDEX_COLUMNS, RATE

N_CLASSES = 527


class SteadyTeacher(torch.nn.Module):
    """Hears the same in every sound, and little of it."""

    sample_rate = RATE

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return torch.full((len(waveform), N_CLASSES), -4.0)


def tone(hz: float, duration_s: float) -> NDArray[np.int16]:
    times = np.arange(round(duration_s * RATE)) / RATE
    return np.asarray(9000 * np.sin(2 * np.pi * hz * times), np.int16)


def write_bank(folder: Path, clips: list[tuple[NDArray[np.int16], str, str, int]]) -> Path:
    """Clips of samples, kind, split and the one class that the teacher hears."""
    samples, kinds, splits, heard = zip(*clips, strict=True)
    logits = np.full((len(clips), N_CLASSES), -8.0, np.float16)
    logits[np.arange(len(clips)), heard] = 4.0
    return write_bank_of(folder, samples, logits=logits, kind=kinds, split=splits)


def write_bank_of(
    folder: Path,
    clips: Sequence[NDArray[np.int16]],
    *,
    n_samples: int = 5 * RATE,
    logits: NDArray[np.floating] | None = None,
    **columns: Sequence[object],
) -> Path:
    """A bank of clips, zero-padded to ``n_samples``; columns of the index have defaults."""
    pool = np.zeros((len(clips), n_samples), np.int16)
    with_defaults: dict[str, Sequence[object]] = {
        "clip": range(len(clips)),
        "package": ["own"] * len(clips),
        "file": [f"{number}.wav" for number in range(len(clips))],
        "start_s": [0.0] * len(clips),
        "seconds": [len(clip) / RATE for clip in clips],
        "licence": ["CC0"] * len(clips),
        "tier": ["permissive"] * len(clips),
        "kind": ["animals"] * len(clips),
        "split": ["train"] * len(clips),
        **columns,
    }
    folder.mkdir(parents=True)
    for row, clip in zip(pool, clips, strict=True):
        row[: len(clip)] = clip
    np.save(folder / "pool.npy", pool)
    np.save(folder / "lengths.npy", np.array([len(clip) for clip in clips], np.int32))
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(INDEX_COLUMNS)
        writer.writerows(zip(*(with_defaults[name] for name in INDEX_COLUMNS), strict=True))
    if logits is not None:
        np.save(folder / "logits.npy", logits)
    return folder

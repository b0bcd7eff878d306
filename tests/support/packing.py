"""Sounds, files and lists to pack, made by the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from pannsx.labels import LabelSet

LABELS = LabelSet(
    ("Dog", "Rain", "Siren", "Whistle", "Clock", "Bell", "Train", "Fire", "Wind"),
    tuple(f"/m/0{number}" for number in range(9)),
)
"""Nine labels: one more than fit into a byte of target bits."""


def noise(seed: int, n_samples: int = 800) -> NDArray[np.int16]:
    """``(n,)`` quiet noise, another for every seed."""
    return np.random.default_rng(seed).integers(-8000, 8000, n_samples).astype(np.int16)


def clip_ids(n_clips: int) -> list[str]:
    """Ids of 11 characters as videos have them; some begin with a hyphen, some with a Y."""
    return [f"{'-Ya_'[number % 4]}{number:010d}" for number in range(n_clips)]


def write_list(path: Path, targets: Mapping[str, Iterable[int]]) -> Path:
    """A segment list in the published form."""
    lines = ["# Segments csv created by a test", f"# num_ytids={len(targets)}", "# YTID, start, end, labels"]
    for clip_id, positions in targets.items():
        labels = ",".join(LABELS.ids[position] for position in positions if LABELS.ids)
        lines.append(f'{clip_id}, 30.000, 40.000, "{labels}"')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_label_file(path: Path) -> Path:
    """The labels as AudioSet's table of labels."""
    rows = [f'{k},{LABELS.ids[k] if LABELS.ids else ""},"{name}"' for k, name in enumerate(LABELS)]
    path.write_text("\n".join(["index,mid,display_name", *rows]) + "\n", encoding="utf-8")
    return path


def write_audio(
    folder: Path, sounds: Mapping[str, NDArray[np.int16]], rate: int, suffix: str = ".wav"
) -> Path:
    """Audio files ``Y<id>.wav`` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip_id, pcm in sounds.items():
        soundfile.write(folder / f"Y{clip_id}{suffix}", pcm, rate, subtype="PCM_16")
    return folder

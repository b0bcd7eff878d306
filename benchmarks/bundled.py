"""What a checkpoint of AudioSet's labels scores on clips that the bundled one never heard.

    python -m benchmarks.bundled --data FOLDER [--checkpoint FILE_OR_FOLDER]

FOLDER holds ``esc10`` (clips, ``index.csv``, ``audioset_labels.json``), ``esc50_16k`` and ``distill``
(``valid.csv`` and its teacher's logits). Only fold 5 is looked at. ``tests/test_tagger.py`` holds the record
to these numbers.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from benchmarks.soundscapes import read_categories
from pannsx import AudioTagger
from train.data.mixtures import read_clip

RATE = 32_000  # of the teacher's clips, in Hz


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bundled", description="What a checkpoint scores on fold 5."
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--checkpoint", type=Path, help="(default: the bundled one)")
    given = parser.parse_args()
    tagger = AudioTagger(checkpoint=given.checkpoint) if given.checkpoint else AudioTagger()
    first, among_five = teacher_agreement(tagger, given.data)
    print(f"ESC-10 fold 5, zero-shot: {esc10_zero_shot(tagger, given.data):.4f}")
    print(f"teacher's first tag is the first: {first:.4f}, among the first five: {among_five:.4f}")


def esc10_zero_shot(tagger: AudioTagger, folder: Path) -> float:
    """Share of ESC-10's 80 clips of fold 5 named right by the best of each class's AudioSet labels."""
    clips_of = folder / "esc10"
    named = read_categories(clips_of)
    with (clips_of / "index.csv").open(encoding="utf-8", newline="") as lines:
        clips = [row for row in csv.DictReader(lines) if row["fold"] == "5"]
    clipwise = tagger.inference([clips_of / row["file"] for row in clips], framewise=False).clipwise
    columns = {c: [tagger.labels.index(label) for label in labels] for c, labels in named.items()}
    categories = list(columns)
    scores = np.stack([clipwise[:, columns[c]].max(axis=1) for c in categories], axis=1)
    right = [categories[i] == row["category"] for i, row in zip(scores.argmax(axis=1), clips, strict=True)]
    return float(np.mean(right))


def teacher_agreement(tagger: AudioTagger, folder: Path) -> tuple[float, float]:
    """Shares of the 368 clips whose teacher's first tag is the tagger's first, and among its first five."""
    with (folder / "distill" / "valid.csv").open(encoding="utf-8", newline="") as lines:
        waveforms = [read_clip(folder, row["clip"], sample_rate=RATE) for row in csv.DictReader(lines)]
    teacher = np.load(folder / "distill" / "valid_logits.npy").argmax(axis=1)
    clipwise = np.stack([result.clipwise for result in tagger.stream(waveforms)])
    firsts = np.argsort(-clipwise, axis=1)[:, :5]
    hits = firsts == teacher[:, None]
    return float(hits[:, 0].mean()), float(hits.any(axis=1).mean())


if __name__ == "__main__":
    main()

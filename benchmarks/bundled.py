"""Scores of a checkpoint with AudioSet's labels on clips held out from the bundled one's training.

    python -m benchmarks.bundled --data FOLDER [--bank BANK] [--checkpoint FILE_OR_FOLDER] [--results FOLDER]

FOLDER holds ``esc10`` (clips, ``index.csv``, ``audioset_labels.json``), ``esc50_16k`` and ``distill``
(``valid.csv`` and its teacher's logits); only fold 5 is used. BANK is the pool of ``train.pool`` with the
teacher's logits of ``train.teach`` (:mod:`train.data.banks`); only its clips of the split ``valid`` are
used: whole packages, voices and instruments, held out from training. A clip is tagged at its own length; the
teacher's input was padded with zeros to five seconds.

Scores go to ``--results``, and :mod:`benchmarks.bundled_page` makes the documentation's page from those in
``benchmarks/bundled_scores``. Sound events and transfer have separate scripts: ``benchmarks.sed``,
``benchmarks.transfer``.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.conditions import ROOT
from benchmarks.soundscapes import read_categories
from pannsx import AudioTagger, __version__
from pannsx.atomic import replacing
from pannsx.metrics import tagging_scores
from train.data.banks import Bank, open_bank
from train.data.encoding import as_float
from train.data.mixtures import read_clip

RESULTS = ROOT / "benchmarks" / "bundled_scores"
RATE = 32_000  # of the teacher's clips, in Hz
POSITIVE = 0.3  # minimum teacher's probability of a positive clip
FEWEST_POSITIVES = 5  # of a class included in the mean average precision
FEWEST_CLIPS = 30  # of a kind considered as the worst
SOFTER_DB = (10, 30)

Scores = npt.NDArray[np.float32]


def main() -> None:
    given = _arguments()
    tagger = AudioTagger(checkpoint=given.checkpoint) if given.checkpoint else AudioTagger()
    result: dict[str, Any] = {
        "model": tagger.record.name,
        "sha256": tagger.record.sha256,
        "pannsx": __version__,
        "esc10_zero_shot_accuracy": round(esc10_zero_shot(tagger, given.data), 4),
    }
    first, among_five = teacher_agreement(tagger, given.data)
    result["fold5_first"], result["fold5_among_five"] = round(first, 4), round(among_five, 4)
    if given.bank:
        result["pool"] = pool_scores(tagger, open_bank(given.bank))
    print(json.dumps(result, indent=1))
    if given.results:
        given.results.mkdir(parents=True, exist_ok=True)
        path = given.results / f"{tagger.record.name}.json"
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8", newline="\n")


def esc10_zero_shot(tagger: AudioTagger, folder: Path) -> float:
    """Accuracy on ESC-10's 80 clips of fold 5, by the best of each class's AudioSet labels."""
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
    """Shares of the 368 clips with the teacher's first tag first, and among the tagger's first five."""
    with (folder / "distill" / "valid.csv").open(encoding="utf-8", newline="") as lines:
        waveforms = [read_clip(folder, row["clip"], sample_rate=RATE) for row in csv.DictReader(lines)]
    hits = first_five_hits(clipwise_of(tagger, waveforms), np.load(folder / "distill" / "valid_logits.npy"))
    return float(hits[:, 0].mean()), float(hits.any(axis=1).mean())


def pool_scores(tagger: AudioTagger, bank: Bank) -> dict[str, Any]:
    """All scores on the valid split of a bank: agreement by kind, precision, loudness."""
    rows = [row for row, split in enumerate(bank.splits) if split == "valid"]
    if not rows:
        raise ValueError(f"{bank.name} has no clip of the split 'valid'")
    logits = np.asarray(bank.logits[rows], np.float32)
    kinds = np.array([bank.kinds[row] for row in rows])
    waveforms = [as_float(np.asarray(bank.clips[row, : bank.lengths[row]])) for row in rows]
    clipwise = clipwise_of(tagger, waveforms)
    hits = first_five_hits(clipwise, logits)
    softer = {}
    for decibels in SOFTER_DB:
        gain = np.float32(10 ** (-decibels / 20))
        firsts = clipwise_of(tagger, [waveform * gain for waveform in waveforms]).argmax(axis=1)
        unchanged = np.mean(firsts == clipwise.argmax(axis=1))
        softer[f"unchanged_{decibels}_db_softer"] = round(float(unchanged), 4)
    precision = class_precisions(clipwise, logits)
    firsts = logits.argmax(axis=1)
    return {
        "digest": bank.digest,
        **_agreement(hits),
        "kinds": {kind: _agreement(hits[kinds == kind]) for kind in sorted(set(kinds))},
        "named": {
            label: _agreement(hits[firsts == tagger.labels.index(label)]) for label in ("Speech", "Music")
        },
        "mean_average_precision": round(float(np.mean(list(precision.values()))), 4),
        "classes": len(precision),
        **softer,
    }


def clipwise_of(tagger: AudioTagger, waveforms: Sequence[Scores]) -> Scores:
    """``N`` waveforms ``(S,)`` at 32 kHz -> ``(N, K)`` probabilities."""
    return np.stack([result.clipwise for result in tagger.iter_inference(waveforms)])


def first_five_hits(clipwise: Scores, logits: Scores) -> npt.NDArray[np.bool_]:
    """``(N, K)`` probabilities and teacher's logits -> ``(N, 5)``: its first tag is the first, ... fifth."""
    hits: npt.NDArray[np.bool_] = np.argsort(-clipwise, axis=1)[:, :5] == logits.argmax(axis=1)[:, None]
    return hits


def class_precisions(clipwise: Scores, logits: Scores) -> dict[int, float]:
    """Average precision against the teacher's positives, for each class with enough of them."""
    positive = logits >= np.log(POSITIVE / (1 - POSITIVE))
    counted = np.flatnonzero(positive.sum(axis=0) >= FEWEST_POSITIVES)
    precision = tagging_scores(positive[:, counted], clipwise[:, counted]).average_precision
    return {int(k): float(value) for k, value in zip(counted, precision, strict=True)}


def worst_kind(kinds: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Of the kinds with enough clips, that with the least agreement among the first five tags."""
    enough = {kind: scores for kind, scores in kinds.items() if scores["clips"] >= FEWEST_CLIPS}
    return min(enough.items(), key=lambda each: float(each[1]["among_five"]))


def _agreement(hits: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "clips": len(hits),
        "first": round(float(hits[:, 0].mean()), 4),
        "among_five": round(float(hits.any(axis=1).mean()), 4),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bundled", description="Scores of a checkpoint on held-out clips."
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--bank", type=Path, help="pool of clips with its teacher's logits")
    parser.add_argument("--checkpoint", type=Path, help="(default: the bundled one)")
    parser.add_argument("--results", type=Path, help="folder for the scores (default: not stored)")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Offsets of a checkpoint's classes, fitted to a teacher on single clips.

    python -m train.offsets BANKS FOLDER --checkpoint best.safetensors --half

BANKS is a folder of banks of clips with a teacher's logits (:mod:`train.data.banks`), that of the training.
Only clips of the split ``train`` are used. A training on scenes (:mod:`train.data.scenes`) sees clips mixed,
softened and coloured, in which a class is less likely than in a clip alone. So a constant is added to each
class's logit, the bias of the last layer. The constants minimise, over clips as they are, the cross-entropy
of the softmax over classes, and their own squares. The sum is convex: there is one answer.

FOLDER gets the checkpoint with these biases, and no operating points: run :mod:`train.calibrate` on it.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from tqdm import tqdm

from pannsx import AudioTagger, weights
from pannsx.errors import WeightsError
from pannsx.metrics import accuracy
from pannsx.models.layout import published_key
from pannsx.types import FloatArray
from train.data.banks import RATE, Bank, open_banks
from train.data.encoding import as_float
from train.export import write_exported

MOST_OF_A_KIND = 160
"""Clips of a kind in a bank: speech is a third of a pool, and says little about other classes."""

PENALTY = 0.01
"""Weight of half an offset's square: a class that few clips have stays where the training left it."""

SEED = 20_002
_BIAS = "fc_audioset.bias"
_N_STEPS = 200


class Clips(NamedTuple):
    """Logits of the same clips, ``(N, K)`` both."""

    student: FloatArray
    teacher: FloatArray


def chosen(bank: Bank, most: int, seed: int) -> list[int]:
    """Rows of the split ``train``, at most ``most`` of each kind, drawn by seed."""
    taken: Counter[str] = Counter()
    rows = []
    for row in np.random.default_rng(seed).permutation(len(bank)).tolist():
        kind = bank.kinds[row]
        if bank.splits[row] == "train" and bank.lengths[row] and taken[kind] < most:
            taken[kind] += 1
            rows.append(row)
    return sorted(rows)


def heard(tagger: AudioTagger, folder: Path, *, most: int, seed: int, quiet: bool) -> Clips:
    """Outputs of a tagger and of the teacher for clips of the banks in a folder; equal banks count once.

    Raises:
        OSError, ValueError: the banks cannot be read, hold no clip to train on, or have other classes.
    """
    banks = list({bank.digest: bank for bank in open_banks(folder)}.values())
    places = [(bank, row) for bank in banks for row in chosen(bank, most, seed)]
    if not places:
        raise ValueError(f"{folder}: no clip has the split 'train'")
    teacher = np.stack([np.asarray(bank.logits[row], np.float32) for bank, row in places])
    if teacher.shape[1] != len(tagger.labels):
        raise ValueError(
            f"{tagger.record.name} has {len(tagger.labels)} classes, the teacher {teacher.shape[1]}"
        )

    def waveforms() -> Iterator[FloatArray]:
        for bank, row in tqdm(places, unit="clip", disable=quiet or None, file=sys.stderr):
            waveform: FloatArray = as_float(np.asarray(bank.clips[row, : int(bank.lengths[row])]))
            yield waveform

    results = tagger.iter_inference(waveforms(), RATE, framewise=False)
    return Clips(np.stack([result.logits for result in results]), teacher)


def fitted(clips: Clips) -> NDArray[np.float64]:
    """``(K,)`` offsets to add to the student's logits."""
    student, teacher = clips.student.astype(np.float64), clips.teacher.astype(np.float64)
    shares = softmax(teacher, axis=1)

    def loss(offsets: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = student + offsets
        logs = log_softmax(logits, axis=1)
        value = PENALTY / 2 * offsets @ offsets - (shares * logs).sum(axis=1).mean()
        return float(value), (np.exp(logs) - shares).mean(axis=0) + PENALTY * offsets

    start = np.zeros(student.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _N_STEPS})
    offsets: NDArray[np.float64] = found.x
    return offsets


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train.offsets", description="Fit the offsets of a checkpoint's classes to a teacher, on clips."
    )
    parser.add_argument("banks", type=Path, help="a bank, or a folder of banks, with a teacher's logits")
    parser.add_argument("folder", type=Path, help="where the checkpoint with the offsets is written")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file of weights")
    parser.add_argument("--half", action="store_true", help="store weights in float16")
    parser.add_argument(
        "--most", type=int, default=MOST_OF_A_KIND,
        help="clips of a kind in a bank, at most (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=SEED, help="of the clips' draw (default: %(default)s)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    if given.most < 1:
        parser.error(f"--most {given.most}: at least 1 is needed")
    if given.folder.resolve() == given.checkpoint.resolve().parent:
        parser.error(f"{given.folder} holds the checkpoint itself; give another folder")
    try:
        tagger = AudioTagger(checkpoint=given.checkpoint)
        clips = heard(tagger, given.banks, most=given.most, seed=given.seed, quiet=given.quiet)
        offsets = fitted(clips)
        loaded = weights.load(checkpoint=given.checkpoint)
        keys = [key for key in loaded.model.state_dict() if published_key(key) == _BIAS]
        if not keys:
            raise ValueError(f"{loaded.record.name} has no last layer with a bias for each class")
        with torch.no_grad():
            loaded.model.state_dict()[keys[0]] += torch.from_numpy(offsets).float()
        record = replace(
            loaded.record,
            trained_on=f"{loaded.record.trained_on or 'unknown'}; offsets of the classes fitted on "
            f"{len(clips.student):,} clips, seed {given.seed}",
            operating_points_sha256=None,
        )
        labels = None if record.labels == "audioset" else loaded.labels
        written = write_exported(given.folder, loaded.model, record, labels, half=given.half, constants=False)
    except (OSError, ValueError, WeightsError) as error:
        print(f"train.offsets: {error}", file=sys.stderr)
        return 1
    first = clips.teacher.argmax(axis=1)
    before, after = (accuracy(first, clips.student + each) for each in (0.0, offsets))
    print(
        f"{given.folder / str(written.filename)}: offsets up to {np.abs(offsets).max():.2f}; the teacher's "
        f"first class is first in {before:.3f} of {len(clips.student):,} clips before, {after:.3f} after"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A bank: short clips in one memory-mapped file, with a teacher's logits of each.

A folder with

    pool.npy      int16 ``(N, S)`` at 32 kHz, zero after a clip's end
    lengths.npy   ``(N,)`` samples of each clip
    index.csv     a row for each clip, with the columns ``package``, ``file``, ``kind``, ``split`` and others
    logits.npy    ``(N, K)`` of a teacher, of each clip padded with zeros (:mod:`train.teach`)

``python -m train.pool`` makes such folders.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pannsx.types import FloatArray
from pannsx.weights.digests import file_digest

RATE = 32_000
"""Hz of every bank."""

_FILES = ("pool.npy", "lengths.npy", "index.csv", "logits.npy")


@dataclass(frozen=True)
class Bank:
    """Clips of a folder.

    Attributes:
        name: name of the folder.
        clips: ``(N, S)`` int16, mapped from the file.
        lengths: ``(N,)`` samples.
        kinds: kind of each clip, such as ``speech``.
        splits: split of each clip, ``train`` or ``valid``.
        names: name of each clip: package and file.
        logits: ``(N, K)``, the teacher's.
        digest: SHA-256 of index and logits together.
    """

    name: str
    clips: NDArray[np.int16]
    lengths: NDArray[np.int64]
    kinds: tuple[str, ...]
    splits: tuple[str, ...]
    names: tuple[str, ...]
    logits: FloatArray
    digest: str

    def __len__(self) -> int:
        return len(self.lengths)


def is_bank(folder: Path) -> bool:
    """Whether a folder holds the clips of a bank."""
    return (folder / "pool.npy").is_file()


def open_bank(folder: str | Path) -> Bank:
    """The bank in a folder.

    Raises:
        ValueError: a file is missing, or the files do not match.
        OSError: a file cannot be read.
    """
    folder = Path(folder).absolute()
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder} lacks {', '.join(missing)}; train.pool makes a bank, train.teach its logits.npy"
        )
    clips = np.load(folder / "pool.npy", mmap_mode="r", allow_pickle=False)
    lengths = np.load(folder / "lengths.npy", allow_pickle=False).astype(np.int64)
    logits = np.load(folder / "logits.npy", allow_pickle=False).astype(np.float32)
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sizes = {
        "pool.npy": len(clips),
        "lengths.npy": len(lengths),
        "logits.npy": len(logits),
        "index.csv": len(rows),
    }
    if len(set(sizes.values())) != 1:
        raise ValueError(
            f"the files of {folder} hold different numbers of clips: {sizes}; make the bank again"
        )
    if clips.ndim != 2 or clips.dtype != np.int16 or lengths.max(initial=0) > clips.shape[1]:
        raise ValueError(
            f"{folder / 'pool.npy'} holds {clips.dtype} {clips.shape}; int16 (clips, samples) is needed"
        )
    return Bank(
        folder.name, clips, lengths,
        tuple(row["kind"] for row in rows),
        tuple(row["split"] for row in rows),
        tuple(f"{row['package']}/{row['file']}" for row in rows),
        logits,
        file_digest(folder / "index.csv", "sha256") + file_digest(folder / "logits.npy", "sha256"),
    )  # fmt: skip


def open_banks(folder: str | Path) -> list[Bank]:
    """The banks in the subfolders of a folder, by name; or the folder itself as a bank.

    Raises:
        ValueError: there is no bank, or one is incomplete.
    """
    folder = Path(folder)
    if is_bank(folder):
        return [open_bank(folder)]
    banks = [open_bank(each) for each in sorted(folder.iterdir()) if is_bank(each)]
    if not banks:
        raise ValueError(f"there is no bank of clips in {folder}; train.pool makes one")
    _check_same_classes(banks)
    return banks


def _check_same_classes(banks: Sequence[Bank]) -> None:
    if len({bank.logits.shape[1] for bank in banks}) != 1:
        shapes = {bank.name: bank.logits.shape for bank in banks}
        raise ValueError(f"the banks' logits are of different classes: {shapes}")

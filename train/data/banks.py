"""A bank: short clips in one memory-mapped file, with a teacher's logits of each.

A folder with

    pool.npy      int16 ``(N, S)`` at 32 kHz, zero after a clip's end
    lengths.npy   ``(N,)`` samples of each clip
    index.csv     a row for each clip, with the columns `INDEX_COLUMNS` (of a subset: some of them)
    logits.npy    ``(N, K)`` of a teacher, of each clip padded with zeros (:mod:`train.teach`)

``python -m train.pool`` makes such folders.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pannsx.types import FloatArray
from pannsx.weights.digests import file_digest

RATE = 32_000
"""Hz of every bank."""

INDEX_COLUMNS = ("clip", "package", "file", "start_s", "seconds", "licence", "tier", "kind", "split")


class BankClips(NamedTuple):
    """The clips of a bank, without a teacher's logits.

    Attributes:
        pcm: ``(N, S)`` int16, mapped from the file.
        lengths: ``(N,)`` samples.
        rows: the row of each clip in the index.
    """

    pcm: NDArray[np.int16]
    lengths: NDArray[np.int64]
    rows: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Bank:
    """Clips of a folder, with a teacher's logits.

    Attributes:
        name: name of the folder.
        clips: ``(N, S)`` int16, mapped from the file.
        lengths: ``(N,)`` samples.
        kinds: kind of each clip, such as ``speech``.
        splits: split of each clip, ``train`` or ``valid``.
        tiers: tier of each clip's licence (:mod:`train.pool.licences`), such as ``permissive``; empty without
            this column, as in a bank of :mod:`train.data.subset`.
        names: name of each clip: package and file.
        logits: ``(N, K)``, the teacher's.
        digest: SHA-256 of index and logits together.
    """

    name: str
    clips: NDArray[np.int16]
    lengths: NDArray[np.int64]
    kinds: tuple[str, ...]
    splits: tuple[str, ...]
    tiers: tuple[str, ...]
    names: tuple[str, ...]
    logits: FloatArray
    digest: str

    def __len__(self) -> int:
        return len(self.lengths)


def is_bank(folder: Path) -> bool:
    """Whether a folder holds the clips of a bank."""
    return (folder / "pool.npy").is_file()


def read_clips(folder: Path, columns: Sequence[str]) -> BankClips:
    """The clips of the bank in a folder, whose index must have some columns.

    Raises:
        ValueError: a file or a column is missing, or the files do not match.
        OSError: a file cannot be read.
    """
    _check_files(folder, ("pool.npy", "lengths.npy", "index.csv"), "train.pool makes a bank")
    pcm = np.load(folder / "pool.npy", mmap_mode="r", allow_pickle=False)
    lengths = np.load(folder / "lengths.npy", allow_pickle=False).astype(np.int64)
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = tuple(reader)
        lacking = [column for column in columns if column not in (reader.fieldnames or ())]
    if lacking:
        raise ValueError(
            f"{folder / 'index.csv'} lacks the columns {', '.join(lacking)}; make the bank again"
        )
    _check_sizes(folder, {"pool.npy": len(pcm), "lengths.npy": len(lengths), "index.csv": len(rows)})
    if pcm.ndim != 2 or pcm.dtype != np.int16 or lengths.max(initial=0) > pcm.shape[1]:
        raise ValueError(
            f"{folder / 'pool.npy'} holds {pcm.dtype} {pcm.shape}; int16 (clips, samples) is needed"
        )
    return BankClips(pcm, lengths, rows)


def open_bank(folder: str | Path) -> Bank:
    """The bank in a folder.

    Raises:
        ValueError: a file or a column is missing, or the files do not match.
        OSError: a file cannot be read.
    """
    folder = Path(folder).absolute()
    pcm, lengths, rows = read_clips(folder, ("package", "file", "kind", "split"))
    path = folder / "logits.npy"
    _check_files(folder, (path.name,), f"make it: python -m train.teach {path} {folder}")
    logits = np.load(path, allow_pickle=False).astype(np.float32)
    _check_sizes(folder, {"index.csv": len(rows), path.name: len(logits)})
    return Bank(
        folder.name, pcm, lengths,
        tuple(row["kind"] for row in rows),
        tuple(row["split"] for row in rows),
        tuple(row.get("tier", "") for row in rows),
        tuple(f"{row['package']}/{row['file']}" for row in rows),
        logits,
        file_digest(folder / "index.csv", "sha256") + file_digest(path, "sha256"),
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


def _check_files(folder: Path, names: Sequence[str], remedy: str) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} lacks {', '.join(missing)}; {remedy}")


def _check_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    if len(set(sizes.values())) != 1:
        raise ValueError(
            f"the files of {folder} hold different numbers of clips: {dict(sizes)}; make the bank again"
        )

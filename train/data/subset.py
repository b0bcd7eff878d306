"""A compressed part of some banks, small enough to carry to another machine, and a bank made of it there.

A folder with

    subset.json     format, sample rate, gap, and for each shard: file, SHA-256, clips
    shard-000.ogg   Ogg Vorbis, mono: clips one after the other, each with a short gap behind it
    index.csv       a row for each clip, as in a bank, with the column ``bank`` besides
    lengths.npy     ``(N,)`` int32 samples of each clip
    logits.npy      ``(N, K)`` float16 of the teacher

Clips are chosen class by class in turn, so a small subset covers what the banks cover.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from pannsx.atomic import replacing
from pannsx.types import FloatArray
from pannsx.weights.digests import file_digest
from train.data.banks import RATE, Bank, open_banks
from train.data.encoding import as_float, as_pcm
from train.data.probabilities import sigmoid
from train.data.scenes import HEARD

FORMAT = "pannsx subset 1"
GAP = 640
"""Samples of silence behind each clip: 20 ms, so that a clip's begin does not smear into the one before."""

SHARD_CLIPS = 64
"""Clips in a file: a Vorbis header takes kilobytes, which one clip should not pay alone."""

_INDEX_BYTES = 200  # of a clip's row in index.csv, at most, in the estimate of the size
_COLUMNS = ("bank", "package", "file", "kind", "split")
_NAMES = ("subset.json", "index.csv", "lengths.npy", "logits.npy")


class Packed(NamedTuple):
    """Numbers of the packed subset.

    Attributes:
        n_clips: number of clips.
        n_available: number of the banks' clips in the split ``train``.
        n_classes: classes that the teacher hears in a packed clip.
        n_bytes: size of all files.
    """

    n_clips: int
    n_available: int
    n_classes: int
    n_bytes: int


def pack(banks_folder: Path, folder: Path, *, max_bytes: int, quality: float = 0.2, seed: int = 0) -> Packed:
    """Write a subset of the banks' training clips that takes at most ``max_bytes``.

    Args:
        banks_folder: a bank, or a folder of banks.
        folder: output folder; it must not exist.
        max_bytes: largest size of all files together.
        quality: quality of Vorbis from 0 to 1; 0.2 takes about 5 kB for a second.
        seed: seed of the order of clips.

    Raises:
        OSError: a file cannot be read or written, or the folder exists.
        ValueError: no bank, no training clip, a quality outside [0, 1], or not one shard fits the size.
    """
    if not 0 <= quality <= 1:
        raise ValueError(f"quality is {quality}; a number from 0 to 1 is needed")
    banks = open_banks(banks_folder)
    places = [
        (bank, row)
        for bank in banks
        for row in range(len(bank))
        if bank.splits[row] == "train" and bank.lengths[row]
    ]
    if not places:
        raise ValueError(f"{banks_folder} has no clip with the split 'train'")
    logits = np.stack([bank.logits[row] for bank, row in places]).astype(np.float16)
    chosen = [places[i] for i in _order(sigmoid(logits.astype(np.float32)), seed)]
    of_clip = logits.shape[1] * logits.itemsize + _INDEX_BYTES + 4
    left = max_bytes - 4096
    folder.mkdir(parents=True)
    shards: list[dict[str, Any]] = []
    n_clips = 0
    for begin in range(0, len(chosen), SHARD_CLIPS):
        clips = chosen[begin : begin + SHARD_CLIPS]
        encoded = _encoded([_clip(bank, row) for bank, row in clips], quality)
        needed = len(encoded) + len(clips) * of_clip
        if needed > left:
            break
        left -= needed
        name = f"shard-{len(shards):03}.ogg"
        (folder / name).write_bytes(encoded)
        shards.append({"file": name, "sha256": hashlib.sha256(encoded).hexdigest(), "clips": len(clips)})
        n_clips += len(clips)
    if not shards:
        folder.rmdir()
        raise ValueError(f"{max_bytes:,} bytes do not hold {SHARD_CLIPS} clips; allow more")
    kept = chosen[:n_clips]
    kept_logits = np.stack([bank.logits[row] for bank, row in kept]).astype(np.float16)
    np.save(folder / "lengths.npy", np.array([bank.lengths[row] for bank, row in kept], np.int32))
    np.save(folder / "logits.npy", kept_logits)
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for bank, row in kept:
            package, _, path = bank.names[row].partition("/")
            writer.writerow((bank.name, package, f"/{path.lstrip('/')}", bank.kinds[row], "train"))
    about = {"format": FORMAT, "sample_rate": RATE, "gap": GAP, "seed": seed, "shards": shards}
    with replacing(folder / "subset.json") as temporary:  # last: a folder without it is not whole
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8", newline="\n")
    heard = (sigmoid(kept_logits.astype(np.float32)) >= HEARD).any(axis=0)
    n_bytes = sum(each.stat().st_size for each in folder.iterdir())
    return Packed(n_clips, len(places), int(heard.sum()), n_bytes)


def unpack(folder: Path, bank: Path) -> int:
    """Make a bank of a subset; returns its number of clips.

    Raises:
        OSError: a file cannot be read or written, or the bank exists.
        ValueError: the folder is not a subset, or a file of it is damaged.
    """
    missing = [name for name in _NAMES if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} is no subset: it lacks {', '.join(missing)}; pack one with train.subset")
    about = json.loads((folder / "subset.json").read_text(encoding="utf-8"))
    if about.get("format") != FORMAT or about.get("sample_rate") != RATE:
        raise ValueError(
            f"{folder / 'subset.json'} is of the format {about.get('format')!r} at "
            f"{about.get('sample_rate')} Hz; {FORMAT!r} at {RATE} Hz is needed"
        )
    lengths = np.load(folder / "lengths.npy", allow_pickle=False).astype(np.int64)
    bank.mkdir(parents=True)
    pool = np.lib.format.open_memmap(
        bank / "pool.npy", mode="w+", dtype=np.int16, shape=(len(lengths), int(lengths.max()))
    )
    row = 0
    for shard in about["shards"]:
        for waveform in _decoded(folder, shard, lengths[row : row + shard["clips"]], about["gap"]):
            pool[row, : len(waveform)] = as_pcm(waveform)
            row += 1
    if row != len(lengths):
        raise ValueError(
            f"the shards of {folder} hold {row} clips, lengths.npy {len(lengths)}; pack it again"
        )
    pool.flush()
    for name in ("lengths.npy", "logits.npy", "index.csv"):
        (bank / name).write_bytes((folder / name).read_bytes())
    return row


def _order(probabilities: FloatArray, seed: int) -> list[int]:
    """``(N, K)`` -> all clips: one of each class in turn, in a random order of both, then the others."""
    rng = np.random.default_rng(seed)
    queues = [
        rng.permutation(found).tolist()
        for column in (probabilities >= HEARD).T
        if len(found := np.flatnonzero(column))
    ]
    queues = [queues[i] for i in rng.permutation(len(queues))]
    order: dict[int, None] = {}  # keeps the order, and each clip once
    while queues:
        for queue in queues:
            while queue and queue[-1] in order:
                queue.pop()
            if queue:
                order[queue.pop()] = None
        queues = [queue for queue in queues if queue]
    order.update(dict.fromkeys(rng.permutation(len(probabilities)).tolist()))
    return list(order)


def _clip(bank: Bank, row: int) -> NDArray[np.int16]:
    return np.asarray(bank.clips[row, : bank.lengths[row]])


def _encoded(clips: Sequence[NDArray[np.int16]], quality: float) -> bytes:
    """The bytes of a shard."""
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", RATE, 1, format="OGG", subtype="VORBIS", compression_level=1 - quality
    ) as shard:
        for clip in clips:
            shard.write(np.pad(as_float(clip), (0, GAP)))
    return file.getvalue()


def _decoded(
    folder: Path, shard: dict[str, Any], lengths: NDArray[np.int64], gap: int
) -> Iterator[FloatArray]:
    """The clips of a shard."""
    if Path(shard["file"]).name != shard["file"]:
        raise ValueError(f"{folder / 'subset.json'} names the file {shard['file']!r}; a plain name is needed")
    path = folder / shard["file"]
    if (digest := file_digest(path, "sha256")) != shard["sha256"]:
        raise ValueError(f"{path} is damaged: its sha256 is {digest}, not {shard['sha256']}; copy it again")
    waveform, rate = soundfile.read(path, dtype="float32")
    ends = np.cumsum(lengths + gap)
    if rate != RATE or len(waveform) != ends[-1]:
        raise ValueError(
            f"{path} holds {len(waveform)} samples at {rate} Hz; {ends[-1]} at {RATE} are needed"
        )
    for end, length in zip(ends, lengths, strict=True):
        yield waveform[end - gap - length : end - gap]

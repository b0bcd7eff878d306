"""Packed clips: thousands of short clips at one rate, with fast random access.

A store is a folder:

    store.json       settings; written last, so that a folder without it is not yet a store
    rows.npy         one row per clip: id, targets as bits, position of its bytes; memory-mapped
    parts/00000.bin  the clips of one part, in sequence
    groups.csv       of labelled tables with groups: the group of each clip

Balanced sampling draws single clips in random order, so that only the cost of one clip counts: one seek and
one contiguous read, without compressed chunks of several clips (as in HDF5 and Parquet) or a scan of an
archive (as in tars).  Parts are separate files, so that many processes write at once and a killed run keeps
its finished ones.  :mod:`train.data.encoding` has the encodings of a clip.

Rows hold a checksum of the bytes: a damaged disk stops training with the name of the part, instead of
letting the network learn noise.  Files are opened for each read, which takes microseconds, so that a store
has no state: it can be read from any number of threads, pickled, and used after a fork.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from train.data.encoding import FULL_SCALE, PADDING, VARIANTS, as_float, decode_into
from train.data.packed import Clips
from train.data.targets import Targets

__all__ = [
    "FORMAT",
    "FULL_SCALE",
    "GROUPS",
    "Ids",
    "Store",
    "StoreError",
    "as_float",
    "part_path",
    "row_dtype",
]

FORMAT = 1
GROUPS = "groups.csv"
_KEYS = {"format", "sample_rate", "n_samples", "variant", "labels", "label_ids", "n_clips", "made_with"}


class StoreError(RuntimeError):
    """A store cannot be used: incomplete, altered or damaged."""


class Ids(Sequence[str]):
    """``N`` ids, decoded one at a time: two million Python strings in every worker would take 150 MB.

    Attributes:
        encoded: ``(N,)`` ids in UTF-8.
    """

    def __init__(self, encoded: NDArray[np.bytes_]) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [encoded.decode() for encoded in self.encoded[index].tolist()]
        return bytes(self.encoded[index]).decode()


class Store(Clips):
    """Packed clips, read-only.

    Attributes:
        folder: its folder.
        sample_rate: sample rate of all clips, in Hz.
        n_samples: length of every clip as read; shorter ones are zero-padded.
        variant: encoding of the clips, one of :data:`train.data.encoding.VARIANTS`.
        labels: ``K`` names.
        label_ids: ``K`` machine ids, or None.

    Raises:
        StoreError: no complete store, or files that do not match.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        settings = _settings(self.folder)
        self.sample_rate: int = settings["sample_rate"]
        self.n_samples: int = settings["n_samples"]
        self.variant: str = settings["variant"]
        self.labels: tuple[str, ...] = tuple(settings["labels"])
        ids = settings["label_ids"]
        self.label_ids: tuple[str, ...] | None = None if ids is None else tuple(ids)
        try:
            self._rows = np.load(self.folder / "rows.npy", mmap_mode="r" if settings["n_clips"] else None)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"cannot read {self.folder / 'rows.npy'}: {error}; pack the store again"
            ) from error
        expected = row_dtype(len(self.labels), self._rows.dtype["id"].itemsize)
        if self._rows.dtype != expected or len(self._rows) != settings["n_clips"]:
            raise StoreError(f"{self.folder}: rows.npy and store.json do not match; pack the store again")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ids(self) -> Ids:
        """``N`` ids of the clips."""
        return Ids(self._rows["id"])

    @property
    def targets(self) -> Targets:
        """``(N, K)``: whether a clip has a label; memory-mapped bits."""
        return Targets([(self.target_bits, None)], len(self.labels))

    @property
    def target_bits(self) -> NDArray[np.uint8]:
        """``(N, ceil(K / 8))``: the targets as bits, the lowest bit first; memory-mapped."""
        bits: NDArray[np.uint8] = self._rows["targets"]
        return bits

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``(N,)`` samples of each clip before it was padded to ``n_samples``."""
        return np.asarray(self._rows["n_samples"], np.int64)

    def read(self, index: int) -> NDArray[np.int16]:
        """The clip of a row, ``(n_samples,)``, zeros after its end; see :func:`as_float`.

        Raises:
            IndexError: no such row.
            StoreError: its part is missing, truncated or damaged.
        """
        pcm = np.empty(self.n_samples, np.int16)
        self.read_into(index, pcm)
        return pcm

    def read_into(self, index: int, out: NDArray[np.int16]) -> None:
        """The clip of a row into ``out`` ``(n_samples,)``, contiguous; as :meth:`read`.

        The reading and the decoding of raw clips and Rice codes run without the interpreter's lock.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {self.folder}, which has {len(self)}")
        row = self._rows[index]
        path, n_bytes, n_samples = (
            self.part_file(int(row["part"])),
            int(row["n_bytes"]),
            int(row["n_samples"]),
        )
        in_place = self.variant == "raw" and sys.byteorder == "little" and n_bytes == 2 * n_samples
        encoded = (
            out[:n_samples].view(np.uint8)
            if in_place
            else np.empty(n_bytes + PADDING[self.variant], np.uint8)
        )
        _read_bytes(path, int(row["offset"]), encoded[:n_bytes])
        if zlib.crc32(encoded[:n_bytes].data) != int(row["crc32"]):
            raise _damaged(path, f"clip {self.ids[index]!r} is not the one that was packed")
        try:
            if not in_place:
                decode_into(encoded, n_bytes, self.variant, out[:n_samples])
        except ValueError as error:
            raise _damaged(path, f"clip {self.ids[index]!r} cannot be decoded ({error})") from error
        out[n_samples:] = 0

    def part_file(self, part: int) -> Path:
        """The file of a part, to be opened now."""
        return part_path(self.folder, part)

    @property
    def parts(self) -> NDArray[np.int64]:
        """``(N,)`` the part of each clip: clips of one part are in one file, in the order of their rows."""
        return np.asarray(self._rows["part"], np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.folder,)

    def __repr__(self) -> str:
        return f"<Store {self.folder}: {len(self)} clips, {self.sample_rate} Hz, {self.variant}>"


def row_dtype(n_classes: int, id_bytes: int) -> np.dtype[Any]:
    """The dtype of ``rows.npy``: little-endian on every machine."""
    return np.dtype(
        [
            ("id", f"S{id_bytes}"),
            ("part", "<u4"),
            ("offset", "<u8"),
            ("n_bytes", "<u4"),
            ("n_samples", "<u4"),
            ("crc32", "<u4"),
            ("targets", "u1", ((n_classes + 7) // 8,)),
        ]
    )


def part_path(folder: Path, part: int) -> Path:
    """The file of a part."""
    return folder / "parts" / f"{part:05d}.bin"


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "store.json"
    if not path.is_file():
        unfinished = (folder / "parts").is_dir()
        what = "is incomplete; run the same train.pack command again" if unfinished else "is not a store"
        raise StoreError(f"{folder} {what} ({path.name} is missing)")
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    if not isinstance(settings, dict) or settings.get("format") != FORMAT or set(settings) != _KEYS:
        raise StoreError(f"{path} is not of format {FORMAT}, which this version reads; pack the store again")
    if settings["variant"] not in VARIANTS:
        raise StoreError(f"{path}: variant {settings['variant']!r} is not one of {', '.join(VARIANTS)}")
    return settings


def _read_bytes(path: Path, offset: int, into: NDArray[np.uint8]) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            n_read = 0
            while n_read < len(into) and (n := file.readinto(into[n_read:].data)):
                n_read += n
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; {_REMEDY}") from error
    if n_read != len(into):
        raise _damaged(path, f"{len(into)} bytes at {offset} are needed, {n_read} are there")


_REMEDY = "delete that part and run the same train.pack command again, which packs it again"


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(f"{path} is damaged: {what}; {_REMEDY}")

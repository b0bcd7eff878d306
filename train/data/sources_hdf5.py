"""Clips in the HDF5 packs of the published code: ``audio_name``, ``waveform``, ``target``, a row per clip.

A clip missing from the pack is a row of zeros without a name; it is skipped.
The int16 samples are not rescaled (the published scale is 32,767 and ours 32,768, 0.0003 dB
apart); older packs hold float32.  Reading them needs h5py: ``pip install "pannsx[train]"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from train.data.clips import PUBLISHED_RATE, Clip
from train.data.segments import Listing

_ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Hdf5Chunk:
    """Rows ``begin`` up to ``end`` of a pack."""

    path: Path
    begin: int
    end: int

    @property
    def name(self) -> str:
        """The file's name and its rows."""
        return f"{self.path.name}, rows {self.begin} to {self.end}"

    @property
    def n_clips(self) -> int:
        """One per row."""
        return self.end - self.begin

    def clips(self, listing: Listing) -> Iterator[Clip]:
        """One clip per named row, with the labels of the list if there is one, else of the pack."""
        with _opened(self.path) as pack:
            rate = int(pack.attrs.get("sample_rate", PUBLISHED_RATE))
            n_classes = pack["target"].shape[1]
            if n_classes != len(listing.labels):
                raise ValueError(
                    f"{self.path} has {n_classes} classes and the label set {len(listing.labels)}"
                )
            for begin in range(self.begin, self.end, _ROWS_AT_ONCE):
                rows = slice(begin, min(begin + _ROWS_AT_ONCE, self.end))
                names, targets, waveforms = (
                    pack["audio_name"][rows],
                    pack["target"][rows],
                    pack["waveform"][rows],
                )
                for name, target, waveform in zip(names, targets, waveforms, strict=True):
                    stem = bytes(name).decode().removesuffix(".wav")
                    found = listing.identify(stem, np.flatnonzero(target).tolist()) if stem else None
                    if found is not None:
                        yield Clip(*found, waveform, rate)


def hdf5_chunks(path: Path, clips_per_part: int) -> list[Hdf5Chunk]:
    """Chunks of ``clips_per_part`` rows.

    Raises:
        ValueError: the file is not such a pack, or h5py is not installed.
    """
    with _opened(path) as pack:
        absent = {"audio_name", "waveform", "target"} - set(pack)
        if absent:
            raise ValueError(f"{path} lacks {', '.join(sorted(absent))}; a pack of waveforms is needed")
        n_rows = len(pack["audio_name"])
    starts = range(0, n_rows, clips_per_part)
    return [Hdf5Chunk(path, begin, min(begin + clips_per_part, n_rows)) for begin in starts]


def _opened(path: Path) -> Any:
    try:
        import h5py  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ValueError(f'{path}: HDF5 needs h5py; pip install "pannsx[train]"') from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not HDF5, or damaged: {error}") from error

"""Clips as files in a folder, in the layout of the published code and :mod:`train.download`.

    audios/balanced_train_segments/Y--PJHxphWEs.wav
    audios/unbalanced_train_segments/unbalanced_train_segments_part00/Y---1_cCGK4M.wav

Any depth and any readable format is accepted; the id is in the name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pannsx.audio.formats import AUDIO_SUFFIXES
from train.data.clips import Clip
from train.data.segments import Listing


@dataclass(frozen=True)
class FolderChunk:
    """Some files of a folder."""

    name: str
    files: tuple[tuple[str, tuple[int, ...], Path], ...]  # id, label positions, file

    @property
    def n_clips(self) -> int:
        """One per file."""
        return len(self.files)

    def clips(self, _listing: Listing) -> Iterator[Clip]:
        """One clip per file."""
        for clip_id, targets, path in self.files:
            yield Clip(clip_id, targets, path)


def folder_chunks(folder: Path, listing: Listing, clips_per_part: int) -> list[FolderChunk]:
    """The selected files below a folder, by id, so that the order is the same on every machine.

    Raises:
        ValueError: no segment list with the files' labels.
    """
    if listing.targets is None:
        raise ValueError(
            f"{folder} is a folder of audio files, which have no labels; give the segment list, "
            "or --by-folder if each class has a folder"
        )
    wanted = []
    for path in folder.rglob("*"):
        if path.suffix.lower() in AUDIO_SUFFIXES and (found := listing.identify(path.stem)) is not None:
            wanted.append((*found, path))
    wanted.sort(key=lambda entry: (entry[0], entry[2].as_posix()))
    return [
        FolderChunk(f"{folder.name}, files {begin} on", tuple(wanted[begin : begin + clips_per_part]))
        for begin in range(0, len(wanted), clips_per_part)
    ]

"""Clips of a labelled table or of a folder of classes, with classes of their own: FSD50K and the like.

    file,label,split,group                 sounds/train/Bark/001.wav
    dev/64760.wav,Guitar;Music,train,a     sounds/test/Bark/002.wav

The format is that of ``pannsx finetune`` (:mod:`pannsx.transfer.own_sounds`). A clip's id is its file as the
table names it, with ``@`` and the second where a part begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pannsx.labels import LabelSet
from pannsx.transfer.data_set import Recording, label_set
from pannsx.transfer.own_sounds import Listed, read_listed
from train.data.clips import Clip
from train.data.segments import Listing


@dataclass(frozen=True)
class TableChunk:
    """Some clips of a table."""

    name: str
    files: tuple[tuple[str, tuple[int, ...], Recording], ...]  # id, label positions, clip

    @property
    def n_clips(self) -> int:
        """One per line."""
        return len(self.files)

    def clips(self, _listing: Listing) -> Iterator[Clip]:
        """One clip per line."""
        for clip_id, targets, recording in self.files:
            yield Clip(clip_id, targets, recording.path, None, recording.start_s, recording.duration_s)

    def groups(self) -> Iterator[tuple[str, str]]:
        """Id and group of the clips that have one."""
        return ((clip_id, recording.group) for clip_id, _, recording in self.files if recording.group)


def is_table(source: Path, *, by_folder: bool) -> bool:
    """Whether a source is a labelled table, or a folder whose folders are classes."""
    return (by_folder and source.is_dir()) or (source.suffix.lower() == ".csv" and source.is_file())


def labels_of(sources: Sequence[Path]) -> LabelSet:
    """All labels of tables or folders of classes, in alphabetical order, whatever the split.

    Raises:
        ValueError, OSError: as :func:`table_chunks`.
    """
    return label_set(name for source in sources for name in read_listed(source).labels)


def table_chunks(
    source: Path, listing: Listing, clips_per_part: int, split: Sequence[str] = ()
) -> list[TableChunk]:
    """The clips of a table, or of a folder of classes, by id.

    Args:
        source: the CSV or the folder.
        listing: labels of the store.
        clips_per_part: clips a chunk.
        split: names in the table's column of splits or folds; needed if it has one.

    Raises:
        ValueError: no such table or split, a label that is not one of the store's, or no split where there
            are several, or unknown labels.
        OSError: it cannot be read.
    """
    found = read_listed(source)
    if any(recording.unknown for recording in found.recordings):
        raise ValueError(
            f"{source} has unknown labels, which a store does not hold; leave the column unknown out, and "
            "name them in the CSV of the recipe's loss.unknown"
        )
    position = [listing.labels.index(name) for name in found.labels]
    chosen = sorted(
        (_id(recording, found), tuple(sorted(position[label] for label in recording.labels)), recording)
        for recording in _of_split(found, split)
    )
    return [
        TableChunk(f"{source.name}, clips {begin} on", tuple(chosen[begin : begin + clips_per_part]))
        for begin in range(0, len(chosen), clips_per_part)
    ]


def _of_split(found: Listed, split: Sequence[str]) -> list[Recording]:
    there = sorted({recording.fold for recording in found.recordings} - {""})
    if unknown := [name for name in split if name not in there]:
        has = f"the splits {', '.join(there)}" if there else "no column of splits"
        raise ValueError(f"{found.place} has {has}; got {', '.join(unknown)}")
    if there and not split:
        raise ValueError(
            f"{found.place} has the splits {', '.join(there)}, which belong into stores of their own; say "
            "which to pack, such as --split train"
        )
    return [recording for recording in found.recordings if not split or recording.fold in split]


def _id(recording: Recording, found: Listed) -> str:
    folder = found.place if found.place.is_dir() else found.place.parent
    try:
        name = recording.path.relative_to(folder).as_posix()
    except ValueError:  # elsewhere
        name = recording.path.as_posix()
    return f"{name}@{recording.start_s:g}" if recording.start_s else name

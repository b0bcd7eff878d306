"""Sources to pack: folders of audio, labelled tables, tars, Parquet files, HDF5 packs, folders of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from train.data.clips import Chunk
from train.data.segments import Listing
from train.data.sources_folder import folder_chunks
from train.data.sources_hdf5 import hdf5_chunks
from train.data.sources_parquet import parquet_chunks
from train.data.sources_table import is_table, table_chunks
from train.data.sources_tar import tar_chunks

ARCHIVES = (".tar", ".parquet", ".h5", ".hdf5")


def _archives(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ARCHIVES)


def chunks_of(
    source: Path,
    listing: Listing,
    clips_per_part: int,
    *,
    by_folder: bool = False,
    split: Sequence[str] = (),
) -> Sequence[Chunk]:
    """The chunks of a source, one per part.

    Args:
        source: the source.
        listing: the selected clips and their labels.
        clips_per_part: clips per chunk, for sources that can be divided anywhere.
        by_folder: the folders in a folder of audio are its classes.
        split: the splits to select of tables and folders of classes.

    Raises:
        ValueError: the source is missing, or none of these kinds.
    """
    if is_table(source, by_folder=by_folder):
        return table_chunks(source, listing, clips_per_part, split)
    if source.is_dir():
        archives = _archives(source)
        if not archives:
            return folder_chunks(source, listing, clips_per_part)
        return [chunk for path in archives for chunk in chunks_of(path, listing, clips_per_part)]
    if not source.is_file():
        raise ValueError(f"there is no {source}; check the path")
    suffix = source.suffix.lower()
    if suffix == ".tar":
        return tar_chunks(source)
    if suffix == ".parquet":
        return parquet_chunks(source)
    if suffix in (".h5", ".hdf5"):
        return hdf5_chunks(source, clips_per_part)
    raise ValueError(f"cannot pack {source}; a folder of audio, .csv, or {', '.join(ARCHIVES)} is needed")

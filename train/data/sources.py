"""Sources to pack: folders of audio files, tars, Parquet files and HDF5 packs, and folders of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from train.data.clips import Chunk
from train.data.segments import Listing
from train.data.sources_folder import folder_chunks
from train.data.sources_hdf5 import hdf5_chunks
from train.data.sources_parquet import parquet_chunks
from train.data.sources_tar import tar_chunks

ARCHIVES = (".tar", ".parquet", ".h5", ".hdf5")


def chunks_of(source: Path, listing: Listing, clips_per_part: int) -> Sequence[Chunk]:
    """The chunks of a source, one per part.

    Raises:
        ValueError: the source is missing, or none of the four kinds.
    """
    if source.is_dir():
        archives = sorted(path for path in source.rglob("*") if path.suffix.lower() in ARCHIVES)
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
    raise ValueError(f"cannot pack {source}; a folder of audio, or {', '.join(ARCHIVES)} is needed")

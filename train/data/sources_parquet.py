"""Clips in Parquet files, in the layout of AudioSet on the Hub.

Columns: ``video_id``, ``audio`` (a struct of ``bytes`` and ``path``) and ``labels``, a list of label ids.
Reading them needs pyarrow: ``pip install "pannsx[parquet]"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from train.data.clips import Clip
from train.data.segments import Listing
from train.data.sources_tar import LABEL_KEYS

_ID_COLUMNS = ("video_id", "id", "ytid", "youtube_id")
_ROWS_AT_ONCE = 16  # clips of 2 MB each


@dataclass(frozen=True)
class ParquetChunk:
    """A row group of a file."""

    path: Path
    row_group: int
    n_clips: int

    @property
    def name(self) -> str:
        """The file's name and the row group's number."""
        return f"{self.path.name}, row group {self.row_group}"

    def clips(self, listing: Listing) -> Iterator[Clip]:
        """One clip per row."""
        with _opened(self.path) as file:
            names = set(file.schema_arrow.names)
            columns = [name for name in (*_ID_COLUMNS, "audio", *LABEL_KEYS) if name in names]
            if "audio" not in columns:
                raise ValueError(f"{self.path} has the columns {sorted(names)}; 'audio' is needed")
            batches = file.iter_batches(_ROWS_AT_ONCE, row_groups=[self.row_group], columns=columns)
            for row in (row for batch in batches for row in batch.to_pylist()):
                content, stem = row["audio"]["bytes"], _stem(row, self.path)
                found = listing.identify(stem, _labels(row))
                if found is not None:
                    yield Clip(*found, content or b"")


def parquet_chunks(path: Path) -> list[ParquetChunk]:
    """One chunk per row group."""
    with _opened(path) as file:
        groups = range(file.metadata.num_row_groups)
        return [ParquetChunk(path, group, file.metadata.row_group(group).num_rows) for group in groups]


def _opened(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ValueError(f'{path}: Parquet needs pyarrow; pip install "pannsx[parquet]"') from error
    try:
        return parquet.ParquetFile(path)
    except ArrowException as error:
        raise ValueError(f"{path} is not Parquet, or damaged: {error}") from error


def _stem(row: dict[str, Any], path: Path) -> str:
    for name in _ID_COLUMNS:
        if isinstance(row.get(name), str):
            return str(row[name])
    if row["audio"].get("path"):
        return PurePosixPath(row["audio"]["path"]).stem
    raise ValueError(f"{path}: a row has no id; one of the columns {', '.join(_ID_COLUMNS)} is needed")


def _labels(row: dict[str, Any]) -> list[str | int] | None:
    said = next((row[name] for name in LABEL_KEYS if row.get(name) is not None), None)
    return said if said is None or isinstance(said, list) else [said]

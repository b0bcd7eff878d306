"""Embeddings as ``.npz``, ``.parquet`` or ``.csv``, written as they arrive; memory holds a few rows."""

from __future__ import annotations

import csv
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.corpus.rows import Row, named
from pannsx.table_files import FileWriter
from pannsx.types import FloatArray

Times = npt.NDArray[np.float64] | None

_ROW_GROUP = 1024  # rows per row group of a Parquet file


class Origin(NamedTuple):
    """Origin of the embeddings.

    Attributes:
        model: name of the checkpoint.
        weights: digest of its file; empty: unknown.
        sample_rate: of the network, in Hz.
        embedding_size: ``D``.
        hop_s: time between frames; None: one row for each file.
        normalised: whether each embedding has the length 1.
    """

    model: str
    weights: str
    sample_rate: int
    embedding_size: int
    hop_s: float | None
    normalised: bool = False


class Embedded(NamedTuple):
    """The embeddings of one file.

    Attributes:
        name: its path.
        embeddings: ``(n, D)``: one, or one for each frame.
        offset_s: start of the part that was read, in seconds.
        duration_s: its length; None with ``times_s``.
        times_s: ``(n,)`` centres of the frames in the part; None: one embedding of the whole.
        is_whole: whether the part is the whole file.
    """

    name: str
    embeddings: FloatArray
    offset_s: float
    duration_s: float | None
    times_s: Times = None
    is_whole: bool = True


def unit_length(embeddings: FloatArray) -> FloatArray:
    """``(n, D)`` -> the same of length 1, so that a product of two is their cosine; zeros stay zeros."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(embeddings / np.where(lengths == 0, 1, lengths), np.float32)


class EmbeddingWriter(FileWriter, ABC):
    """Writes the embeddings of one file after another."""

    @abstractmethod
    def write(self, found: Embedded) -> None:
        """Write the embeddings of a file."""


class NpzWriter(EmbeddingWriter):
    """The archive of ``numpy.savez``; a temporary file holds the large array until its shape is known."""

    def __init__(self, path: Path, origin: Origin) -> None:
        super().__init__()
        self._path = path
        self._origin = origin
        self._values = self._stack.enter_context(tempfile.TemporaryFile(dir=path.parent))  # noqa: SIM115
        self._files: list[str] = []
        self._n_rows: list[int] = []
        self._times_s = array("d")

    def write(self, found: Embedded) -> None:
        """Add the values to the temporary file."""
        self._files.append(found.name)
        self._n_rows.append(len(found.embeddings))
        self._values.write(np.ascontiguousarray(found.embeddings, dtype="<f4").tobytes())
        if found.times_s is not None:
            self._times_s.extend(found.times_s)

    def finish(self) -> None:
        """Write the archive."""
        small = {
            "files": np.array(self._files, dtype=np.str_),
            "model": np.array(self._origin.model),
            "weights": np.array(self._origin.weights),
            "normalised": np.array(self._origin.normalised),
            "sample_rate": np.array(self._origin.sample_rate),
        }
        if self._origin.hop_s is not None:
            small["times_s"] = np.array(self._times_s)
            small["file_index"] = np.repeat(np.arange(len(self._files)), self._n_rows)
            small["hop_s"] = np.array(self._origin.hop_s)
        shape = (sum(self._n_rows), self._origin.embedding_size)
        with zipfile.ZipFile(self._path, "w") as archive:
            for name, values in small.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, values, allow_pickle=False)
            with archive.open("embeddings.npy", "w", force_zip64=True) as entry:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(entry, header)
                self._values.seek(0)
                shutil.copyfileobj(self._values, entry)


class CsvWriter(EmbeddingWriter):
    """One row per embedding, with the nine digits that identify every float32."""

    def __init__(self, path: Path, origin: Origin) -> None:
        super().__init__()
        file = self._stack.enter_context(path.open("w", newline="", encoding="utf-8"))
        self._rows = csv.writer(file, lineterminator="\n")
        dimensions = [f"e{i}" for i in range(origin.embedding_size)]
        self._rows.writerow(["file", *([] if origin.hop_s is None else ["time_s"]), *dimensions])

    def write(self, found: Embedded) -> None:
        """Write the rows."""
        for i, row in enumerate(found.embeddings.tolist()):
            time = [] if found.times_s is None else [f"{found.times_s[i]:.6f}"]
            self._rows.writerow([found.name, *time, *map("{:.9g}".format, row)])


class ParquetWriter(EmbeddingWriter):
    """Columns ``id, path, offset_s, duration_s``, ``time_s`` for frames, and ``embedding``: ``D`` float32.

    A row is the part of a file from ``offset_s``; a frame's is half a hop to both sides of ``time_s``. ``id``
    is unique: the path, and where it is a part, its times as a media fragment. The metadata of the schema
    have the fields of `Origin`.
    """

    def __init__(self, path: Path, origin: Origin) -> None:
        super().__init__()
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa = pa
        self._size = origin.embedding_size
        self._hop_s = origin.hop_s
        about = {
            "model": origin.model,
            "weights": origin.weights,
            "sample_rate": str(origin.sample_rate),
            "normalised": "true" if origin.normalised else "false",
        }
        if origin.hop_s is not None:
            about["hop_s"] = repr(origin.hop_s)
        self._schema = pa.schema(
            [
                pa.field("id", pa.string(), nullable=False),
                pa.field("path", pa.string(), nullable=False),
                pa.field("offset_s", pa.float64(), nullable=False),
                pa.field("duration_s", pa.float64(), nullable=False),
                *([] if origin.hop_s is None else [pa.field("time_s", pa.float64(), nullable=False)]),
                pa.field("embedding", pa.list_(pa.float32(), self._size), nullable=False),
            ],
            metadata=about,
        )
        self._out = self._stack.enter_context(pq.ParquetWriter(path, self._schema))
        self._rows: list[tuple[str | float, ...]] = []
        self._embeddings: list[FloatArray] = []

    def write(self, found: Embedded) -> None:
        """Collect the rows until they fill a row group."""
        self._embeddings.append(found.embeddings)
        if found.times_s is None:
            part = None if found.is_whole else found.duration_s
            name = named(Row("", found.name, found.offset_s, part))
            self._rows.append((name, found.name, found.offset_s, found.duration_s or 0.0))
        for time_s in () if found.times_s is None else found.times_s.tolist():
            half = (self._hop_s or 0.0) / 2
            start = max(time_s - half, 0.0)
            offset_s, length_s = found.offset_s + start, time_s + half - start
            name = named(Row("", found.name, offset_s, length_s))
            self._rows.append((name, found.name, offset_s, length_s, time_s))
        if len(self._rows) >= _ROW_GROUP:
            self._write_group()

    def finish(self) -> None:
        """Write the last row group."""
        if self._rows:
            self._write_group()

    def _write_group(self) -> None:
        pa = self._pa
        kinds = [field.type for field in self._schema]
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds[:-1], strict=True)]
        values = pa.array(np.concatenate(self._embeddings).astype(np.float32, copy=False).reshape(-1))
        arrays.append(pa.FixedSizeListArray.from_arrays(values, self._size))
        self._out.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows, self._embeddings = [], []


WRITERS: dict[str, Callable[[Path, Origin], EmbeddingWriter]] = {
    ".npz": NpzWriter,
    ".parquet": ParquetWriter,
    ".csv": CsvWriter,
}

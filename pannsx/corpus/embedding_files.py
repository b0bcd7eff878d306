"""Embeddings as ``.npz``, ``.parquet`` or ``.csv``, written as they arrive; memory holds a few rows."""

from __future__ import annotations

import csv
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.types import FloatArray

Times = npt.NDArray[np.float64] | None

_ROW_GROUP = 1024  # rows per row group of a Parquet file


class Origin(NamedTuple):
    """Origin of the embeddings; ``hop_s`` is the time between frames, or None for one row per file."""

    model: str
    sample_rate: int
    embedding_size: int
    hop_s: float | None


class EmbeddingWriter(ABC):
    """A context manager that writes the embeddings of one file after another."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    @abstractmethod
    def write(self, name: str, embeddings: FloatArray, times_s: Times) -> None:
        """Write ``(n, D)`` embeddings of a file: one without times, or one per frame with its centre."""

    @abstractmethod
    def finish(self) -> None:
        """Write the remaining rows and complete the file."""

    def __enter__(self) -> EmbeddingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self.finish()


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

    def write(self, name: str, embeddings: FloatArray, times_s: Times) -> None:
        """Add the values to the temporary file."""
        self._files.append(name)
        self._n_rows.append(len(embeddings))
        self._values.write(np.ascontiguousarray(embeddings, dtype="<f4").tobytes())
        if times_s is not None:
            self._times_s.extend(times_s)

    def finish(self) -> None:
        """Write the archive."""
        small = {
            "files": np.array(self._files, dtype=np.str_),
            "model": np.array(self._origin.model),
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

    def write(self, name: str, embeddings: FloatArray, times_s: Times) -> None:
        """Write the rows."""
        for i, row in enumerate(embeddings.tolist()):
            time = [] if times_s is None else [f"{times_s[i]:.6f}"]
            self._rows.writerow([name, *time, *map("{:.9g}".format, row)])

    def finish(self) -> None:
        """Do nothing: every row is written already."""


class ParquetWriter(EmbeddingWriter):
    """Columns ``file``, ``time_s`` for frames, and ``embedding``, a list of ``D`` float32."""

    def __init__(self, path: Path, origin: Origin) -> None:
        super().__init__()
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa = pa
        self._size = origin.embedding_size
        time = [] if origin.hop_s is None else [("time_s", pa.float64())]
        about = {"model": origin.model, "sample_rate": str(origin.sample_rate)}
        if origin.hop_s is not None:
            about["hop_s"] = repr(origin.hop_s)
        self._schema = pa.schema(
            [("file", pa.string()), *time, ("embedding", pa.list_(pa.float32(), self._size))], metadata=about
        )
        self._out = self._stack.enter_context(pq.ParquetWriter(path, self._schema))
        self._names: list[str] = []
        self._times_s: list[npt.NDArray[np.float64]] = []
        self._embeddings: list[FloatArray] = []

    def write(self, name: str, embeddings: FloatArray, times_s: Times) -> None:
        """Collect the rows until they fill a row group."""
        self._names += [name] * len(embeddings)
        self._embeddings.append(embeddings)
        if times_s is not None:
            self._times_s.append(times_s)
        if len(self._names) >= _ROW_GROUP:
            self._write_group()

    def finish(self) -> None:
        """Write the last row group."""
        if self._names:
            self._write_group()

    def _write_group(self) -> None:
        values = self._pa.array(np.concatenate(self._embeddings).reshape(-1))
        columns = [self._pa.array(self._names)]
        if self._times_s:
            columns.append(self._pa.array(np.concatenate(self._times_s)))
        columns.append(self._pa.FixedSizeListArray.from_arrays(values, self._size))
        self._out.write_table(self._pa.Table.from_arrays(columns, schema=self._schema))
        self._names, self._times_s, self._embeddings = [], [], []


WRITERS: dict[str, Callable[[Path, Origin], EmbeddingWriter]] = {
    ".npz": NpzWriter,
    ".parquet": ParquetWriter,
    ".csv": CsvWriter,
}

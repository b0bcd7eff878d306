"""From a row to its waveform, or to the reason for its absence."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from pannsx.audio import Selection
from pannsx.audio.view import View
from pannsx.corpus.rows import Row
from pannsx.errors import AudioError
from pannsx.types import Channel, FloatArray, Source

LONGEST_WAVEFORM_S = 30.0
"""Longer recordings are read piece by piece while the network runs. A waveform of this length has 3.8 MB at
32 kHz, and a few dozen of them wait for the network at a time."""

_TABLES_AT_ONCE = 4
_table_lock = Lock()  # a Parquet file is read by one thread at a time


class Failure(NamedTuple):
    """A row without a waveform, and the reason."""

    reason: str


class Long(NamedTuple):
    """A row whose waveform is too long to be held."""


def selection_of(row: Row, channel: Channel, *, salvage: bool) -> Selection:
    """The selection of a row's recording; ``channel`` is for rows without one."""
    return Selection(
        None, row.offset_s, row.duration_s, channel if row.channel is None else row.channel, salvage
    )


def decode(row: Row, sample_rate: int, channel: Channel, *, salvage: bool) -> FloatArray | Long | Failure:
    """The waveform ``(S,)`` of a row at ``sample_rate``, or its `Failure`."""
    most = round(LONGEST_WAVEFORM_S * sample_rate)
    selection = selection_of(row, channel, salvage=salvage)
    try:
        with opened(row) as source, selection.open(source, sample_rate) as blocks:
            if blocks.duration_s is not None and blocks.duration_s > LONGEST_WAVEFORM_S:
                return Long()
            pieces: list[FloatArray] = []
            n_samples = 0
            for piece in blocks.pieces():
                pieces.append(piece)
                n_samples += len(piece)
                if n_samples > most:
                    return Long()
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    except Exception as error:
        return Failure(reason_of(error))


def reason_of(error: Exception) -> str:
    """The reason in a row: messages of the package as they are, others with their kind."""
    return str(error) if isinstance(error, AudioError) else f"{type(error).__name__}: {error}"


@contextmanager
def opened(row: Row) -> Iterator[Source]:
    """The source of a row: a path, bytes, or a member of an archive, which is read where it lies.

    Raises:
        AudioError: the archive or the table cannot be read, or ends before the recording; or the path is a
            pipe or a device.
    """
    if row.bytes is not None:
        yield row.bytes
    elif row.path is None:
        raise AudioError("the row names no recording")
    elif row.table_row is not None:
        yield _cell(row)
    elif row.byte_offset is None or row.n_bytes is None:
        yield _regular(row.path)
    else:
        try:
            file = Path(row.path).open("rb")  # noqa: SIM115
        except OSError as error:
            raise AudioError(f"cannot open {row.path!r}: {error.strerror}") from error
        with file:
            stop = row.byte_offset + row.n_bytes
            if stop > (size := file.seek(0, io.SEEK_END)):
                raise AudioError(
                    f"the archive {row.path!r} is truncated: {row.member!r} ends at byte {stop} of {size}; "
                    "fetch or copy the archive again"
                )
            yield io.BufferedReader(_Member(file, row.place or "", row.byte_offset, stop))


def _regular(path: str) -> str:
    """The path, if a read of it cannot wait for ever, as that of a pipe or of a terminal does.

    Raises:
        AudioError: it is neither a file nor a folder; what is wrong with these is said where they are opened.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise AudioError(f"{path!r} is a pipe or a device; save what it gives to a file")
    return path


class _Member(View):
    """A member of an archive as a file of its own."""

    def __init__(self, file: Any, name: str, start: int, stop: int) -> None:
        super().__init__(file, b"", 0, runs=[(start, stop)])
        self.name = name


def _cell(row: Row) -> bytes | str:
    """The bytes in a row of a Parquet file, or the path that stands there instead."""
    path, column, number = row.path or "", row.table_column or "", row.table_row or 0
    try:
        with _table_lock:
            state = Path(path).stat()
            content = _table(path, state.st_mtime_ns, state.st_size).cell(column, number)
    except (OSError, ValueError, KeyError, IndexError) as error:  # pyarrow's errors are of these classes
        raise AudioError(f"cannot read row {number} of {path!r}: {error}") from error
    return content if isinstance(content, bytes) else _regular(str(Path(path).parent / content))


class _Table:
    """A Parquet file, of which one row group's column of bytes is held."""

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path)
        meta = self._file.metadata
        counts = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._held: tuple[str, int] | None = None
        self._cells: Any = None

    def cell(self, column: str, number: int) -> bytes | str:
        """The bytes of a row; Hugging Face datasets have them, or a path, in a struct."""
        if not 0 <= number < self._starts[-1]:
            raise IndexError(f"the file has {self._starts[-1]} rows")
        group = int(np.searchsorted(self._starts, number, side="right")) - 1
        if self._held != (column, group):
            self._cells = self._file.read_row_group(group, columns=[column])[column]
            self._held = column, group
        value = self._cells[number - int(self._starts[group])].as_py()
        if isinstance(value, dict):
            value = value.get("path") if value.get("bytes") is None else value["bytes"]
        if not isinstance(value, (bytes, str)):
            raise ValueError("the cell has no bytes")
        return value


@lru_cache(maxsize=_TABLES_AT_ONCE)
def _table(path: str, mtime_ns: int, size: int) -> _Table:
    """The open table; a file that was replaced is opened again."""
    return _Table(path)

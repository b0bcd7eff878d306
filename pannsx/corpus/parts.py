"""The parts of a run: files with the results of successive rows, each there whole or not at all."""

from __future__ import annotations

import csv
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from pannsx.atomic import replacing
from pannsx.corpus.sinks import SINKS

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from pannsx.corpus.snapshot import Snapshot

PART = re.compile(r"part-(\d{12})-(\d{6})")
"""The name of a part, without its suffix: its first row and its number of rows."""


class RunError(Exception):
    """A run cannot begin or go on; the message says what to do. Finished parts are kept."""


class Parts:
    """The rows of a run, and the parts that hold their results.

    Args:
        path: the folder of the run.
        sink: name of the format.
    """

    def __init__(self, path: Path, sink: str) -> None:
        self.path = path
        self._sink = SINKS[sink]()

    @property
    @abstractmethod
    def _rows(self) -> Snapshot:
        """The rows of the manifest."""

    def batch(self, first: int, n: int) -> dict[str, list[Any]]:
        """Rows of the manifest as the columns of a batch."""
        return self._rows.batch(first, n)

    def named(self) -> list[tuple[int, int, Path]]:
        """First row, number of rows and path of each part in order, the longest of equal beginning first."""
        named = []
        for path in self.path.glob(f"part-*{self._sink.suffix}"):
            if match := PART.fullmatch(path.name[: -len(self._sink.suffix)]):
                named.append((int(match[1]), int(match[2]), path))
        return sorted(named, key=lambda each: (each[0], -each[1]))

    def write(self, first: int, n: int, table: pa.Table) -> Path:
        """Write the results of rows ``first`` to ``first + n``.

        Raises:
            RunError: the part cannot be written; it is then not there.
        """
        target = self._path_of(first, n)
        try:
            with replacing(target, prefix="_", is_durable=True) as temporary:
                self._sink.write(table, temporary)
        except OSError as error:
            raise RunError(unwritten(target, error)) from error
        return target

    def read(self, first: int, n: int, schema: pa.Schema) -> pa.Table:
        """A part of the table.

        Raises:
            RunError: it is damaged.
        """
        path = self._path_of(first, n)
        try:
            return self._sink.read(path, schema)
        except (OSError, ValueError, RuntimeError, csv.Error) as error:  # those of Arrow and Lance, too
            raise RunError(
                f"{path} is damaged ({error}); move it out of the folder, then go on with resume=True"
            ) from error

    def _path_of(self, first: int, n: int) -> Path:
        return self.path / f"part-{first:012d}-{n:06d}{self._sink.suffix}"


def unwritten(path: Path, error: OSError) -> str:
    """The message for a file of a run that cannot be written."""
    return (
        f"cannot write {path}: {error.strerror or error}; the parts that are done are kept: make room for "
        "the rest, then go on with resume=True"
    )

"""The log of a run: JSON lines in its folder, a progress bar, and TensorBoard if installed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from pannsx.atomic import replacing

NAME = "log.jsonl"
Entry = dict[str, Any]


class Writer(Protocol):
    """The part of TensorBoard's writer in use."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Plot a point."""

    def close(self) -> None:
        """Flush and close."""


class Log:
    """The log of a run that continues after `step` steps; later entries of a killed run are removed.

    With ``write=False``, as on all ranks but the first, nothing is written.
    """

    def __init__(self, folder: Path, step: int, *, write: bool = True) -> None:
        self.path = folder / NAME
        self._file: TextIO | None = None
        self._board: Writer | None = None
        if not write:
            return
        kept = [entry for entry in read(folder) if entry["step"] <= step]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(_line(entry) for entry in kept), encoding="utf-8", newline="\n")
        self._file = self.path.open("a", encoding="utf-8", newline="\n")
        self._board = _tensorboard(folder, step)

    def add(self, kind: str, step: int, **values: float | list[float | None]) -> None:
        """Write an entry; single numbers are plotted as well."""
        if self._file is None:
            return
        self._file.write(_line({"kind": kind, "step": step, **values}))
        self._file.flush()
        for name, value in values.items():
            if self._board is not None and isinstance(value, (int, float)):
                self._board.add_scalar(f"{kind}/{name}", float(value), step)

    def close(self) -> None:
        """Flush and close."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


@contextmanager
def opened(folder: Path, step: int, *, write: bool = True) -> Iterator[Log]:
    """A log, closed at the end."""
    log = Log(folder, step, write=write)
    try:
        yield log
    finally:
        log.close()


def read(folder: Path) -> list[Entry]:
    """All entries of a run; a line left incomplete by a kill is skipped."""
    path = folder / NAME
    if not path.is_file():
        return []
    return list(_entries(path.read_text(encoding="utf-8").splitlines()))


def _entries(lines: Iterable[str]) -> Iterator[Entry]:
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and "step" in entry:
            yield entry


def _line(entry: Entry) -> str:
    plain = {key: _plain(value) for key, value in entry.items()}
    return json.dumps(plain, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """A value for JSON, with null for NaN and infinity."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tensorboard(folder: Path, step: int) -> Writer | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    writer: Writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
    return writer

"""A progress bar over the bytes of all files, on standard error, for work of more than a few seconds."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pannsx.corpus.inputs import Item

if TYPE_CHECKING:
    from pannsx.types import Source

_FEW_FILES = 8
_LONG_FILE_BYTES = 16_000_000  # a minute and a half of CD audio: seconds of work


class Progress:
    """Draws a bar where it is useful, and gives out sources that advance it as they are read.

    There is no bar if ``quiet``, if standard error is not a terminal, or for a few short files.
    """

    def __init__(self, items: Sequence[Item], *, quiet: bool) -> None:
        self._bar: Any = None
        self._files: dict[str, _WatchedFile] = {}
        self._seen: dict[str, int] = {}
        n_bytes = sum(item.size_bytes for item in items)
        if quiet or not sys.stderr.isatty() or (len(items) <= _FEW_FILES and n_bytes < _LONG_FILE_BYTES):
            return
        from tqdm import tqdm

        self._bar = tqdm(total=n_bytes, unit="B", unit_scale=True, file=sys.stderr, leave=False)

    def source(self, item: Item) -> Source:
        """The source of an item; for a large file, an open file that reports its position."""
        if self._bar is None or isinstance(item.source, bytes) or item.size_bytes < _LONG_FILE_BYTES:
            return item.source
        if item.name not in self._files:
            try:
                self._files[item.name] = _WatchedFile(
                    item.source, lambda position: self._reached(item, position)
                )
            except OSError:
                return item.source  # reading it will report the error
        return self._files[item.name]

    def finished(self, item: Item) -> None:
        """The item is done or has failed."""
        if self._bar is None:
            return
        self._reached(item, item.size_bytes)
        if file := self._files.pop(item.name, None):
            file.close()

    def writing(self) -> AbstractContextManager[Any]:
        """Hides the bar while something is printed."""
        return nullcontext() if self._bar is None else self._bar.external_write_mode()

    def _reached(self, item: Item, position: int) -> None:
        self._bar.update(position - self._seen.get(item.name, 0))
        self._seen[item.name] = position

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        if self._bar is not None:
            self._bar.close()


class _WatchedFile(io.BufferedReader):
    """A binary file that reports its position to a callback after every read."""

    def __init__(self, path: str, report: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._report = report

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self._report(self.tell())
        return found

    def readinto(self, buffer: Any, /) -> int:
        n_read = super().readinto(buffer)
        self._report(self.tell())
        return n_read

"""The process of the command: standard streams that the caller has closed, and the signal to end."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

TERMINATED = 143  # 128 + SIGTERM, as a shell reports it


class Nowhere(io.RawIOBase):
    """A file in place of a closed stream; counts the bytes written to it."""

    n_bytes = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Count the bytes."""
        n_bytes = memoryview(data).nbytes
        self.n_bytes += n_bytes
        return n_bytes


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Within it, SIGTERM is an exception, so that temporary files are removed on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)


def replace_closed_streams() -> Nowhere | None:
    """Open the standard streams that were closed (``>&-``); the next file opened would take their numbers.

    Returns:
        where standard output goes, if it was closed; otherwise None.
    """
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return None
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    if sys.stderr is None:
        sys.stderr = _writer(Nowhere())
    if sys.stdout is not None:
        return None
    lost = Nowhere()
    sys.stdout = _writer(lost)
    return lost


def _writer(raw: Nowhere) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", write_through=True)

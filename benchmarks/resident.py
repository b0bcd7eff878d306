"""Resident memory of this process, and its peak over a section of work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")
_INTERVAL_S = 0.005


def resident_bytes() -> int:
    """Resident memory now.

    Raises:
        ImportError: the system has no ``/proc``, and psutil, the alternative, is not installed.
    """
    if _STATUS.exists():
        return _status("VmRSS")
    import psutil

    return int(psutil.Process().memory_info().rss)


def private_bytes() -> int:
    """Resident memory that belongs to this process alone: without mapped files and shared memory. Linux."""
    return _status("RssAnon")


def family_bytes() -> int:
    """Memory of this process and all that it started, each shared page counted once. Linux."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(path.parent.name)] = int(path.read_text("ascii").rpartition(")")[2].split()[1])
    family = [os.getpid()]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return sum(map(_proportional_bytes, family))


def _proportional_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


class Peak:
    """Samples resident memory, or another measure of it, every ``interval_s`` from entry to exit.

    The system's own peak is unsuitable: it starts with the process and includes the reading of the weights.

    Attributes:
        bytes: the largest sample.
    """

    def __init__(self, measured: Callable[[], int] = resident_bytes, interval_s: float = _INTERVAL_S) -> None:
        self.bytes = 0
        self._interval_s = interval_s
        self._measured = measured
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Peak:
        self.bytes = self._measured()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.bytes = max(self.bytes, self._measured())

    def _sample(self) -> None:
        while not self._done.wait(self._interval_s):
            self.bytes = max(self.bytes, self._measured())


def _status(key: str) -> int:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return 1024 * int(value.split()[0])
    raise RuntimeError(f"{_STATUS} has no {key}")

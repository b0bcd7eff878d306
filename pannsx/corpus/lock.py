"""Locks of the folder of a run: the system gives them back however a process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pannsx.corpus.parts import RunError


@contextmanager
def held(path: Path, folder: Path) -> Iterator[None]:
    """Hold a lock of a folder.

    Raises:
        RunError: another process holds it.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"another run is writing to {folder}; wait for its end, or name another folder"
        ) from error
    try:
        yield
    finally:
        release(lock)


def release(lock: Any) -> None:
    """Remove the file first: one who has it open by then finds it locked."""
    with suppress(OSError):  # Windows removes no open file
        Path(lock.lock_file).unlink()
    lock.release()

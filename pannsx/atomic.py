"""Atomic writing of files: whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, *, prefix: str = "", is_durable: bool = False) -> Iterator[Path]:
    """A temporary path in the same folder; it replaces ``path`` if the block succeeds.

    Args:
        path: the file.
        prefix: begin of the temporary name; ``"_"`` hides it from programs that read all files of a folder.
        is_durable: wait until the content is on the disk before the file is replaced, so that a loss of power
            does not leave an empty one.

    Raises:
        OSError: the folder cannot be created, or ``path`` not be replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{prefix}{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = stat.S_IMODE(
            temporary.stat().st_mode
        )  # the umask's; some writers make files for their owner only
        yield temporary
        if is_durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        with suppress(OSError):  # already moved if the block succeeded
            temporary.unlink()

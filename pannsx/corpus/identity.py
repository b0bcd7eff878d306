"""Identity of an input file: path, size, modification time and a digest of its content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal, NamedTuple

Digest = Literal["parts", "full"]

_PART_BYTES = 1 << 16
"""Of head, middle and tail each: enough that recordings of equal length differ, and read in milliseconds."""

_BLOCK_BYTES = 1 << 20


class Identity(NamedTuple):
    """The identity of a file, for a resumed run.

    Attributes:
        path: absolute path, so that files of one name in different folders are different files.
        size_bytes: size.
        mtime_ns: time of the last modification.
        sha256: digest of head, middle and tail, or of the whole content.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str

    def differences(self, other: Identity) -> list[str]:
        """The differences in words; empty if it is the same file, unchanged."""
        found = []
        if self.path != other.path:
            found.append("path")
        if self.size_bytes != other.size_bytes:
            found.append(f"size {self.size_bytes:,} and {other.size_bytes:,} bytes")
        if self.mtime_ns != other.mtime_ns:
            found.append("modification time")
        if self.sha256 != other.sha256:
            found.append("content")
        return found


def identify(path: str, digest: Digest = "parts") -> Identity:
    """The identity of a file as it is now.

    Args:
        path: its path.
        digest: ``"parts"``: of head, middle and tail; ``"full"``: of all bytes.

    Raises:
        OSError: the file cannot be read, or is no file but a pipe, whose content is gone once it is read.
    """
    if not Path(path).is_file():
        raise OSError(f"{path!r} is not a regular file")
    with Path(path).open("rb") as file:
        status = os.fstat(file.fileno())
        content = hashlib.sha256()
        if digest == "full" or status.st_size <= 3 * _PART_BYTES:
            while block := file.read(_BLOCK_BYTES):
                content.update(block)
        else:
            for start in (0, (status.st_size - _PART_BYTES) // 2, status.st_size - _PART_BYTES):
                file.seek(start)
                content.update(file.read(_PART_BYTES))
    absolute = os.path.abspath(path)  # noqa: PTH100 - without "..", and links as they are
    return Identity(absolute, status.st_size, status.st_mtime_ns, content.hexdigest())

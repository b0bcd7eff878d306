"""Features on disk, by the content of a source and all settings.

An entry is a small file, written as a whole or not at all, so a killed run leaves what it had finished. Any
number of processes may share a folder: they write the same bytes under the same name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from pannsx.atomic import replacing
from pannsx.types import FloatArray, Source

logger = logging.getLogger("pannsx")

FORMAT = 1
_BLOCK_BYTES = 1 << 20


class Entry(NamedTuple):
    """Where the features of a source are kept.

    Attributes:
        name: digest of its content and of the settings.
        path: its file; None: it is none.
        state: size and modification time of the file as it was read for the digest.
    """

    name: str
    path: Path | None = None
    state: tuple[int, int] | None = None


class EmbeddingCache:
    """A folder of features.

    Args:
        folder: the folder; it is made with the first entry.
        settings: all that the features depend on but the source: plain values.
        size: number of values of an entry.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], size: int) -> None:
        self._folder = folder
        self._size = size
        text = json.dumps({"format": FORMAT, **settings}, sort_keys=True)
        self._settings = text.encode("utf-8", "surrogateescape")
        self._has_warned = False

    def entry_of(self, source: Source) -> Entry | None:
        """The entry of a source; None for one that cannot be known by its content, such as an open file."""
        digest = hashlib.sha256(self._settings)
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            # The extension, too: it may say what the bytes are.
            digest.update(f"\0file {path.suffix.lower()}\0".encode("utf-8", "surrogateescape"))
            try:
                with path.open("rb") as file:
                    state = _state(os.fstat(file.fileno()))
                    while block := file.read(_BLOCK_BYTES):
                        digest.update(block)
            except OSError:
                return None  # reading it as audio will say why
            return Entry(digest.hexdigest(), path, state)
        if isinstance(source, (bytes, bytearray, memoryview)):
            digest.update(b"\0bytes\0")
            digest.update(source)
            return Entry(digest.hexdigest())
        parts: tuple[Any, ...] = source if isinstance(source, tuple) else (source,)
        for part in parts:
            if isinstance(part, (int, np.integer)):
                digest.update(f"\0rate {int(part)}\0".encode())
            elif isinstance(part, np.ndarray) and part.dtype.kind in "iuf":
                digest.update(f"\0array {part.dtype.str} {part.shape}\0".encode())
                digest.update(np.ascontiguousarray(part).tobytes())
            else:
                return None
        return Entry(digest.hexdigest())

    def get(self, entry: Entry) -> FloatArray | None:
        """The features ``(n,)`` of an entry, or None if there are none, or a damaged file in their place."""
        try:
            with self._path(entry).open("rb") as file:
                found = np.load(file, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            logger.warning("the cached features %s are damaged and computed again: %s", entry.name, error)
            return None
        if not isinstance(found, np.ndarray) or found.dtype != np.float32 or found.shape != (self._size,):
            logger.warning("the cached features %s are damaged and computed again", entry.name)
            return None
        return found

    def put(self, entry: Entry, features: FloatArray) -> None:
        """Keep the features ``(n,)``; a place that cannot be written gives a warning, as nothing is lost.

        Those of a file that changed while it was read are not kept.
        """
        if entry.path is not None:
            with suppress(OSError):
                if _state(entry.path.stat()) != entry.state:
                    return
        path = self._path(entry)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # One writer at a time: what another one left half written is of a killed process.
            with FileLock(str(path.parent / ".lock")):
                for left in path.parent.glob("*.tmp"):
                    left.unlink(missing_ok=True)
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.save(file, np.ascontiguousarray(features, np.float32), allow_pickle=False)
        except OSError as error:
            if not self._has_warned:
                logger.warning("cannot keep features in %s: %s", self._folder, error)
                self._has_warned = True

    def _path(self, entry: Entry) -> Path:
        return self._folder / entry.name[:2] / f"{entry.name[2:]}.npy"


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns

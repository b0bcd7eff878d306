"""A store that is far away: its rows are copied when it is opened, its parts when their clips are needed."""

from __future__ import annotations

import hashlib
import queue
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from pannsx.atomic import replacing
from train.data.staging import Staging, StagingError, joined, opened, version_of
from train.data.store import Store, StoreError

_ATTEMPTS = 3


class StagedStore(Store):
    """A store at a path or URL, read through copies of its parts in a staging folder.

    Args:
        location: path or URL of the store's folder.
        staging: where its parts are copied to.

    Attributes:
        folder: the copy of its rows.

    Raises:
        StoreError: there is no complete store, or it cannot be copied.
    """

    def __init__(self, location: str, staging: Staging) -> None:
        self.location, self.staging = location, staging
        try:
            self._version = version_of(joined(location, "rows.npy"))
            super().__init__(_copy_of_rows(location, self._version, staging))
        except OSError as error:
            raise StoreError(f"cannot open the store {location}: {error}") from error
        self._wanted: queue.Queue[int] = queue.Queue()
        self._is_copying = False
        self._asked: set[int] = set()

    def part_file(self, part: int) -> Path:
        """The copy of a part, made if there is none."""
        return self.staging.local(self._part(part), version=self._version)

    def read_into(self, index: int, out: NDArray[np.int16]) -> None:
        """As :meth:`Store.read_into`; a copy that is damaged or was removed is made again."""
        for attempt in range(_ATTEMPTS):
            try:
                super().read_into(index, out)
            except StagingError as error:
                raise StoreError(str(error)) from error
            except StoreError as error:
                if attempt == _ATTEMPTS - 1:
                    raise StoreError(f"{self.location}: {error}") from error
                part = int(self._rows[index]["part"])
                self.staging.place(self._part(part), version=self._version).unlink(missing_ok=True)
            else:
                return

    def will_need(self, rows: NDArray[np.int64]) -> None:
        """Copy the parts of these rows in the background, in the order of their need."""
        parts = self._rows["part"][rows]
        new = [int(part) for part in dict.fromkeys(parts.tolist()) if part not in self._asked]
        self._asked = set(parts.tolist()) | set(new)  # asked for again once it was not needed for a batch
        if new and not self._is_copying:
            self._is_copying = True
            # A daemon: the end of a run does not wait for parts that nobody will read.
            threading.Thread(target=self._copy_wanted, name="staging", daemon=True).start()
        for part in new:
            self._wanted.put(part)

    def __reduce__(self) -> tuple[Any, ...]:
        return StagedStore, (self.location, self.staging)

    def _copy_wanted(self) -> None:
        while True:
            with suppress(OSError):  # the reader meets the error again
                self.part_file(self._wanted.get())
            self._wanted.task_done()

    def _part(self, part: int) -> str:
        return joined(self.location, "parts", f"{part:05d}.bin")


def _copy_of_rows(location: str, version: str, staging: Staging) -> Path:
    """A folder with copies of a store's ``store.json`` and ``rows.npy``; the first completes it."""
    name = hashlib.sha256(f"{location}\n{version}".encode()).hexdigest()[:32]
    folder = staging.folder / "stores" / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "copy.lock"):
        for file in ("rows.npy", "store.json"):
            if (folder / "store.json").exists():
                break
            with opened(joined(location, file)) as (source, size), replacing(folder / file) as temporary:
                n_written = temporary.write_bytes(source.read())
                if n_written != size:
                    raise StagingError(
                        f"{location}/{file} has {size} bytes, but {n_written} were read; try again"
                    )
    return folder

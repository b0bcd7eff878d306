"""A selection of rows of stores, with the interface of a store, and its index file."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pannsx.atomic import replacing
from train.data.packed import Clips
from train.data.staged_store import StagedStore
from train.data.staging import Staging, is_url
from train.data.store import Ids, Store, StoreError
from train.data.targets import Targets

FORMAT = 1


class Indexed(Clips):
    """Rows of stores, with the interface of a :class:`train.data.store.Store`.

    Attributes:
        stores: the stores.
        rows: rows of each store, ascending.

    Raises:
        StoreError: the stores differ in rate, length or labels, or a row is out of range.
    """

    def __init__(self, stores: Sequence[Store], rows: Sequence[NDArray[np.int64]]) -> None:
        if not stores or len(stores) != len(rows):
            raise StoreError(f"got {len(stores)} stores and rows of {len(rows)}; equal numbers are needed")
        for store in stores[1:]:
            for what in ("sample_rate", "n_samples", "labels"):
                if getattr(store, what) != getattr(stores[0], what):
                    raise StoreError(
                        f"{store.folder} and {stores[0].folder} differ in {what}; pack them alike"
                    )
        for store, chosen in zip(stores, rows, strict=True):
            if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < len(store):
                raise StoreError(
                    f"the index asks for row {int(chosen.max())} of {len(store)} of {store.folder}"
                )
        self.stores, self.rows = tuple(stores), tuple(rows)
        self.sample_rate: int = stores[0].sample_rate
        self.n_samples: int = stores[0].n_samples
        self.labels: tuple[str, ...] = stores[0].labels
        self.label_ids = stores[0].label_ids
        self._ends = np.cumsum([len(chosen) for chosen in rows])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def ids(self) -> Ids:
        """``N`` ids of the clips."""
        chosen = zip(self.stores, self.rows, strict=True)
        return Ids(np.concatenate([store.ids.encoded[rows] for store, rows in chosen]))

    @cached_property
    def targets(self) -> Targets:
        """``(N, K)``: whether a clip has a label; memory-mapped bits."""
        chosen = zip(self.stores, self.rows, strict=True)
        return Targets([(store.target_bits, rows) for store, rows in chosen], len(self.labels))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``(N,)`` samples of each clip before it was padded."""
        return np.concatenate([s.lengths[rows] for s, rows in zip(self.stores, self.rows, strict=True)])

    def read(self, index: int) -> NDArray[np.int16]:
        """The clip at a position of the index, ``(n_samples,)``; as :meth:`train.data.store.Store.read`."""
        store, row = self._place(index)
        return store.read(row)

    def read_into(self, index: int, out: NDArray[np.int16]) -> None:
        """The clip at a position into ``out`` ``(n_samples,)``, contiguous."""
        store, row = self._place(index)
        store.read_into(row, out)

    @property
    def parts(self) -> NDArray[np.int64]:
        """``(N,)`` number of the file of each clip, over all stores."""
        numbers, begin = [], 0
        for store, rows in zip(self.stores, self.rows, strict=True):
            parts = store.parts[rows]
            numbers.append(begin + parts)
            begin += int(parts.max(initial=-1)) + 1
        return np.concatenate(numbers)

    def will_need(self, rows: NDArray[np.int64]) -> None:
        """Tell each store which of its rows will be read soon."""
        which = np.searchsorted(self._ends, rows, side="right")
        for number, (store, own) in enumerate(zip(self.stores, self.rows, strict=True)):
            begin = int(self._ends[number - 1]) if number else 0
            here = rows[which == number] - begin
            if len(here):
                store.will_need(own[here])

    def _place(self, index: int) -> tuple[Store, int]:
        """The store of a position, and the row in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of an index of {len(self)}")
        which = int(np.searchsorted(self._ends, index, side="right"))
        begin = int(self._ends[which - 1]) if which else 0
        return self.stores[which], int(self.rows[which][index - begin])

    def __reduce__(self) -> tuple[Any, ...]:
        return Indexed, (self.stores, self.rows)


def open_index(path: str | Path, staging: Staging | None = None) -> Store | Indexed:
    """The clips of an index file, or all clips of a store's folder.

    Args:
        path: path of an index, or path or URL of a store.
        staging: read stores through copies of their parts; needed for URLs.

    Raises:
        StoreError: neither index nor store, or a store that is missing or has changed since the index was
            made.
    """
    if is_url(str(path)):
        return _opened_store(str(path), staging)
    path = Path(path)
    if path.is_dir():
        return _opened_store(path, staging)
    try:
        with np.load(path, allow_pickle=False) as file:
            content = json.loads(bytes(file["about"]).decode())
            rows = [file[f"rows_{number}"] for number in range(len(content["stores"]))]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"cannot read the index {path}: {error}; make it with train.index") from error
    if content["format"] != FORMAT:
        raise StoreError(
            f"{path} is an index of format {content['format']}; {FORMAT} is needed; make it again "
            "with train.index"
        )
    stores = []
    for said in content["stores"]:
        folder = said["folder"]
        store = _opened_store(folder if is_url(folder) else path.parent / folder, staging)
        if digest_of(store) != said["digest"]:
            raise StoreError(f"{store.folder} was packed again since {path} was made; make the index again")
        stores.append(store)
    return Indexed(stores, rows)


def _opened_store(location: str | Path, staging: Staging | None) -> Store:
    if staging is not None:
        return StagedStore(str(location), staging)
    if is_url(str(location)):
        raise StoreError(
            f"{location} is read through copies of its parts; give a local folder for them: data.staging of "
            "a recipe, or --staging"
        )
    return Store(location)


def write_index(path: str | Path, index: Indexed, about: dict[str, Any] | None = None) -> None:
    """Write an index (``.npz``); store paths are relative to it."""
    path = Path(path).absolute()
    stores = [
        {"folder": _relative(store.folder, path.parent), "digest": digest_of(store)} for store in index.stores
    ]
    content = json.dumps({"format": FORMAT, "stores": stores, "about": about or {}}).encode()
    arrays = {f"rows_{number}": rows for number, rows in enumerate(index.rows)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=np.frombuffer(content, np.uint8), **arrays)  # type: ignore[arg-type]


def digest_of(store: Store) -> str:
    """A digest of a store's rows."""
    with (store.folder / "rows.npy").open("rb") as file:
        checksum = 0
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def _relative(folder: Path, start: Path) -> str:
    try:
        return Path(os.path.relpath(folder, start)).as_posix()
    except ValueError:  # on another drive
        return folder.as_posix()

"""Select clips for training or evaluation: an index file of rows of one or more stores.

python -m train.index INDEX STORE... [--segments LIST...] [--black-list FILE...] [--leave-out silent]
    [--hold-out 0.05 --seed 0 --held-out OTHER_INDEX]

The published sets: *balanced* is the store of the balanced list, *full* that of the balanced and the
unbalanced list, *evaluation* that of the evaluation list; with one store of everything,
``--segments`` selects them.  A black list is a file of ids, one per line or in the first column of a CSV.
The clips held out depend only on their ids and the seed, so that clips added later do not move others to
the other side; clips of one group of a labelled table are held out together.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.data.indexed import Indexed, open_index, write_index
from train.data.segments import read_segments
from train.data.store import GROUPS, Store, StoreError

__all__ = ["Indexed", "faulty", "hold_out", "open_index", "read_ids", "select", "write_index"]

_HEADER_WORDS = {"id", "ytid", "video_id", "name"}


def select(
    stores: Sequence[Store], *, only: Iterable[str] | None = None, without: Iterable[str] = ()
) -> Indexed:
    """The selected clips of stores, each once.

    Args:
        stores: stores in order of preference, for clips in several of them.
        only: ids to include; None: all.
        without: ids to exclude (black list).
    """
    taken = [_encoded(without)]
    wanted = None if only is None else _encoded(only)
    rows = []
    for store in stores:
        ids = store.ids.encoded
        chosen = ~np.isin(ids, np.concatenate(taken))
        if wanted is not None:
            chosen &= np.isin(ids, wanted)
        rows.append(np.flatnonzero(chosen))
        taken.append(ids[chosen])
    return Indexed(stores, rows)


def _encoded(ids: Iterable[str]) -> NDArray[np.bytes_]:
    return np.array([clip_id.encode() for clip_id in ids] or [b""], np.bytes_)


def hold_out(index: Indexed, share: float, seed: int) -> tuple[Indexed, Indexed]:
    """Remaining and held-out clips: about ``share`` of the clips are held out, by a hash of seed and id.

    Clips of a group (``groups.csv`` of the store) are on one side.

    Raises:
        ValueError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share to hold out is {share}; it must be between 0 and 1")
    remaining, held = [], []
    for store, rows in zip(index.stores, index.rows, strict=True):
        groups = _groups(store)
        ids = (store.ids[int(row)] for row in rows)
        out = np.array([_uniform(groups.get(name, name), seed) < share for name in ids], np.bool_)
        remaining.append(rows[~out])
        held.append(rows[out])
    return Indexed(index.stores, remaining), Indexed(index.stores, held)


def read_ids(path: Path) -> list[str]:
    """Ids from a text file, one per line, or the first column of a CSV; ``#`` begins a comment.

    As in the published black lists, ids may be written as file names (``Y<id>.wav``).
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = [row[0].strip() for row in csv.reader(file) if row and not row[0].lstrip().startswith("#")]
    if first and first[0].casefold() in _HEADER_WORDS:
        del first[0]
    return [name[1:-4] if name.startswith("Y") and name.endswith(".wav") else name for name in first if name]


def faulty(store: Store, kinds: Iterable[str]) -> list[str]:
    """The ids with the given faults in a store's packing report.

    Raises:
        StoreError: the store has no report.
    """
    wanted, path = set(kinds), store.folder / "report.csv"
    if not wanted:
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [row["id"] for row in csv.DictReader(file) if row["fault"] in wanted]
    except OSError as error:
        raise StoreError(f"cannot read {path}, the report of train.pack: {error.strerror}") from error


def _groups(store: Store) -> dict[str, str]:
    """The group of each clip that has one."""
    path = store.folder / GROUPS
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["group"] for row in csv.DictReader(file)}


def _uniform(clip_id: str, seed: int) -> float:
    """A pseudo-random number in [0, 1), the same on every machine."""
    digest = hashlib.blake2b(f"{seed}:{clip_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.index", description="Select clips of stores.")
    parser.add_argument("index", type=Path, help="file to write (.npz)")
    parser.add_argument("stores", type=Path, nargs="+", help="stores, in order of preference")
    parser.add_argument(
        "--segments", type=Path, nargs="+", default=[], help="include only clips on these lists"
    )
    parser.add_argument("--black-list", type=Path, nargs="+", default=[], help="files of ids to exclude")
    parser.add_argument(
        "--leave-out",
        nargs="+",
        default=[],
        choices=("silent", "duplicate"),
        help="exclude clips with these faults in the packing report",
    )
    parser.add_argument("--hold-out", type=float, help="share of the clips to hold out")
    parser.add_argument("--seed", type=int, default=0, help="seed of the hold-out (default: %(default)s)")
    parser.add_argument("--held-out", type=Path, help="index file for the held-out clips")
    given = parser.parse_args(arguments)
    if (given.hold_out is None) != (given.held_out is None):
        parser.error("--hold-out (share) and --held-out (index file) need each other: give both or neither")
    try:
        stores = [Store(folder) for folder in given.stores]
        only = {segment.id for path in given.segments for segment in read_segments(path)} or None
        black = [clip_id for path in given.black_list for clip_id in read_ids(path)]
        black += [clip_id for store in stores for clip_id in faulty(store, given.leave_out)]
        index = select(stores, only=only, without=black)
        made_with = {
            "segments": [path.name for path in given.segments],
            "black_lists": [path.name for path in given.black_list],
            "leave_out": given.leave_out,
            "hold_out": given.hold_out,
            "seed": given.seed,
        }
        if given.hold_out is not None:
            index, held = hold_out(index, given.hold_out, given.seed)
            write_index(given.held_out, held, made_with)
            print(f"{given.held_out}: {len(held)} clips")
        write_index(given.index, index, made_with)
        unused = [rows for rows in index.targets.rows_of_classes if not len(rows)]
        print(
            f"{given.index}: {len(index)} clips"
            + (f", {len(unused)} labels without any" if len(unused) else "")
        )
    except (StoreError, OSError, ValueError) as error:
        print(f"train.index: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

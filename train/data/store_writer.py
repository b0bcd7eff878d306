"""Writing a store: parts by any number of processes, then the rows of all parts.

A part is complete once its rows file exists next to it; files are written under temporary names and
renamed.  A killed run therefore leaves complete parts and temporary files, never half a part.  A power
failure may still lose a part in the disk's cache: the checksums detect that.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

import pannsx
from pannsx.atomic import replacing
from pannsx.labels import LabelSet
from train.data.encoding import encode
from train.data.store import FORMAT, part_path, row_dtype


class Fault(NamedTuple):
    """A finding about a clip: ``missing``, ``corrupt``, ``silent``, ``duplicate`` or ``repeated``."""

    id: str
    kind: str
    detail: str


class PackedClip(NamedTuple):
    """A clip's entry in a part."""

    id: str
    targets: tuple[int, ...]
    offset: int
    n_bytes: int
    n_samples: int
    crc32: int
    digest: str  # of the samples: equal for identical clips


class PartWriter:
    """Appends clips to the file of a part; see :func:`writing_part`."""

    def __init__(self, file: BinaryIO, variant: str, sample_rate: int) -> None:
        self._file = file
        self._variant, self._sample_rate = variant, sample_rate
        self.clips: list[PackedClip] = []
        self.faults: list[Fault] = []

    def add(self, clip_id: str, targets: Iterable[int], pcm: NDArray[np.int16]) -> None:
        """``(n,)`` samples with the positions of the clip's labels."""
        encoded = encode(pcm, self._variant, self._sample_rate)
        digest = hashlib.blake2b(pcm.tobytes(), digest_size=16).hexdigest()
        offset = self._file.tell()
        self._file.write(encoded)
        self.clips.append(
            PackedClip(clip_id, tuple(targets), offset, len(encoded), len(pcm), zlib.crc32(encoded), digest)
        )


@contextmanager
def writing_part(folder: Path, part: int, variant: str, sample_rate: int) -> Iterator[PartWriter]:
    """A part to be filled; it is created when the block ends without an error."""
    path = part_path(folder, part)
    with replacing(path) as temporary, temporary.open("wb") as file:
        writer = PartWriter(file, variant, sample_rate)
        yield writer
    contents = {"clips": writer.clips, "faults": writer.faults, "n_bytes": path.stat().st_size}
    _write_json(_contents_path(path), contents)


def read_part(folder: Path, part: int) -> tuple[list[PackedClip], list[Fault]] | None:
    """Clips and faults of a complete part; None if the part is missing or incomplete."""
    path = part_path(folder, part)
    try:
        contents = json.loads(_contents_path(path).read_text("utf-8"))
        if path.stat().st_size != contents["n_bytes"]:
            return None
    except (OSError, ValueError):
        return None
    clips = [PackedClip(clip_id, tuple(targets), *rest) for clip_id, targets, *rest in contents["clips"]]
    return clips, [Fault(*fault) for fault in contents["faults"]]


def finish(
    folder: Path,
    parts: Iterable[Sequence[PackedClip]],
    *,
    labels: LabelSet,
    sample_rate: int,
    n_samples: int,
    variant: str,
    made_with: dict[str, Any] | None = None,
) -> list[Fault]:
    """Write the rows of all parts and then ``store.json``, which completes the store.

    Parts are taken one at a time. About 320 bytes a clip are in memory at once.

    Returns:
        Faults across parts: repeated ids (the first one counts), and identical clips under several ids.
    """
    tables, digests = [_rows(0, [], len(labels))], [np.empty(0, "S32")]
    for number, part in enumerate(parts):
        tables.append(_rows(number, part, len(labels)))
        digests.append(np.array([clip.digest for clip in part], "S32"))
    ids = np.concatenate([table["id"] for table in tables])
    first = _first_of(ids)
    kept = np.flatnonzero(first == np.arange(len(ids)))
    faults = [
        Fault(ids[row].decode(), "repeated", "the id is already in use; this clip has no row")
        for row in np.flatnonzero(first != np.arange(len(ids))).tolist()
    ]
    first = _first_of(np.concatenate(digests)[kept])
    faults += [
        Fault(ids[kept[row]].decode(), "duplicate", f"the same sound as {ids[kept[first[row]]].decode()}")
        for row in np.flatnonzero(first != np.arange(len(kept))).tolist()
    ]
    with replacing(folder / "rows.npy") as temporary:
        _write_rows(temporary, tables, kept, row_dtype(len(labels), ids.dtype.itemsize))
    settings = {
        "format": FORMAT,
        "sample_rate": sample_rate,
        "n_samples": n_samples,
        "variant": variant,
        "labels": list(labels),
        "label_ids": None if labels.ids is None else list(labels.ids),
        "n_clips": len(kept),
        "made_with": {"pannsx": pannsx.__version__, **(made_with or {})},
    }
    _write_json(folder / "store.json", settings)
    return faults


def write_store(
    folder: str | Path,
    clips: Iterable[tuple[str, Iterable[int], NDArray[np.int16]]],
    *,
    labels: LabelSet,
    sample_rate: int,
    n_samples: int,
    variant: str = "raw",
    clips_per_part: int = 512,
) -> None:
    """Write a store of clips in memory, ``(id, positions of labels, (n,) samples)``, in one process.

    Raises:
        ValueError: a clip is longer than ``n_samples``, or an id is repeated.
    """
    folder = Path(folder)
    parts: list[list[PackedClip]] = []
    pending = iter(clips)
    exhausted = False
    while not exhausted:
        with writing_part(folder, len(parts), variant, sample_rate) as writer:
            for clip_id, targets, pcm in pending:
                if len(pcm) > n_samples:
                    raise ValueError(f"clip {clip_id!r} has {len(pcm)} samples; the limit is {n_samples}")
                writer.add(clip_id, targets, pcm)
                if len(writer.clips) == clips_per_part:
                    break
            else:
                exhausted = True
        parts.append(writer.clips)
    faults = finish(
        folder, parts, labels=labels, sample_rate=sample_rate, n_samples=n_samples, variant=variant
    )
    repeated = [fault.id for fault in faults if fault.kind == "repeated"]
    if repeated:
        raise ValueError(f"ids must be unique; {len(repeated)} are repeated, among them {repeated[0]!r}")


def _rows(part: int, clips: Sequence[PackedClip], n_classes: int) -> NDArray[Any]:
    """The rows of a part's clips."""
    encoded = [clip.id.encode() for clip in clips]
    rows = np.zeros(len(clips), row_dtype(n_classes, max(map(len, encoded), default=1)))
    rows["id"], rows["part"] = encoded, part
    for name in ("offset", "n_bytes", "n_samples", "crc32"):
        rows[name] = [getattr(clip, name) for clip in clips]
    bits = rows["targets"]
    for row, clip in enumerate(clips):
        for position in clip.targets:
            bits[row, position >> 3] |= 1 << (position & 7)
    return rows


def _first_of(values: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """``(N,)``: for each value, the position of the first one equal to it."""
    _, firsts, which = np.unique(values, return_index=True, return_inverse=True)
    return firsts[which.ravel()]


def _write_rows(
    path: Path, tables: Sequence[NDArray[Any]], kept: NDArray[np.int64], dtype: np.dtype[Any]
) -> None:
    """The kept rows of all tables, one table at a time."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (len(kept),)}
        np.lib.format.write_array_header_1_0(file, header)
        begin = 0
        for table in tables:
            end = begin + len(table)
            own = kept[np.searchsorted(kept, begin) : np.searchsorted(kept, end)] - begin
            file.write(table[own].astype(dtype).tobytes())
            begin = end


def _contents_path(part: Path) -> Path:
    return part.with_suffix(".json")


def _write_json(path: Path, content: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8", newline="\n")

"""From parts to a bank: all clips in one memory-mapped file, and an index with a row for each.

pool.npy          int16 ``(N, 160000)``, zeros after a clip's end
lengths.npy       ``(N,)`` samples of each clip
index.csv         a row for each clip (:mod:`train.data.banks`)
groups.csv        for each row of the table: clips and seconds obtained
report.csv        excluded files and clips, with the reasons
attribution.csv   every package with its version, digest and licences
copyright/        the copyright file of every package
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pannsx.atomic import replacing
from train.data.banks import INDEX_COLUMNS
from train.pool.cutting import CLIP_SAMPLES, SAMPLE_RATE
from train.pool.licences import TIERS, tier_of
from train.pool.parts import Part, Problem, read_part
from train.pool.table import Row


class _Chosen(NamedTuple):
    """A clip chosen for the bank."""

    part: Path
    number: int
    n_samples: int
    row: Row
    path: str
    start_s: float
    licence: str
    tier: str


class Summary(NamedTuple):
    """Contents of a bank, and the problems."""

    n_clips: int
    seconds: float
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        text = f"{self.n_clips} clips, {self.seconds / 3600:.2f} h"
        return f"{text}; {len(self.problems)} problems, see report.csv" if self.problems else text


def write_bank(
    folder: Path, parts: Sequence[tuple[Sequence[Row], Path]], *, tier: str, missing: Iterable[Problem] = ()
) -> Summary:
    """Join parts.

    Args:
        folder: folder to write into.
        parts: rows and file of each package's part, in the order of the table.
        tier: the least free tier to accept.
        missing: packages without a part, for the report.

    Raises:
        PoolError: a part is damaged.
        OSError: a file cannot be written.
    """
    allowed = TIERS[: TIERS.index(tier) + 1]
    chosen: list[_Chosen] = []
    problems = list(missing)
    seen: set[str] = set()
    attribution: list[tuple[object, ...]] = []
    groups: list[tuple[object, ...]] = []
    copyrights: dict[str, str] = {}
    for rows, path in parts:
        part = read_part(path)
        package = rows[0].package
        own = _choose(rows, path, part, allowed, seen)
        chosen += own
        problems += part.problems
        for row in rows:
            clips = [clip for clip in own if clip.row is row]
            seconds = sum(clip.n_samples for clip in clips) / SAMPLE_RATE
            groups.append((package, row.files, row.kind, row.split, len(clips), round(seconds, 1)))
            if not clips and row.tier != "drop" and (row.tier == "per file" or row.tier in allowed):
                problems.append(Problem(package, row.files, "no clips", 0, ""))
        if own:
            names = sorted({clip.licence for clip in own})
            attribution.append((package, part.version, part.sha256, " | ".join(names), len(own)))
            if part.copyright:
                copyrights[package] = part.copyright
    write_samples(folder, _samples_of(chosen), len(chosen))
    write_csv(folder / "attribution.csv", ("package", "version", "sha256", "licences", "clips"), attribution)
    write_csv(folder / "groups.csv", ("package", "files", "kind", "split", "clips", "seconds"), groups)
    write_csv(folder / "report.csv", Problem._fields, problems)
    _write_copyrights(folder / "copyright", copyrights)
    write_csv(folder / "index.csv", INDEX_COLUMNS, _index_rows(chosen))
    seconds = sum(clip.n_samples for clip in chosen) / SAMPLE_RATE
    return Summary(len(chosen), seconds, tuple(problems))


def _choose(
    rows: Sequence[Row], path: Path, part: Part, allowed: Sequence[str], seen: set[str]
) -> list[_Chosen]:
    """The clips of a part with permitted tiers, without sounds already in the bank."""
    chosen = []
    n_samples = np.diff(part.ends, prepend=0)
    for number, digest in enumerate(part.digests):
        tier = tier_of(part.licences[number])
        if tier not in allowed or digest in seen:
            continue
        seen.add(digest)
        chosen.append(
            _Chosen(
                path,
                number,
                int(n_samples[number]),
                rows[int(part.rows[number])],
                part.paths[number],
                float(part.starts_s[number]),
                part.licences[number],
                tier,
            )
        )
    return chosen


def _samples_of(chosen: Iterable[_Chosen]) -> Iterator[NDArray[np.int16]]:
    """The samples ``(n,)`` of each clip, with one part in memory at a time."""
    part, path = None, None
    for clip in chosen:
        if part is None or clip.part != path:
            part, path = read_part(clip.part), clip.part
        yield part.clip(clip.number)


def write_samples(folder: Path, clips: Iterable[NDArray[np.int16]], n_clips: int) -> None:
    """Write ``pool.npy`` and ``lengths.npy`` of clips ``(n,)``, one after the other."""
    lengths = np.zeros(n_clips, np.int32)
    with replacing(folder / "pool.npy") as temporary:
        pool = np.lib.format.open_memmap(temporary, mode="w+", dtype="<i2", shape=(n_clips, CLIP_SAMPLES))
        for place, clip in enumerate(clips):
            lengths[place] = len(clip)
            pool[place, : len(clip)] = clip
        pool.flush()
        del pool
    with replacing(folder / "lengths.npy") as temporary, temporary.open("wb") as file:
        np.save(file, lengths)


def _index_rows(chosen: Sequence[_Chosen]) -> Iterable[tuple[object, ...]]:
    for place, clip in enumerate(chosen):
        seconds = round(clip.n_samples / SAMPLE_RATE, 3)
        yield (
            place, clip.row.package, clip.path, clip.start_s, seconds, clip.licence, clip.tier,
            clip.row.kind, clip.row.split,
        )  # fmt: skip


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table atomically."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _write_copyrights(folder: Path, texts: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for package, text in texts.items():
        (folder / f"{package.replace(':', '-')}.txt").write_text(text, encoding="utf-8", newline="\n")

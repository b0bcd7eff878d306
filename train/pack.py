"""Pack audio into a store (:mod:`train.data.store`).

python -m train.pack STORE SOURCE... [--segments LIST...] [--sample-rate 32000] [--variant flac]
python -m train.pack STORE TABLE.csv [--split train]

Sources are folders of audio files, labelled tables, WebDataset tars, Parquet files and published HDF5 packs
(and folders of the last three), in any mixture, and URLs of tars (``--staging``).  With segment lists, the
clips on the lists are packed with the lists' labels; otherwise all clips with the source's labels.

A labelled table is a CSV with the columns file (relative to it) and label (several separated by ``;``),
optionally split, group, start_s and duration_s; or, with ``--by-folder``, a folder with a folder for each
class. Its classes are those of the store, unless ``--labels`` names others, and a recipe with
``model.labels=data`` trains on them. With splits, ``--split`` selects some, a store for each.

After a kill the same command resumes: finished parts are kept.  Clips that are missing or cannot be decoded
have no rows.  ``report.csv`` in the store lists them, and silent and duplicate clips; ``train.index`` can
exclude these.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from tqdm import tqdm

from pannsx.atomic import replacing
from pannsx.errors import AudioError
from pannsx.labels import LabelSet, audioset, read_labels
from train.data.clips import Chunk, Wanted, is_silent, samples_of
from train.data.encoding import VARIANTS
from train.data.segments import Listing
from train.data.sources import chunks_of
from train.data.sources_folder import FolderChunk
from train.data.sources_table import TableChunk, is_table, labels_of
from train.data.sources_tar import far_tar_chunks
from train.data.staging import Staging, is_url
from train.data.store import GROUPS, Store
from train.data.store_writer import Fault, PackedClip, finish, read_part, writing_part
from train.data.workers import run_all

CLIPS_PER_PART = 1024  # 650 MB raw: few files for two million clips, and a kill loses little


class PackError(RuntimeError):
    """Packing was not completed; the message says what to do."""


@dataclass(frozen=True)
class Report:
    """Outcome of packing.

    Attributes:
        n_packed: number of rows in the store.
        faults: in the order of the store, then the missing clips.
    """

    n_packed: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        counts = Counter(fault.kind for fault in self.faults)
        return ", ".join(
            [f"{self.n_packed} clips packed", *(f"{n} {kind}" for kind, n in sorted(counts.items()))]
        )


class _Job(NamedTuple):
    """Settings common to all parts."""

    folder: Path
    wanted: Wanted
    listing: Listing


def pack(
    folder: str | Path,
    sources: Iterable[str | Path],
    *,
    labels: LabelSet,
    lists: Sequence[str | Path] = (),
    wanted: Wanted | None = None,
    n_workers: int = 0,
    clips_per_part: int = CLIPS_PER_PART,
    staging: Staging | None = None,
    keep_going: bool = False,
    progress: bool = False,
    by_folder: bool = False,
    split: Sequence[str] = (),
) -> Report:
    """Pack sources into the store ``folder``, or resume an earlier call.

    Args:
        folder: the store.
        sources: see the module's docstring.
        labels: ``K`` labels of the store.
        lists: segment lists.
        wanted: rate, length and variant of packed clips.
        n_workers: number of processes; 0: pack in this one.
        clips_per_part: clips per part, for sources that can be divided anywhere.
        staging: where tars at URLs are copied to.
        keep_going: skip tars, packs and row groups that cannot be read.
        progress: show a progress bar.
        by_folder: the folders in a source are its classes.
        split: the splits to pack of labelled tables.

    Raises:
        PackError: another process is packing there, the folder holds a store with other settings or sources,
            a source cannot be read, or a worker died.
        ValueError: unknown labels, or sources without labels.
    """
    folder, wanted = Path(folder), wanted or Wanted()
    listing = Listing(labels, lists)
    chunks = [
        chunk
        for source in sources
        for chunk in (
            far_tar_chunks(str(source), staging)
            if is_url(str(source))
            else chunks_of(Path(source), listing, clips_per_part, by_folder=by_folder, split=split)
        )
    ]
    if not chunks:
        raise PackError("there is nothing to pack: no source has a clip on the lists; check their ids")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "pack.lock", timeout=0):
            _check_plan(folder, wanted, labels, chunks)
            _pack_chunks(
                _Job(folder, wanted, listing), chunks, n_workers, keep_going=keep_going, progress=progress
            )
            _write_groups(folder, chunks)
            return _finish(folder, wanted, listing, len(chunks))
    except Timeout:
        raise PackError(f"another process is packing into {folder}; wait for it") from None


def pack_chunk(job: _Job, piece: tuple[int, Chunk]) -> int:
    """Pack one part; returns the number of clips processed."""
    number, chunk = piece
    wanted, n_seen = job.wanted, 0
    with writing_part(job.folder, number, wanted.variant, wanted.sample_rate) as part:
        for clip in chunk.clips(job.listing):
            n_seen += 1
            try:
                pcm = samples_of(clip, wanted)
            except (AudioError, OSError) as error:
                is_missing = isinstance(clip.audio, Path) and not clip.audio.is_file()
                part.faults.append(Fault(clip.id, "missing" if is_missing else "corrupt", str(error)))
                continue
            if is_silent(pcm):
                part.faults.append(Fault(clip.id, "silent", f"{len(pcm) / wanted.sample_rate:.3f} s"))
            part.add(clip.id, clip.targets, pcm)
    return n_seen


def _check_plan(folder: Path, wanted: Wanted, labels: LabelSet, chunks: Sequence[Chunk]) -> None:
    """PackError if the folder's parts are of other sources or settings."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(repr(chunk).encode())
    names = hashlib.sha256("\n".join(labels).encode()).hexdigest()
    plan: dict[str, Any] = {
        **asdict(wanted),
        "labels": names,
        "n_parts": len(chunks),
        "sources": digest.hexdigest(),
    }
    path = folder / "pack.json"
    if not path.is_file():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8", newline="\n")
    before = json.loads(path.read_text("utf-8"))
    changed = [key for key in plan if before.get(key) != plan[key]]
    if changed:
        raise PackError(
            f"{folder} was started with other {' and '.join(changed)}; repeat the original command, "
            "or pack into a new folder"
        )
    for leftover in (folder / "parts").glob("*.tmp"):  # of killed runs: by the lock, no other run is active
        leftover.unlink()


def _pack_chunks(
    job: _Job, chunks: Sequence[Chunk], n_workers: int, *, keep_going: bool, progress: bool
) -> None:
    pieces = {n: (n, chunk) for n, chunk in enumerate(chunks) if read_part(job.folder, n) is None}
    known = [chunk.n_clips for chunk in chunks]
    total = None if None in known else sum(n for n in known if n)
    n_done = sum(n or 0 for number, n in enumerate(known) if number not in pieces)
    if all(isinstance(chunk, FolderChunk) for chunk in chunks):
        job = job._replace(
            listing=Listing(job.listing.labels)
        )  # files have their labels: lists need not be sent
    failures: list[str] = []
    with tqdm(total=total, initial=n_done, unit="clip", disable=not progress, smoothing=0.05) as bar:
        try:
            for number, outcome in run_all(pack_chunk, pieces, job, n_workers):
                if isinstance(outcome, Exception):
                    failures.append(f"{chunks[number].name}: {outcome}")
                    if isinstance(outcome, OSError) and not keep_going:
                        break  # usually a full disk: every further part would fail as well
                else:
                    bar.update(outcome)
        except RuntimeError as error:
            raise PackError(str(error)) from error
    if failures and not keep_going:
        raise PackError(
            "finished parts are kept; run the same command again when this is repaired, or with --keep-going "
            "to skip these sources: " + "; ".join(failures)
        )
    for failure in failures:
        print(f"left out: {failure}", file=sys.stderr)


def _write_groups(folder: Path, chunks: Sequence[Chunk]) -> None:
    """The groups of a labelled table, for ``train.index --hold-out``."""
    groups = [row for chunk in chunks if isinstance(chunk, TableChunk) for row in chunk.groups()]
    if groups:
        with (
            replacing(folder / GROUPS) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows([("id", "group"), *groups])


def _finish(folder: Path, wanted: Wanted, listing: Listing, n_parts: int) -> Report:
    faults: list[Fault] = []

    def parts() -> Iterator[list[PackedClip]]:
        for number in range(n_parts):
            clips, faults_of_part = read_part(folder, number) or ([], [])
            faults.extend(faults_of_part)
            yield clips

    across = finish(
        folder,
        parts(),
        labels=listing.labels,
        sample_rate=wanted.sample_rate,
        n_samples=wanted.n_samples,
        variant=wanted.variant,
        made_with={"decimated": wanted.decimated},
    )
    faults += across
    store = Store(folder)
    if listing.targets:
        met = {*store.ids[:], *(fault.id for fault in faults)}
        faults += [
            Fault(wanted_id, "missing", "no source has it")
            for wanted_id in listing.targets
            if wanted_id not in met
        ]
    with (
        replacing(folder / "report.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([("id", "fault", "detail"), *faults])
    return Report(len(store), tuple(faults))


def _source(text: str) -> str | Path:
    """A path, or the URL of tars."""
    return text if is_url(text) else Path(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.pack", description="Pack audio into a store.")
    parser.add_argument("store", type=Path, help="output folder")
    parser.add_argument(
        "sources",
        type=_source,
        nargs="+",
        help="folders of audio, labelled tables (.csv), tars, Parquet files, HDF5 packs; URLs of tars",
    )
    parser.add_argument("--segments", type=Path, nargs="+", default=[], help="AudioSet segment lists")
    parser.add_argument(
        "--labels", type=Path, help="label file (default: those of labelled tables, else AudioSet's 527)"
    )
    parser.add_argument("--by-folder", action="store_true", help="the folders in a source are its classes")
    parser.add_argument("--split", nargs="+", default=[], help="splits to pack of labelled tables")
    parser.add_argument("--sample-rate", type=int, default=32000, help="in Hz (default: %(default)s)")
    parser.add_argument("--decimate", action="store_true", help="16 or 8 kHz as published: aliased")
    parser.add_argument(
        "--duration", type=float, default=10.0, help="longest clip in s (default: %(default)s)"
    )
    parser.add_argument("--variant", choices=VARIANTS, default="flac", help="(default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)"
    )
    parser.add_argument("--clips-per-part", type=int, default=CLIPS_PER_PART, help="(default: %(default)s)")
    parser.add_argument("--staging", type=Path, help="local folder for copies of tars at URLs")
    parser.add_argument(
        "--staging-gb", type=float, default=100.0, help="size of all copies in GB (default: %(default)s)"
    )
    parser.add_argument("--keep-going", action="store_true", help="skip sources that cannot be read")
    given = parser.parse_args(arguments)
    try:
        report = pack(
            given.store,
            given.sources,
            labels=_labels(given),
            lists=given.segments,
            wanted=Wanted(given.sample_rate, given.duration, given.decimate, given.variant),
            n_workers=given.workers,
            clips_per_part=given.clips_per_part,
            staging=None if given.staging is None else Staging(given.staging, round(1e9 * given.staging_gb)),
            keep_going=given.keep_going,
            progress=sys.stderr.isatty(),
            by_folder=given.by_folder,
            split=given.split,
        )
    except (PackError, OSError, ValueError) as error:
        print(f"train.pack: {error}", file=sys.stderr)
        return 1
    print(f"{given.store}: {report}" + (f"; see {given.store / 'report.csv'}" if report.faults else ""))
    return 0


def _labels(given: argparse.Namespace) -> LabelSet:
    if given.labels is not None:
        return read_labels(given.labels)
    tables = [
        source
        for source in given.sources
        if isinstance(source, Path) and is_table(source, by_folder=given.by_folder)
    ]
    if tables and given.segments:
        raise ValueError("a labelled table has its labels itself; leave out --segments")
    if tables and len(tables) < len(given.sources):
        raise ValueError("some sources have classes of their own and some AudioSet's; say which, by --labels")
    return labels_of(tables) if tables else audioset()


if __name__ == "__main__":
    sys.exit(main())

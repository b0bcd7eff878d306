"""Fetch the clips of AudioSet's segment lists with yt-dlp, in the layout of the published code.

python -m train.download FOLDER LIST... [--workers 4] [--per-second 1]

Writes ``FOLDER/<list>/Y<id>.flac``; lists of more than 50,000 segments are split into parts of that size
(``<list>_part00``). ``FOLDER/ledger.jsonl`` records the outcome of every attempt, with the reason of a
failure.  Run again, it continues: existing clips are kept, videos marked as gone are skipped, failures are
tried again.  Needs yt-dlp and ffmpeg on the PATH (``pip install "pannsx[train]"``
brings the first).  It is up to you to settle with the owners and the site whether you may fetch and keep
the clips.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from pannsx.audio.formats import AUDIO_SUFFIXES
from train.data.ledger import Ledger
from train.data.pace import Pace
from train.data.segments import Segment, read_segments
from train.data.yt_dlp import TIMEOUT_S, Fetcher

PART_SIZE = 50_000
MAX_ATTEMPTS = 5
BLOCKED_IN_A_ROW = 10
"""Number of consecutive refusals after which the download stops, as more requests would prolong the block."""


class DownloadError(RuntimeError):
    """The download cannot continue now; the message says why."""


class _Wanted(NamedTuple):
    segment: Segment
    place: Path


def download(
    folder: str | Path,
    lists: Sequence[str | Path],
    fetcher: Fetcher,
    *,
    n_workers: int = 4,
    per_second: float = 1.0,
    retry_gone: bool = False,
    limit: int | None = None,
    progress: bool = False,
) -> Counter[str]:
    """Fetch the missing segments of the lists, and count the states of all.

    Args:
        folder: folder of the lists' folders and the ledger.
        lists: segment lists.
        fetcher: settings of the download.
        n_workers: segments fetched at the same time.
        per_second: maximum number of segments started per second.
        retry_gone: also retry segments marked as gone, or failed `MAX_ATTEMPTS` times.
        limit: maximum number of segments to fetch.
        progress: show a progress bar.

    Raises:
        DownloadError: the site refuses requests.
        ValueError: a damaged list or an invalid argument.
    """
    if n_workers < 1 or per_second <= 0:
        raise ValueError(f"got {n_workers} workers and {per_second} segments a second; both must be positive")
    folder = Path(folder)
    wanted = [one for path in lists for one in _places(folder, Path(path), fetcher.audio_format)]
    with Ledger(folder / "ledger.jsonl") as ledger:
        todo = _still_to_do(wanted, _found(folder), ledger, retry_gone=retry_gone)[:limit]
        with tqdm(total=len(todo), unit="clip", disable=not progress, smoothing=0.02) as bar:
            _fetch_all(todo, ledger, fetcher, n_workers, Pace(per_second), bar.update)
        entries = (ledger[one.segment.id] for one in wanted)
        return Counter("not tried" if entry is None else entry.state for entry in entries)


def _fetch_all(
    todo: Sequence[_Wanted],
    ledger: Ledger,
    fetcher: Fetcher,
    n_workers: int,
    pace: Pace,
    advance: Callable[[], object],
) -> None:
    stop, lock = threading.Event(), threading.Lock()
    pending, refusals = iter(todo), [0]

    def work() -> None:
        while not stop.is_set():
            with lock:
                one = next(pending, None)
            if one is None or stop.wait(pace.turn_s()):
                return
            state, reason = fetcher.fetch(one.segment, one.place)
            with lock:
                refusals[0] = refusals[0] + 1 if state == "blocked" else 0
                if refusals[0] >= BLOCKED_IN_A_ROW:
                    stop.set()
            pace.tell(state)
            ledger.record(one.segment.id, state, reason)
            advance()

    with ThreadPoolExecutor(n_workers) as pool:
        workers = [pool.submit(work) for _ in range(n_workers)]
        try:
            for worker in workers:
                worker.result()
        finally:
            stop.set()  # on Ctrl-C and on errors: the other workers finish their segment and end
    if refusals[0] >= BLOCKED_IN_A_ROW:
        raise DownloadError(
            f"the last {refusals[0]} requests were refused; wait some hours and run the same command again, "
            "with a smaller --per-second or with --yt-dlp-arguments=--cookies=FILE"
        )


def _places(folder: Path, path: Path, audio_format: str) -> Iterator[_Wanted]:
    segments = list(read_segments(path))
    for number, segment in enumerate(segments):
        place = folder / path.stem
        if len(segments) > PART_SIZE:
            place /= f"{path.stem}_part{number // PART_SIZE:02d}"
        yield _Wanted(segment, place / f"Y{segment.id}.{audio_format}")


def _found(folder: Path) -> set[str]:
    return {
        path.stem[1:]
        for path in folder.rglob("Y*")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.parent.name != ".partial"
    }


def _still_to_do(
    wanted: Sequence[_Wanted], found: set[str], ledger: Ledger, *, retry_gone: bool
) -> list[_Wanted]:
    todo = []
    for one in wanted:
        entry = ledger[one.segment.id]
        if one.segment.id in found:
            if entry is None or entry.state != "have":
                ledger.record(one.segment.id, "have", "found in the folder")
            continue
        given_up = entry is not None and (
            entry.state == "gone" or (entry.state == "failed" and entry.attempts >= MAX_ATTEMPTS)
        )
        if retry_gone or not given_up:
            todo.append(one)
    return todo


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.download", description="Fetch the clips of segment lists.")
    parser.add_argument("folder", type=Path, help="output folder")
    parser.add_argument("lists", type=Path, nargs="+", help="AudioSet segment lists")
    parser.add_argument(
        "--workers", type=int, default=4, help="clips at the same time (default: %(default)s)"
    )
    parser.add_argument(
        "--per-second", type=float, default=1.0, help="maximum started per second (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("flac", "wav"), default="flac", help="(default: %(default)s)")
    parser.add_argument("--limit", type=int, help="maximum number of clips to fetch")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, help="time limit per clip in s (default: %(default)s)"
    )
    parser.add_argument("--retry-gone", action="store_true", help="retry segments marked as gone")
    parser.add_argument("--program", default="yt-dlp", help="executable (default: %(default)s)")
    parser.add_argument(
        "--yt-dlp-arguments", action="append", default=[], help="a further argument for yt-dlp; repeatable"
    )
    given = parser.parse_args(arguments)
    program = shutil.which(given.program)
    if program is None:
        print(
            f'train.download: {given.program} is not on the PATH; pip install "pannsx[train]"',
            file=sys.stderr,
        )
        return 1
    fetcher = Fetcher(program, given.format, given.timeout, tuple(given.yt_dlp_arguments))
    try:
        counts = download(
            given.folder,
            given.lists,
            fetcher,
            n_workers=given.workers,
            per_second=given.per_second,
            retry_gone=given.retry_gone,
            limit=given.limit,
            progress=sys.stderr.isatty(),
        )
    except (DownloadError, OSError, ValueError) as error:
        print(f"train.download: {error}", file=sys.stderr)
        return 1
    print(f"{given.folder}: " + ", ".join(f"{n} {state}" for state, n in counts.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

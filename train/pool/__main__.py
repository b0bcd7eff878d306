"""Make a bank of freely licensed audio clips.

python -m train.pool LIST FOLDER [--packages DEBS] [--tier permissive] [--jobs 2]

LIST is a table of packages (:mod:`train.pool.table`); that of the project is ``train/pool/packages.csv``.
FOLDER becomes a bank (:mod:`train.pool.bank`). An interrupted run resumes; the same packages give the same
bank.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from train.data.workers import run_all
from train.pool.bank import Summary, write_bank
from train.pool.errors import PoolError
from train.pool.parts import Places, Problem, make_part
from train.pool.table import Row, by_package, read_table


def build(
    rows: Sequence[Row],
    folder: Path,
    *,
    packages: Path | None = None,
    recordings: Path | None = None,
    tier: str = "share-alike",
    download: bool = True,
    allow_other_versions: bool = False,
    keep_going: bool = False,
    n_workers: int = 0,
    progress: bool = False,
) -> Summary:
    """Make the bank of a table.

    Args:
        rows: the table.
        folder: the bank, with the parts in ``parts``.
        packages: folder of ``.deb`` files; None: ``packages`` in ``folder``.
        recordings: folder of folders of own recordings; None: there are none.
        tier: the least free tier to accept, ``permissive`` or ``share-alike``.
        download: fetch missing packages with the package archive's client.
        allow_other_versions: accept packages with digests other than the table's.
        keep_going: build without unavailable or unreadable packages; they are listed in the report.
        n_workers: number of processes; 0: work in this one.
        progress: show a progress bar.

    Raises:
        PoolError: a package is unavailable or unreadable, or another run uses the folder.
        OSError: a file cannot be written.
        RuntimeError: a worker died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = Places(
        parts=folder / "parts",
        packages=folder / "packages" if packages is None else packages,
        recordings=folder if recordings is None else recordings,
        download=download,
        allow_other_versions=allow_other_versions,
    )
    try:
        with FileLock(folder / "pool.lock", timeout=0):
            for leftover in places.parts.glob("*.tmp"):  # of killed runs: the lock excludes any other
                leftover.unlink()
            groups = by_package(rows)
            made, failed = _make_parts(places, groups, n_workers, progress=progress)
            if failed and not keep_going:
                raise PoolError(
                    "finished parts are kept; solve these problems and run the same command again, or "
                    "add --keep-going to build without these packages:\n"
                    + "\n".join(f"  {one.example}" for one in failed)
                )
            parts = [(group, made[package]) for package, group in groups.items() if package in made]
            return write_bank(folder, parts, tier=tier, missing=failed)
    except Timeout:
        raise PoolError(f"another run uses {folder}; wait for it, or use another folder") from None


def _make_parts(
    places: Places, groups: dict[str, list[Row]], n_workers: int, *, progress: bool
) -> tuple[dict[str, Path], list[Problem]]:
    """The part of each available package, and problems of the others."""
    made: dict[str, Path] = {}
    errors: dict[str, Exception] = {}
    with tqdm(total=len(groups), unit="package", disable=not progress) as bar:
        for package, outcome in run_all(make_part, groups, places, n_workers):
            if isinstance(outcome, Exception):
                errors[package] = outcome
            else:
                made[package] = outcome
            bar.update()
    # In the order of the table, whatever the order of the workers.
    failed = [
        Problem(package, "", "package not usable", 1, str(errors[package]))
        for package in groups
        if package in errors
    ]
    return made, failed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train.pool", description="Make a bank of freely licensed audio clips."
    )
    parser.add_argument("list", type=Path, help="table of packages (.csv)")
    parser.add_argument("folder", type=Path, help="bank to make")
    parser.add_argument("--packages", type=Path, help="folder of .deb files (default: FOLDER/packages)")
    parser.add_argument(
        "--recordings", type=Path, help="parent folder of the folders of rows folder:NAME (default: FOLDER)"
    )
    parser.add_argument(
        "--tier",
        choices=("permissive", "share-alike"),
        default="share-alike",
        help="least free licences to accept (default: %(default)s)",
    )
    parser.add_argument("--only", nargs="+", help="only these packages of the table")
    parser.add_argument("--no-download", action="store_true", help="use only packages already in the folder")
    parser.add_argument(
        "--allow-other-versions",
        action="store_true",
        help="accept packages with digests other than the table's",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="build without unavailable or unreadable packages"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        rows = read_table(given.list)
        if given.only is not None:
            unknown = sorted(set(given.only) - {row.package for row in rows})
            if unknown:
                raise PoolError(f"{given.list} has no package {', '.join(unknown)}")
            rows = [row for row in rows if row.package in set(given.only)]
        summary = build(
            rows,
            given.folder,
            packages=given.packages,
            recordings=given.recordings,
            tier=given.tier,
            download=not given.no_download,
            allow_other_versions=given.allow_other_versions,
            keep_going=given.keep_going,
            n_workers=given.jobs if given.jobs > 1 else 0,
            progress=sys.stderr.isatty(),
        )
    except (OSError, RuntimeError, ValueError) as error:
        print(f"train.pool: {error}", file=sys.stderr)
        return 1
    print(f"{given.folder}: {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

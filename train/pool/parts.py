"""The clips of one package, stored in a file, so that an interrupted run can resume.

A part depends on its rows, the package's bytes and the rules here. The file's name has a hash of rows and
rules, its contents the package's digest.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pannsx.atomic import replacing
from pannsx.errors import AudioError
from train.pool import containers, cutting, licences, sources
from train.pool.cutting import Cut
from train.pool.deb import File, version_of
from train.pool.errors import PoolError
from train.pool.synthesis import find_step
from train.pool.table import Row

RULES = 1
"""To be incremented when the same rows and bytes give other clips."""


class Problem(NamedTuple):
    """Files or clips of a group, excluded wholly or in part.

    Attributes:
        package: package of the group.
        files: patterns of the group; empty for the whole package.
        problem: the problem in words.
        n_items: number of files or clips.
        example: one of them, with the reason if there is one.
    """

    package: str
    files: str
    problem: str
    n_items: int
    example: str


@dataclass(frozen=True)
class Part:
    """The ``N`` clips of a package.

    Attributes:
        version: actual version of the package.
        sha256: digest of its file.
        copyright: text of its copyright file.
        problems: excluded files and clips.
        rows: ``(N,)`` number of each clip's row among the package's rows.
        paths: path of each clip's file.
        starts_s: ``(N,)`` start of each clip in its file, in seconds.
        licences: licence of each clip.
        digests: digest of each clip's samples.
        ends: ``(N,)`` end of each clip in ``samples``.
        samples: all clips, one after another.
    """

    version: str
    sha256: str
    copyright: str
    problems: tuple[Problem, ...]
    rows: NDArray[np.int64]
    paths: tuple[str, ...]
    starts_s: NDArray[np.float64]
    licences: tuple[str, ...]
    digests: tuple[str, ...]
    ends: NDArray[np.int64]
    samples: NDArray[np.int16]

    def clip(self, number: int) -> NDArray[np.int16]:
        """``(n,)`` samples of a clip."""
        begin = int(self.ends[number - 1]) if number else 0
        return self.samples[begin : int(self.ends[number])]


@dataclass(frozen=True)
class Places:
    """Folders, and permissions.

    Attributes:
        parts: folder of the parts.
        packages: folder of ``.deb`` files.
        recordings: folder of folders of a user's own recordings.
        download: whether the package archive's client may fetch packages.
        allow_other_versions: whether to accept packages with digests other than the table's.
    """

    parts: Path
    packages: Path
    recordings: Path
    download: bool = True
    allow_other_versions: bool = False


def make_part(places: Places, rows: Sequence[Row]) -> Path:
    """The file of a package's part, made unless it exists for the same rows and bytes.

    Raises:
        PoolError: the package is unavailable or unreadable.
        OSError: the part cannot be written.
    """
    path = part_path(places, rows)
    first = rows[0]
    if len({(row.sha256, row.version) for row in rows}) > 1:
        raise PoolError(f"the rows of {first.package} name more than one version; give each the same")
    files = sources.recordings(first.package.partition(":")[2], places.recordings) if first.is_folder else []
    digest = (
        sources.recordings_digest(files, places.recordings.resolve()) if first.is_folder else first.sha256
    )
    if path.is_file():
        any_version = not first.is_folder and (places.allow_other_versions or not digest)
        if any_version or read_part(path).sha256 == digest:
            return path
    version = text = ""
    problems: list[Problem] = []
    if first.is_synthesis:
        found = _synthesised(rows)
    elif first.is_folder:
        groups, problems = _grouped(rows, _read_all(files, places.recordings.resolve()))
        found, more = _cut(rows, groups, [])
        problems += more
    else:
        package = sources.find_package(
            first,
            places.packages,
            download=places.download,
            allow_other_versions=places.allow_other_versions,
        )
        digest, version = package.sha256, version_of(package.path) or first.version
        texts: list[str] = []
        groups, problems = _grouped(rows, _read_package(package, rows, texts))
        text = "".join(texts)
        found, more = _cut(rows, groups, licences.read_stanzas(text))
        problems += more
    _write(path, rows, found, problems, version=version, sha256=digest, text=text)
    return path


def part_path(places: Places, rows: Sequence[Row]) -> Path:
    """The file of the part of a package's rows."""
    key = repr((RULES, [row.key() for row in rows]))
    digest = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
    return places.parts / f"{rows[0].package.replace(':', '-')}-{digest[:12]}.npz"


def read_part(path: Path) -> Part:
    """A part from its file.

    Raises:
        PoolError: it is damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            about = json.loads(bytes(file["about"]).decode())
            return Part(
                version=about["version"],
                sha256=about["sha256"],
                copyright=about["copyright"],
                problems=tuple(Problem(*problem) for problem in about["problems"]),
                rows=file["rows"],
                paths=tuple(about["paths"]),
                starts_s=file["starts_s"],
                licences=tuple(about["licences"]),
                digests=tuple(about["digests"]),
                ends=file["ends"],
                samples=file["samples"],
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise PoolError(f"the part {path} is damaged: {error}; delete it and run the same command") from error


class _Found(NamedTuple):
    row: int
    licence: str
    cut: Cut


def _synthesised(rows: Sequence[Row]) -> list[_Found]:
    found = []
    for number, row in enumerate(rows):
        for name, waveform in find_step(row.files).make():
            for cut in cutting.cuts_of_waveform(name, waveform, row.cuts):
                found.append(_Found(number, row.licence, cut))
    return found


def _grouped(rows: Sequence[Row], files: Iterator[File]) -> tuple[list[list[File]], list[Problem]]:
    """The audio files of each row: every file belongs to its first matching row."""
    groups: list[list[File]] = [[] for _ in rows]
    problems = []
    for file in files:
        outer = _first_match(rows, file.path)
        try:
            for path, data in containers.audio_in(file.path, file.data):
                inner = _first_match(rows, path)
                place = outer if inner is None else inner
                if place is not None:
                    groups[place].append(File(path, data))
        except PoolError as error:
            problems.append(Problem(rows[0].package, "", "container damaged", 1, str(error)))
    return groups, problems


def _cut(
    rows: Sequence[Row], groups: Sequence[list[File]], stanzas: Sequence[licences.Stanza]
) -> tuple[list[_Found], list[Problem]]:
    """The clips of the files of each row."""
    found: list[_Found] = []
    problems: list[Problem] = []
    for number, (row, group) in enumerate(zip(rows, groups, strict=True)):
        if row.tier != "drop":
            made, more = _of_group(number, row, group, stanzas)
            found += made
            problems += more
    return found, problems


def _is_wanted(rows: Sequence[Row], path: str) -> bool:
    """Whether a file belongs to a row, or may contain files of a row."""
    if containers.AUDIO.search(path):
        return _first_match(rows, path) is not None
    return containers.is_wanted(path)


def _first_match(rows: Sequence[Row], path: str) -> int | None:
    return next((number for number, row in enumerate(rows) if row.matches(path)), None)


def _of_group(
    number: int, row: Row, files: list[File], stanzas: Sequence[licences.Stanza]
) -> tuple[list[_Found], list[Problem]]:
    if row.most is not None and len(files) > row.most:
        files = sorted(files, key=lambda file: cutting.by_hash(file.path))[: row.most]
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}

    def note(problem: str, example: str) -> None:
        reasons[problem] += 1
        examples.setdefault(problem, example)

    cuts: list[Cut] = []
    licence_of: dict[str, str] = {}
    for path, data in sorted(files):
        licence: str | None = row.licence
        if row.licence == licences.STATED:
            licence = licences.stated_licence(path, stanzas)
        if licence is None:
            note("licence not stated", path)
            continue
        if licences.tier_of(licence) == "other":
            note("licence not free enough", f"{path}: {licence}")
            continue
        licence_of[path] = licence
        n_cuts = 1 if row.join else row.cuts
        try:
            cuts += cutting.cuts_of_file(path, data, n_cuts)
        except AudioError as error:
            try:
                cuts += cutting.cuts_of_damaged_file(path, data, n_cuts)
            except AudioError:
                note("not decodable", f"{path}: {error}")
            else:
                note("read in part", f"{path}: {error}")
    if row.join:
        cuts = list(cutting.joined(cuts, across_folders=row.join == "all"))
    found = [_Found(number, licence_of[cut.path], cut) for cut in cuts]
    problems = [
        Problem(row.package, row.files, problem, count, examples[problem])
        for problem, count in reasons.items()
    ]
    return found, problems


def _read_all(files: Sequence[Path], root: Path) -> Iterator[File]:
    for path in files:
        name = f"/{path.relative_to(root).as_posix()}"
        if containers.is_wanted(name):
            yield File(name, path.read_bytes())


def _read_package(package: sources.Package, rows: Sequence[Row], texts: list[str]) -> Iterator[File]:
    """The files of a package for its rows; the texts of its copyright files are added to a list."""

    def is_wanted(path: str) -> bool:
        return sources.is_copyright(path) or _is_wanted(rows, path)

    for path, data in sources.package_files(package, is_wanted):
        if sources.is_copyright(path):
            plain = gzip.decompress(data) if path.endswith(".gz") else data
            texts.append(plain.decode("utf-8", "replace"))
        else:
            yield File(path, data)


def _write(
    path: Path,
    rows: Sequence[Row],
    found: Sequence[_Found],
    problems: Sequence[Problem],
    *,
    version: str,
    sha256: str,
    text: str,
) -> None:
    kept: list[tuple[_Found, NDArray[np.int16], str]] = []
    left_out: Counter[tuple[int, str]] = Counter()
    examples: dict[tuple[int, str], str] = {}
    digests: set[str] = set()
    for one in found:
        samples = cutting.as_samples(one.cut.waveform)
        digest = hashlib.sha1(samples.tobytes(), usedforsecurity=False).hexdigest()
        if cutting.is_audible(one.cut.waveform) and digest not in digests:
            digests.add(digest)
            kept.append((one, samples, digest))
            continue
        problem = "duplicate" if digest in digests else "too short or quiet"
        left_out[one.row, problem] += 1
        examples.setdefault((one.row, problem), f"{one.cut.path} from {one.cut.start_s:.2f} s")
    all_problems = [
        *problems,
        *(
            Problem(rows[number].package, rows[number].files, problem, count, examples[number, problem])
            for (number, problem), count in sorted(left_out.items())
        ),
    ]
    about = {
        "version": version,
        "sha256": sha256,
        "copyright": text,
        "problems": all_problems,
        "paths": [one.cut.path for one, _, _ in kept],
        "licences": [one.licence for one, _, _ in kept],
        "digests": [digest for _, _, digest in kept],
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            rows=np.array([one.row for one, _, _ in kept], np.int64),
            starts_s=np.array([round(one.cut.start_s, 3) for one, _, _ in kept], np.float64),
            ends=np.cumsum([len(samples) for _, samples, _ in kept], dtype=np.int64),
            samples=np.concatenate([samples for _, samples, _ in kept]) if kept else np.zeros(0, np.int16),
        )

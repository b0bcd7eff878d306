"""Find or download a checkpoint's weight file, and verify it.

Three steps: find it on this computer (`pannsx.weights.local`), else download it from the record's sources,
and verify it. A file is hashed after the download and again on its first use in every process.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pannsx.atomic import replacing
from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.weights import hub
from pannsx.weights.digests import check_file, check_file_once, file_digest, sidecar_path, write_sidecar
from pannsx.weights.hub import Token
from pannsx.weights.local import (
    cache_places,
    find_given,
    given_places,
    known_digest,
    never_released,
    target_path,
)
from pannsx.weights.manifest import find, load_manifest
from pannsx.weights.naming import kind_of
from pannsx.weights.record import BundledSource, Checkpoint, Digest, HubSource, UrlSource
from pannsx.weights.repository import open_repository


class FetchOutcome(NamedTuple):
    """Outcome for one model of `fetch_all`: a path, or None and the reason."""

    name: str
    path: Path | None
    problem: str | None


def resolve(
    record: Checkpoint,
    *,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
) -> Path:
    """A local file with the checkpoint's weights, with verified size and digest; downloaded if necessary.

    Args:
        record: record of the checkpoint.
        cache_dir: folder to search, and the destination of a download, under the published file name.
        allow_unverified: accept weights that have no published digest; the digest of the first download is
            recorded in ``<file>.sha256`` and checked from then on.
        progress: show progress bars on a terminal.

    Raises:
        WeightsError: no source has the file, or every candidate fails its check; all failures are listed.
    """
    if not record.released:
        raise WeightsError(never_released(record))
    if (path := find_given(record, cache_dir)) is not None:
        # The caller gave this file, in one way or another: a failed check is an error, without a fallback.
        if record.folder is not None and path == record.folder / record.weights_filename:
            check_file_once(path, size_bytes=record.size_bytes, digest=record.digest)
        else:
            digest = known_digest(record, path, path)
            _verify(path, record, digest, record_at=path, allow_unverified=allow_unverified)
        return path
    sources = [source for source in record.sources if not isinstance(source, BundledSource)]
    if not sources:
        raise WeightsError(
            f"{record.name}: {', '.join(map(str, given_places(record, cache_dir)))} is absent, "
            "and the record names no source to fetch it from"
        )
    target = target_path(record, cache_dir)
    digest = known_digest(record, target, target)
    if digest is None and not allow_unverified:
        raise WeightsError(_unverifiable(record))
    failures: list[str] = []
    if (path := _find(record, target, digest, failures)) is not None:
        return path if cache_dir is None else _copy(path, target)
    for source in sources:
        try:
            path = _fetch(source, record, target, digest, progress)
            if cache_dir is not None and path != target:
                path = _copy(path, target)
            _verify(path, record, digest, record_at=target, allow_unverified=allow_unverified)
        except WeightsError as error:
            failures.append(f"  {source}: {error}")
        else:
            return path
    raise WeightsError(
        "\n".join(
            [
                f"cannot get the weights of {record.name} ({record.filename}):",
                *failures,
                "Got by other means, the file can be given as checkpoint=, or its folder as cache_dir=.",
            ]
        )
    )


def fetch_all(
    to: PathLike,
    names: Iterable[str] | None = None,
    *,
    allow_unverified: bool = False,
    progress: bool = True,
) -> list[FetchOutcome]:
    """Download checkpoints to a folder, for use as ``cache_dir`` without a network.

    Args:
        to: the folder.
        names: names of checkpoints, or ``owner/name`` on the Hub; None: all in the manifest.
        allow_unverified: as for `resolve`.
        progress: as for `resolve`.

    A failure does not stop the others; its outcome gives the reason.

    Raises:
        ValueError: a name is unknown, or that of a file.
    """
    names = list(load_manifest()) if names is None else list(names)
    return list(fetch_each(names, cache_dir=to, allow_unverified=allow_unverified, progress=progress))


def fetch_each(
    names: Sequence[str],
    *,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
) -> Iterator[FetchOutcome]:
    """Download each model; a failure does not stop the others.

    Raises:
        ValueError: as `fetch_all`, before any download.
    """
    for name in names:
        if kind_of(name) == "own":
            raise ValueError(
                f"{name!r} is a path on this computer, and nothing is to be fetched; leave it out"
            )
    return (_outcome(name, cache_dir, allow_unverified, progress) for name in names)


def _outcome(name: str, cache_dir: PathLike | None, allow_unverified: bool, progress: bool) -> FetchOutcome:
    is_repository = kind_of(name) == "repository"
    label = name if is_repository else find(name).name
    try:
        if is_repository:
            path = fetch_repository(
                name, cache_dir=cache_dir, allow_unverified=allow_unverified, progress=progress
            )[1]
        else:
            path = resolve(
                find(name), cache_dir=cache_dir, allow_unverified=allow_unverified, progress=progress
            )
    except WeightsError as error:
        return FetchOutcome(label, None, str(error))
    return FetchOutcome(label, path, None)


def fetch_repository(
    name: str,
    *,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
    token: Token = None,
) -> tuple[Checkpoint, Path]:
    """The record of a repository on the Hub and a local file with its weights, downloaded and verified.

    Args:
        name, cache_dir, progress, token: as for `pannsx.weights.repository.open_repository`.
        allow_unverified: as for `resolve`.

    Raises:
        WeightsError: the repository or its weights cannot be obtained, trusted or read.
    """
    record, path = open_repository(name, cache_dir=cache_dir, progress=progress, token=token)
    if record.folder is not None:
        path = resolve(record, allow_unverified=allow_unverified)
    return record, path


def _find(record: Checkpoint, target: Path, digest: Digest | None, failures: list[str]) -> Path | None:
    """A verified earlier download; a failed check is noted, and the file is downloaded again.

    Without a digest it cannot be verified, and is also downloaded again.
    """
    if digest is None:
        return None
    for path in filter(Path.is_file, cache_places(record, target)):
        try:
            check_file_once(path, size_bytes=record.size_bytes, digest=digest)
        except WeightsError as error:
            failures.append(f"  {error}")
            if path != target:  # the target is replaced by the download
                hub.discard(path)
        else:
            return path
    return None


def _fetch(
    source: HubSource | UrlSource, record: Checkpoint, target: Path, digest: Digest | None, progress: bool
) -> Path:
    """The file from one source, checked if its digest is known."""
    if hub.offline():
        raise WeightsError("not on this computer, and HF_HUB_OFFLINE forbids the network")
    if isinstance(source, UrlSource):
        from pannsx.weights.download import download  # with the network's modules

        download(source.url, target, size_bytes=record.size_bytes, digest=digest, progress=progress)
        return target
    path = hub.download(source, progress=progress)
    try:
        check_file(path, size_bytes=record.size_bytes, digest=digest)
    except WeightsError:
        hub.discard(path)
        raise
    return path


def _verify(
    path: Path, record: Checkpoint, digest: Digest | None, *, record_at: Path, allow_unverified: bool
) -> None:
    """Check a file; without a known digest, if allowed, record its own next to ``record_at``."""
    if digest is None and not allow_unverified:
        raise WeightsError(_unverifiable(record))
    check_file_once(path, size_bytes=record.size_bytes, digest=digest)
    if digest is None:
        write_sidecar(record_at, Digest("sha256", file_digest(path, "sha256")))


def _copy(path: Path, target: Path) -> Path:
    """A copy under another name, written atomically."""
    try:
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)
    except OSError as error:
        raise WeightsError(f"cannot write {target}: {error}") from error
    return target


def _unverifiable(record: Checkpoint) -> str:
    return (
        f"neither sha256 nor md5 of {record.filename} ({record.name}) is published, so a download cannot be "
        "verified; pass allow_unverified=True to accept it: the digest of the first "
        f"download is recorded in {sidecar_path(Path(record.weights_filename))} and checked from then on"
    )

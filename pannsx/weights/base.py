"""The base of a delta: which checkpoint it is, and its file on this computer, downloaded if necessary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.weights.digests import file_digest
from pannsx.weights.fetch import resolve
from pannsx.weights.manifest import load_manifest
from pannsx.weights.record import Base, Checkpoint


class Origin(NamedTuple):
    """The file that a network was read from, and the network's place in it, as in ``AudioTagger``."""

    path: Path
    prefix: str | None


def base_of(record: Checkpoint, origin: Origin) -> Base:
    """A loaded checkpoint as the base of deltas; its file is hashed.

    Raises:
        OSError: the file cannot be read.
    """
    path = origin.path
    sha256 = file_digest(path, "sha256")
    published = load_manifest().get(record.name)
    if published is not None and published.filename is not None and _is_of(published, path, sha256):
        return Base(name=record.name, filename=published.filename, sha256=sha256)
    sources = () if record.folder is None else record.sources  # of a record of the file's own
    return Base(name=record.name, filename=path.name, sha256=sha256, prefix=origin.prefix, sources=sources)


def check_base(record: Checkpoint, origin: Origin | None, path: PathLike | None = None) -> Origin:
    """Check that deltas, or one at a path, can be on a loaded checkpoint -> its origin.

    Raises:
        ValueError: it is of no file, is a delta itself, or its file has the name of the delta.
    """
    if record.base is not None:
        raise ValueError(
            f"{record.name} is a delta on {record.base.name}, and a delta is on a whole network: train on "
            f"{record.base.name}, or save {record.name} whole by pannsx.save and train on that"
        )
    if origin is None:
        raise ValueError(f"{record.name} was not read from a file; save it by pannsx.save and load that")
    if path is not None and Path(path).name == origin.path.name:
        raise ValueError(
            f"the delta would have the name of its base, {origin.path.name!r}, which it needs beside it; "
            "give it another one"
        )
    return origin


def resolve_base(record: Checkpoint, *, cache_dir: PathLike | None = None, progress: bool = True) -> Path:
    """The file of a delta's base, with the digest in the delta's record.

    It is searched for beside the delta, then as any checkpoint: in ``cache_dir``, the package, the caches,
    and at the sources of its name in the manifest.

    Args:
        record: record of a delta.
        cache_dir, progress: as in :func:`pannsx.weights.resolve`.

    Raises:
        WeightsError: there is no such file, or only one with another digest.
    """
    base = record.base
    if base is None:
        raise ValueError(f"{record.name} is a whole network, not a delta")
    published = load_manifest().get(base.name)
    is_published = published is not None and published.filename == base.filename
    remedy = "put the file beside the delta, or give its folder as cache_dir="
    if published is not None and is_published and published.sha256 not in (None, base.sha256):
        is_published = False
        remedy = f"{base.name} is sha256 {published.sha256} in this version of pannsx; {remedy}"
    sources = published.sources if published is not None and is_published else base.sources
    wanted = replace(
        record,
        name=base.name,
        filename=base.filename,
        size_bytes=None,
        sha256=base.sha256,
        md5=None,
        sources=sources,
        base=None,
    )
    try:
        return resolve(wanted, cache_dir=cache_dir, progress=progress)
    except WeightsError as error:
        raise WeightsError(
            f"{record.name} is a delta on {base.name}, of which it needs the file {base.filename} with the "
            f"sha256 {base.sha256}; {remedy}. {error}"
        ) from error


def _is_of(published: Checkpoint, path: Path, sha256: str) -> bool:
    """Whether a file is that of a checkpoint in the manifest, by digest, or without one by name."""
    if published.sha256 is not None:
        return published.sha256 == sha256
    if published.md5 is not None:
        return file_digest(path, "md5") == published.md5
    return path.name == published.filename

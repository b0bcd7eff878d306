"""Checkpoints in repositories of the Hugging Face Hub, by ``owner/name`` or ``owner/name@revision``.

A repository is one of two kinds: it carries our record beside the weights, as ``push_to_hub`` writes it; or
it holds a file under a published name, such as ``Cnn14_mAP=0.431.pth``, whose record and digest are the
manifest's. Files come by the Hub's client, with its cache, token and offline mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.weights import hub
from pannsx.weights.digests import check_file_once
from pannsx.weights.hub import Token
from pannsx.weights.manifest import load_manifest, read_record
from pannsx.weights.record import OPERATING_POINTS_SUFFIX, Checkpoint, HubSource

_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


_SMALL = ("*.json", ".gitattributes")
"""Records, labels of transformers and the like; and the one file that every repository has, as the client
warns where none is matched."""

_OF_TRANSFORMERS = frozenset({"config.json", "preprocessor_config.json"})


def is_repository(name: str) -> bool:
    """Whether this has the form of a repository's name, and is no path on this computer."""
    return _NAME.fullmatch(name) is not None and not Path(name).exists()


def record_files(folder: Path) -> list[Path]:
    """The JSON files of a folder that may be records: no operating points, nor transformers' own."""
    return sorted(
        path
        for path in folder.glob("*.json")
        if not path.name.endswith(OPERATING_POINTS_SUFFIX) and path.name not in _OF_TRANSFORMERS
    )


def repository_record(
    name: str, *, cache_dir: PathLike | None = None, token: Token = None, fetch: bool = True
) -> Checkpoint:
    """The record of a repository, whose one source is the repository; its weights are not downloaded.

    Args:
        name: ``owner/name``, with ``@`` and a branch, tag or commit after it if not the default branch.
        cache_dir: place of the client's cache; None: its own.
        token: for a private repository.
        fetch: whether the record may be downloaded.

    Raises:
        WeightsError: there is no such repository, access is refused, or it holds nothing that can be used.
    """
    with _naming(name) as (repo_id, revision):
        folder = hub.small_files(repo_id, revision, _SMALL, cache_dir=cache_dir, token=token, fetch=fetch)
        records = record_files(folder)
        if not records:
            if fetch and not hub.offline():
                return _published(repo_id, revision, hub.names_of_files(repo_id, revision, token=token))
            return _published(repo_id, revision, [path.name for path in folder.glob("*")])
        if len(records) > 1:
            raise WeightsError(f"it holds {len(records)} records: {', '.join(path.name for path in records)}")
        record = read_record(records[0])
        # All files are of one commit, which is the name of the folder in the client's cache.
        source = _source(repo_id, record.weights_filename, folder.name)
        if record.labels != "audioset" and fetch:
            _local(replace(source, filename=record.labels), cache_dir, token=token, progress=False)
        return replace(record, sources=(source,))


def open_repository(
    name: str, *, cache_dir: PathLike | None = None, progress: bool = True, token: Token = None
) -> tuple[Checkpoint, Path]:
    """The record and the weights of a repository, downloaded if necessary, and checked.

    Args:
        name, cache_dir, token: as for :func:`repository_record`.
        progress: show a progress bar.

    Raises:
        WeightsError: as :func:`repository_record`, or the weights are not those of the record.
    """
    record = repository_record(name, cache_dir=cache_dir, token=token)
    with _naming(name):
        (source,) = record.sources
        if not isinstance(source, HubSource):
            raise RuntimeError(f"{source} is the source of a repository")
        path = _local(source, cache_dir, token=token, progress=progress)
        if record.folder is None:
            try:
                check_file_once(path, size_bytes=record.size_bytes, digest=record.digest)
            except WeightsError:
                hub.discard(path)
                raise
        return record, path


@contextmanager
def _naming(name: str) -> Iterator[tuple[str, str | None]]:
    """The repository and revision of a name, which is in all errors."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise WeightsError(f"{name!r} is not the name of a repository; owner/name is needed")
    try:
        yield parts["repo"], parts["revision"]
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot use the repository {name}: {error}") from error
    except WeightsError as error:
        raise WeightsError(
            f"cannot use the repository {name}: {error}. (No file or folder here has this path, and none of "
            "`pannsx models` this name.)"
        ) from error


def _published(repo_id: str, revision: str | None, names: Iterable[str]) -> Checkpoint:
    """The manifest's record of the one file under a published name."""
    known = {record.filename: record for record in load_manifest().values() if record.released}
    found = sorted(set(names) & set(known))
    if len(found) != 1:
        what = (
            f"holds {', '.join(map(str, found))}" if found else "has neither our record nor a published file"
        )
        raise WeightsError(
            f"it {what}; download the one that you mean, and give it as checkpoint= with its model's name"
        )
    return replace(known[found[0]], sources=(_source(repo_id, str(found[0]), revision),))


def _source(repo_id: str, filename: str, revision: str | None) -> HubSource:
    return HubSource(
        repo_id=repo_id,
        repo_type="model",
        filename=filename,
        revision=revision,
        digest_seen=False,
        licence=None,
    )


def _local(source: HubSource, cache_dir: PathLike | None, *, token: Token, progress: bool) -> Path:
    cached = hub.cached(source, cache_dir=cache_dir)
    return cached or hub.download(source, cache_dir=cache_dir, progress=progress, token=token)

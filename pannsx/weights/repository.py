"""Checkpoints in repositories of the Hugging Face Hub, by ``owner/name`` or ``owner/name@revision``.

A repository is one of two kinds: it carries our record beside the weights, as ``push_to_hub`` writes it; or
it holds a file under a published name, such as ``Cnn14_mAP=0.431.pth``, whose record and digest are the
manifest's. Files come by the Hub's client, with its cache, token and offline mode.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.weights import hub
from pannsx.weights.digests import check_file_once
from pannsx.weights.manifest import load_manifest, read_record
from pannsx.weights.operating_points import SUFFIX
from pannsx.weights.record import Checkpoint, HubSource

_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


_OF_TRANSFORMERS = frozenset({"config.json", "preprocessor_config.json"})


def is_repository(name: str) -> bool:
    """Whether this has the form of a repository's name, and is no path on this computer."""
    return _NAME.fullmatch(name) is not None and not Path(name).exists()


def record_files(folder: Path) -> list[Path]:
    """The JSON files of a folder that may be records: no operating points, nor transformers' own."""
    return sorted(
        path
        for path in folder.glob("*.json")
        if not path.name.endswith(SUFFIX) and path.name not in _OF_TRANSFORMERS
    )


def open_repository(
    name: str, *, cache_dir: PathLike | None = None, progress: bool = True
) -> tuple[Checkpoint, Path]:
    """The record and the weights of a repository, downloaded if necessary.

    The weights of a repository with our record are not checked yet: ``resolve`` does that, by the record.

    Args:
        name: ``owner/name``, with ``@`` and a branch, tag or commit after it if not the default branch.
        cache_dir: place of the client's cache; None: its own.
        progress: show a progress bar.

    Raises:
        WeightsError: there is no such repository, access is refused, or it holds nothing that can be used.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise WeightsError(f"{name!r} is not the name of a repository; owner/name is needed")
    repo_id, revision = parts["repo"], parts["revision"]
    try:
        folder = hub.small_files(repo_id, revision, "*.json", cache_dir=cache_dir)
        records = record_files(folder)
        if not records:
            return _published(repo_id, revision, cache_dir, progress)
        if len(records) > 1:
            raise WeightsError(f"it holds {len(records)} records: {', '.join(path.name for path in records)}")
        record = read_record(records[0])
        # All files are of one commit, which is the name of the folder in the client's cache.
        source = _source(repo_id, record.weights_filename, folder.name)
        path = _local(source, cache_dir, progress)
        if record.labels != "audioset":
            _local(replace(source, filename=record.labels), cache_dir, progress)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot use the repository {name}: {error}") from error
    except WeightsError as error:
        raise WeightsError(
            f"cannot use the repository {name}: {error}. (A model without a slash in its name is one of "
            "`pannsx models`; files of your own are given as checkpoint=.)"
        ) from error
    return replace(record, sources=(source,)), path


def _published(
    repo_id: str, revision: str | None, cache_dir: PathLike | None, progress: bool
) -> tuple[Checkpoint, Path]:
    """A file under a published name, checked against the manifest."""
    names = hub.names_of_files(repo_id, revision)
    known = {record.filename: record for record in load_manifest().values() if record.released}
    found = sorted(set(names) & set(known))
    if len(found) != 1:
        what = (
            f"holds {', '.join(map(str, found))}" if found else "has neither our record nor a published file"
        )
        raise WeightsError(
            f"it {what}; download the one that you mean, and give it as checkpoint= with its model's name"
        )
    record = known[found[0]]
    path = _local(_source(repo_id, str(found[0]), revision), cache_dir, progress)
    try:
        check_file_once(path, size_bytes=record.size_bytes, digest=record.digest)
    except WeightsError:
        hub.discard(path)
        raise
    return record, path


def _source(repo_id: str, filename: str, revision: str | None) -> HubSource:
    return HubSource(
        repo_id=repo_id,
        repo_type="model",
        filename=filename,
        revision=revision,
        digest_seen=False,
        licence=None,
    )


def _local(source: HubSource, cache_dir: PathLike | None, progress: bool) -> Path:
    cached = hub.cached(source, cache_dir=cache_dir)
    return cached or hub.download(source, cache_dir=cache_dir, progress=progress)

"""Clips in WebDataset tars: ``<key>.flac`` and optionally ``<key>.json`` with the labels."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from pannsx.audio.formats import AUDIO_SUFFIXES
from train.data.clips import Clip
from train.data.segments import Listing
from train.data.staging import Staging, listed, version_of

LABEL_KEYS = ("labels", "label", "tags", "tag", "human_labels", "classes")
"""Keys of a clip's labels, as ids, names or numbers, in copies on the Hub."""


@dataclass(frozen=True)
class TarChunk:
    """A tar."""

    path: Path

    @property
    def name(self) -> str:
        """The file's."""
        return self.path.name

    @property
    def n_clips(self) -> None:
        """Unknown: a tar has no table of contents."""

    def clips(self, listing: Listing) -> Iterator[Clip]:
        """One clip per key; members of a key are adjacent, as WebDataset requires."""
        try:
            with tarfile.open(self.path) as archive:
                for key, members in groupby(_members(archive), key=lambda member: member[0]):
                    files = {suffix: content for _, suffix, content in members}
                    encoded = next((files[suffix] for suffix in files if suffix in AUDIO_SUFFIXES), None)
                    if encoded is None:
                        continue
                    found = listing.identify(PurePosixPath(key).name, labels_of(files, key))
                    if found is not None:
                        yield Clip(*found, encoded)
        except tarfile.TarError as error:
            raise ValueError(f"{self.path} is damaged: {error}") from error


@dataclass(frozen=True)
class FarTarChunk:
    """A tar at a URL, read from a copy of it.

    Attributes:
        location: its URL.
        version: changes with its content.
        staging: folder of the copy; without effect on the packed clips.
    """

    location: str
    version: str
    staging: Staging = field(repr=False)

    @property
    def name(self) -> str:
        """The file's."""
        return PurePosixPath(self.location).name

    @property
    def n_clips(self) -> None:
        """Unknown: a tar has no table of contents."""

    def clips(self, listing: Listing) -> Iterator[Clip]:
        """As :meth:`TarChunk.clips`; OSError if it cannot be copied."""
        copy = self.staging.local(self.location, version=self.version)
        yield from TarChunk(copy).clips(listing)


def far_tar_chunks(location: str, staging: Staging | None) -> list[FarTarChunk]:
    """One chunk per tar of a folder or pattern at a URL.

    Raises:
        ValueError: there are none, or no place for copies.
        OSError: the URL cannot be opened.
    """
    if staging is None:
        raise ValueError(
            f"{location} is read through copies of the tars; give a local folder for them: --staging"
        )
    locations = listed(location, ".tar")
    if not locations:
        raise ValueError(f"{location}: there are no tars (.tar); check the URL")
    return [FarTarChunk(one, version_of(one), staging) for one in locations]


def tar_chunks(path: Path) -> list[TarChunk]:
    """One chunk per tar, as it can only be read from its beginning."""
    return [TarChunk(path)]


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """Key, suffix and content of every file."""
    for member in archive:
        if member.isfile() and (file := archive.extractfile(member)) is not None:
            yield *parts_of_name(member.name), file.read()


def parts_of_name(name: str) -> tuple[str, str]:
    """Key (the path up to the first dot of the file's name) and suffix of a member."""
    path = PurePosixPath(name)
    stem, _, suffix = path.name.partition(".")
    return str(path.with_name(stem)) if stem else name, f".{suffix.lower()}"


def labels_of(files: dict[str, bytes], key: str) -> list[str | int] | None:
    """The labels of a clip from its ``.json`` or ``.cls``; None without any.

    Raises:
        ValueError: these cannot be read.
    """
    if ".json" not in files:
        return [int(files[".cls"])] if ".cls" in files else None
    try:
        said: Any = json.loads(files[".json"])
    except ValueError as error:
        raise ValueError(f"{key}.json is not JSON: {error}") from error
    if isinstance(said, dict):
        said = next((said[name] for name in LABEL_KEYS if name in said), None)
    if said is None:
        return None
    return list(said) if isinstance(said, list) else [said]

"""Clips read from WebDataset tars without packing: audio files are decoded and resampled as they are drawn.

A clip is ``<key>.flac`` (or another audio file) with its labels in ``<key>.json`` or ``<key>.cls``, as in
:mod:`train.data.sources_tar`. Tars are on disks, or at URLs with a staging folder; then every tar is copied
whole, and its table of contents is kept. Decoding and resampling cost some milliseconds a clip, each time:
pack the tars (:mod:`train.pack`) for more than a few passes.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pannsx.atomic import replacing
from pannsx.audio.formats import AUDIO_SUFFIXES
from pannsx.errors import AudioError
from pannsx.labels import LabelSet
from train.data.clips import Clip, Wanted, samples_of
from train.data.packed import Clips
from train.data.segments import Listing
from train.data.sources_tar import labels_of, parts_of_name
from train.data.staging import Staging, StagingError, is_url, listed, version_of
from train.data.store import StoreError
from train.data.targets import Targets

_SUFFIX = ".tar"


class Member(NamedTuple):
    """An audio file in a tar.

    Attributes:
        id: the key without its folders.
        labels: its labels as written, ids, names or numbers.
        offset: first byte in the tar.
        n_bytes: size.
    """

    id: str
    labels: tuple[str | int, ...]
    offset: int
    n_bytes: int


class Tars(Clips):
    """The clips of tars, in the order of the tars' names, with the interface of a store.

    Args:
        location: a tar, a folder of tars or a pattern with ``*``; path or URL.
        sample_rate: rate of the samples as read, in Hz.
        labels: ``K`` labels; None: those that the clips have, sorted.
        staging: folder for copies of the tars; needed for URLs.
        duration_s: length of every clip: longer ones are cut, shorter ones zero-padded.

    Raises:
        ValueError: there are no tars, or one is damaged, has labels that are not known, or ids twice.
        OSError: a tar cannot be read.
    """

    def __init__(
        self,
        location: str,
        sample_rate: int,
        labels: LabelSet | None,
        staging: Staging | None = None,
        *,
        duration_s: float = 10.0,
    ) -> None:
        if staging is None and is_url(location):
            raise ValueError(
                f"{location} is read through copies of the tars; give a local folder for them: "
                "data.staging of a recipe, or --staging"
            )
        self._arguments = (location, sample_rate, labels, staging, duration_s)
        self._staging = staging
        self._wanted = Wanted(sample_rate, duration_s)
        self.sample_rate, self.n_samples = sample_rate, self._wanted.n_samples
        locations = listed(location, _SUFFIX)
        if not locations:
            raise ValueError(f"{location}: there are no tars ({_SUFFIX}); check the path")
        self._tars = [(path, version_of(path)) for path in locations]
        tables = [self._contents(tar) for tar in range(len(self._tars))]
        self._members = [member for table in tables for member in table]
        self._parts = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        known = _labels_in(self._members) if labels is None else labels
        self.labels: tuple[str, ...] = known.names
        self.label_ids = known.ids
        listing = Listing(known)
        ids: list[str] = []
        labelled = np.zeros((len(self._members), len(known)), np.bool_)
        for row, member in enumerate(self._members):
            given = member.labels if labels is not None else [str(label) for label in member.labels]
            clip_id, positions = listing.identify(member.id, given) or (member.id, ())
            ids.append(clip_id)
            labelled[row, list(positions)] = True
        if not ids or len(set(ids)) < len(ids):
            raise ValueError(
                f"{location}: {len(ids)} clips with {len(set(ids))} different ids; each needs its own"
            )
        self._ids = tuple(ids)
        self._targets = Targets.of(labelled)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def ids(self) -> Sequence[str]:
        """``N`` ids: keys without their folders, and as in a packed store without the published ``Y``."""
        return self._ids

    @property
    def targets(self) -> Targets:
        """``(N, K)``: whether a clip has a label."""
        return self._targets

    @property
    def parts(self) -> NDArray[np.int64]:
        """``(N,)`` number of each clip's tar."""
        return self._parts

    def read(self, index: int) -> NDArray[np.int16]:
        """``(n_samples,)`` of a clip, zeros after its end.

        Raises:
            StoreError: its tar cannot be read, or it is no audio.
        """
        member, tar = self._members[index], int(self._parts[index])
        try:
            with self._path(tar).open("rb") as file:
                file.seek(member.offset)
                encoded = file.read(member.n_bytes)
            if len(encoded) != member.n_bytes:
                raise AudioError(f"{member.n_bytes} bytes are needed, {len(encoded)} are there")
            pcm = samples_of(Clip(member.id, (), encoded), self._wanted)
        except (AudioError, OSError) as error:
            raise StoreError(f"clip {member.id!r} of {self._tars[tar][0]} cannot be read: {error}") from error
        return np.pad(pcm, (0, self.n_samples - len(pcm)))

    def __reduce__(self) -> tuple[object, ...]:
        location, sample_rate, labels, staging, duration_s = self._arguments
        return _again, (location, sample_rate, labels, staging, duration_s)

    def _path(self, tar: int) -> Path:
        location, version = self._tars[tar]
        return Path(location) if self._staging is None else self._staging.local(location, version=version)

    def _contents(self, tar: int) -> list[Member]:
        """The audio files of a tar; kept in the staging folder, if there is one."""
        location, version = self._tars[tar]
        if self._staging is None:
            return read_contents(Path(location))
        name = hashlib.sha256(f"{location}\n{version}".encode()).hexdigest()[:32]
        kept = self._staging.folder / "contents" / f"{name}.json"
        if not kept.exists():
            table = read_contents(self._path(tar))
            with replacing(kept) as temporary:
                temporary.write_text(json.dumps(table), encoding="utf-8", newline="\n")
        try:
            return [
                Member(key, tuple(labels), *rest)
                for key, labels, *rest in json.loads(kept.read_text("utf-8"))
            ]
        except (ValueError, TypeError) as error:
            raise StagingError(f"{kept} is damaged: {error}; delete it") from error


def is_tars(location: str) -> bool:
    """Whether a path or URL is that of tars: by its suffix, or as a folder that holds some."""
    if location.endswith(_SUFFIX):
        return True
    folder = Path(location)
    return not is_url(location) and folder.is_dir() and next(folder.glob(f"*{_SUFFIX}"), None) is not None


def read_contents(path: Path) -> list[Member]:
    """The audio files of a tar; keys without any are left out.

    Raises:
        ValueError: it is damaged or compressed.
        OSError: it cannot be read.
    """
    found = []
    try:
        with tarfile.open(path, "r:") as archive:
            files = ((*parts_of_name(member.name), member) for member in archive if member.isfile())
            for key, of_key in groupby(files, key=lambda file: file[0]):
                members = {suffix: member for _, suffix, member in of_key}
                sound = next((members[suffix] for suffix in members if suffix in AUDIO_SUFFIXES), None)
                if sound is None:
                    continue
                notes: dict[str, bytes] = {}
                for suffix in (".json", ".cls"):
                    if suffix in members and (file := archive.extractfile(members[suffix])) is not None:
                        notes[suffix] = file.read()
                said = labels_of(notes, key)
                found.append(
                    Member(PurePosixPath(key).name, tuple(said or ()), sound.offset_data, sound.size)
                )
    except tarfile.TarError as error:
        raise ValueError(f"{path} is damaged, or not a plain tar: {error}") from error
    return found


def _labels_in(members: Sequence[Member]) -> LabelSet:
    """The labels that occur, sorted; numbers by their size."""
    labels = {label for member in members for label in member.labels}
    return LabelSet(
        tuple(str(label) for label in sorted(labels, key=lambda one: (isinstance(one, str), one)))
    )


def _again(
    location: str, sample_rate: int, labels: LabelSet | None, staging: Staging | None, duration_s: float
) -> Tars:
    return Tars(location, sample_rate, labels, staging, duration_s=duration_s)

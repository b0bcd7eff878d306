"""Checkpoint records in files: ``weights_manifest.json`` and a user's own record next to weights.

Reading is strict: an unknown, missing or mistyped key is an error with the key and the record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pannsx.errors import did_you_mean
from pannsx.labels import LabelSet, audioset, read_labels
from pannsx.strict import parse
from pannsx.types import PathLike
from pannsx.weights.record import Checkpoint
from pannsx.weights.record_json import MANIFEST_FORMAT, REQUIRED_KEYS, parse_record

DEFAULT_CHECKPOINT = "MobileNetV1_distilled"
"""The bundled checkpoint: what a call without a model name uses."""

_OWN_RECORD_KEYS = frozenset(
    {"name", "architecture", "sample_rate", "frontend", "labels", "n_classes", "filename"}
)


@dataclass(frozen=True, slots=True)
class _Manifest:
    format: int
    about: str
    checkpoints: tuple[Any, ...]


def manifest_path() -> Path:
    """Path of ``weights_manifest.json``: inside an installed package, next to it in a checkout."""
    package = Path(__file__).parent.parent
    for folder in (package, package.parent):
        if (folder / "weights_manifest.json").is_file():
            return folder / "weights_manifest.json"
    raise FileNotFoundError(
        f"weights_manifest.json is neither in {package} nor in {package.parent}; reinstall pannsx"
    )


@cache
def load_manifest() -> dict[str, Checkpoint]:
    """All checkpoints of the manifest, by name, in its order."""
    return parse_manifest(manifest_path().read_text(encoding="utf-8"))


def find(name: str) -> Checkpoint:
    """The manifest's record of a name; case is ignored.

    Raises:
        ValueError: no such checkpoint; close names are suggested.
    """
    known = load_manifest()
    by_folded = {candidate.casefold(): candidate for candidate in known}
    if name.casefold() not in by_folded:
        raise ValueError(f"unknown model {name!r}{did_you_mean(name, known)} (`pannsx models` lists all)")
    return known[by_folded[name.casefold()]]


def parse_manifest(text: str) -> dict[str, Checkpoint]:
    """Records by name from the text of a manifest; ValueError with the place of an error."""
    manifest: _Manifest = parse(_Manifest, _decode(text, "weights_manifest.json"), "weights_manifest.json")
    if manifest.format != MANIFEST_FORMAT:
        raise ValueError(
            f"weights_manifest.json has format {manifest.format}; "
            f"this version of pannsx reads format {MANIFEST_FORMAT}"
        )
    records: dict[str, Checkpoint] = {}
    for number, entry in enumerate(manifest.checkpoints):
        record = parse_record(entry, f"weights_manifest.json, entry {number}", required=REQUIRED_KEYS)
        if record.name.casefold() in {name.casefold() for name in records}:
            raise ValueError(f"weights_manifest.json has two entries {record.name!r}")
        records[record.name] = record
    return records


def read_record(path: PathLike) -> Checkpoint:
    """A user's own record: the manifest's keys in a JSON file next to the weights.

    ``name``, ``architecture``, ``sample_rate``, ``frontend``, ``labels``, ``n_classes`` and
    ``filename`` are required; the others are optional.  ``labels`` (unless ``audioset``) and
    ``filename`` are relative to the record and stay in its folder.

    Raises:
        OSError: the file cannot be read.
        ValueError: not such a record; the message names the wrong key.
    """
    path = Path(path)
    entry = _decode(path.read_text(encoding="utf-8"), path.name)
    record = parse_record(entry, path.name, required=_OWN_RECORD_KEYS, folder=path.parent.absolute())
    known = {each.architecture for each in load_manifest().values()}  # the table of them needs torch
    if record.architecture not in known:
        raise ValueError(
            f"{path.name} ({record.name}): unknown architecture {record.architecture!r}"
            f"{did_you_mean(record.architecture, known)}"
        )
    return record


def labels_of(record: Checkpoint) -> LabelSet:
    """The labels of a checkpoint's outputs: AudioSet's, or those of its own label file.

    Raises:
        OSError: the label file cannot be read.
        ValueError: not a label file, or not ``n_classes`` labels.
    """
    if record.labels == "audioset":
        labels = audioset()
    elif record.folder is None:
        raise ValueError(
            f"{record.name}: labels is {record.labels!r}; without a folder, 'audioset' is needed"
        )
    else:
        labels = read_labels(record.folder / record.labels)
    if len(labels) != record.n_classes:
        raise ValueError(
            f"{record.name} has {record.n_classes} classes and its label set {record.labels!r} "
            f"{len(labels)} labels; the two must be equal"
        )
    return labels


def _decode(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from error

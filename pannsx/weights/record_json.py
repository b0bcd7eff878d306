"""A checkpoint's record to and from JSON, strictly: errors name the place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pannsx.errors import did_you_mean
from pannsx.strict import parse
from pannsx.weights.record import Base, BundledSource, Checkpoint, HubSource, Source, UrlSource

MANIFEST_FORMAT = 1

ALL_KEYS = frozenset(field.name for field in fields(Checkpoint)) - {"folder"}
_OF_FEW = ("base", "front_end_mismatch", "int8_steps")
REQUIRED_KEYS = ALL_KEYS - set(_OF_FEW)
"""Of the manifest's records, which are of whole networks with weights as they were trained."""

_DIGEST_LENGTH = {"sha256": 64, "md5": 32}
_SOURCE_TYPES = {HubSource: "hub", UrlSource: "url", BundledSource: "bundled"}


def record_to_json(record: Checkpoint) -> dict[str, Any]:
    """The JSON object of a record, without ``folder``; the inverse of `parse_record`."""
    fields = asdict(record)
    del fields["folder"]
    fields["sources"] = _sources_to_json(record.sources)
    if record.base is not None:
        fields["base"]["sources"] = _sources_to_json(record.base.sources)
    for key in _OF_FEW:
        if fields[key] is None:
            del fields[key]
    if record.frontend is not None:
        del fields["frontend"]["sample_rate"]  # the record's own: one fact, one place
    return fields


def parse_record(
    entry: object, where: str, *, required: Iterable[str], folder: Path | None = None
) -> Checkpoint:
    """A record from its JSON object.

    Args:
        entry: the decoded JSON.
        where: its source, for error messages.
        required: the required keys; missing others become None.
        folder: folder of a user's own record.

    Raises:
        ValueError: an invalid record; the message gives the place, the key, the value and the expected one.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: a JSON object is needed, got {type(entry).__name__}")
    if unknown := sorted(set(entry) - ALL_KEYS):
        raise ValueError(f"{where}: unknown key {unknown[0]}{did_you_mean(unknown[0], ALL_KEYS)}")
    if isinstance(entry.get("name"), str):
        where = f"{where} ({entry['name']})"
    facts = dict(entry)
    if isinstance(frontend := facts.get("frontend"), dict):
        if "sample_rate" in frontend:  # the record's own: one fact, one place
            raise ValueError(f"{where}: unknown key frontend.sample_rate; it is the record's sample_rate")
        facts["frontend"] = {"sample_rate": facts.get("sample_rate"), **frontend}
    _parse_sources(facts, where)
    if isinstance(base := facts.get("base"), dict):
        facts["base"] = _parse_base(base, f"{where}, base")
    record: Checkpoint = parse(Checkpoint, {**facts, "folder": folder}, where, required=frozenset(required))
    for key in ("sample_rate", "n_classes"):
        if getattr(record, key) < 1:
            raise ValueError(f"{where}: {key} is {getattr(record, key)}; at least 1 is needed")
    for key in _DIGEST_LENGTH:
        if getattr(record, key) is not None:
            _check_digest(getattr(record, key), key, where)
    for key in ("labels", "filename"):
        _check_relative(getattr(record, key), f"{where}: {key}")
    _check_steps(record.int8_steps, where)
    return record


def _sources_to_json(sources: Iterable[Source]) -> list[dict[str, Any]]:
    return [{"type": _SOURCE_TYPES[type(source)], **asdict(source)} for source in sources]


def _parse_base(entry: dict[str, Any], where: str) -> Base:
    facts = dict(entry)
    _parse_sources(facts, where)
    base: Base = parse(Base, facts, where)
    _check_digest(base.sha256, "sha256", where)
    _check_relative(base.filename, f"{where}: filename")
    return base


def _check_digest(digest: str, algorithm: str, where: str) -> None:
    length = _DIGEST_LENGTH[algorithm]
    if len(digest) != length or set(digest) - set("0123456789abcdef"):
        raise ValueError(
            f"{where}: {algorithm} is {digest!r}; {length} lower-case hexadecimal digits are needed"
        )


def _check_steps(steps: Mapping[str, float] | None, where: str) -> None:
    if steps is not None and not steps:
        raise ValueError(f"{where}: int8_steps is empty; leave it out, or give the step of each layer")
    for layer, step in (steps or {}).items():
        if not (math.isfinite(step) and step > 0):
            raise ValueError(f"{where}: int8_steps.{layer} is {step}; a finite number above 0 is needed")


def _parse_sources(facts: dict[str, Any], where: str) -> None:
    """Parse the sources in an object with an optional list of them."""
    if isinstance(sources := facts.get("sources"), list):
        facts["sources"] = [
            _parse_source(source, f"{where}, source {number}") for number, source in enumerate(sources)
        ]
    elif facts.get("sources", ()) is None:
        del facts["sources"]


def _parse_source(entry: object, where: str) -> Source:
    kinds = {name: kind for kind, name in _SOURCE_TYPES.items()}
    if not isinstance(entry, dict) or entry.get("type") not in kinds:
        got = repr(entry.get("type")) if isinstance(entry, dict) else "missing"
        raise ValueError(f"{where}: type is {got}; hub, url or bundled is needed")
    facts = {key: value for key, value in entry.items() if key != "type"}
    source: Source = parse(kinds[entry["type"]], facts, where)
    if isinstance(source, BundledSource):
        _check_relative(source.filename, f"{where}: filename")
    return source


def _check_relative(path: str | None, where: str) -> None:
    """ValueError if a path leaves the record's folder, by the rules of any operating system."""
    if path is None:
        return
    for flavour in (PurePosixPath(path), PureWindowsPath(path)):
        if flavour.anchor or ".." in flavour.parts or not flavour.parts:
            raise ValueError(f"{where} is {path!r}; a path inside the record's folder is needed")

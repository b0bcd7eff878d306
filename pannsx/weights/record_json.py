"""A checkpoint's record to and from its JSON object, strictly: what is wrong is named with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from pannsx.errors import did_you_mean
from pannsx.frontend.settings import FrontEnd
from pannsx.weights.record import BundledSource, Checkpoint, Example, HubSource, Scores, Source, UrlSource

# The architecture table itself needs torch; that the two lists agree is a test.
ARCHITECTURES = (
    "Cnn6", "Cnn10", "Cnn14", "Cnn14_emb512", "Cnn14_emb128", "Cnn14_emb32",
    "Cnn14_DecisionLevelMax", "Cnn14_DecisionLevelAvg", "Cnn14_DecisionLevelAtt",
    "ResNet22", "ResNet38", "ResNet54", "MobileNetV1", "MobileNetV2", "LeeNet11", "LeeNet24",
    "DaiNet19", "Res1dNet31", "Res1dNet51", "Wavegram_Cnn14", "Wavegram_Logmel_Cnn14",
)  # fmt: skip

MANIFEST_FORMAT = 1

ALL_KEYS = frozenset(field.name for field in fields(Checkpoint)) - {"folder"}
_DIGEST_LENGTH = {"sha256": 64, "md5": 32}
_SOURCE_TYPES = {HubSource: "hub", UrlSource: "url", BundledSource: "bundled"}

T = TypeVar("T")


class JsonObject:
    """A JSON object whose values are asked for by key and type; every complaint says where it stands."""

    def __init__(self, entry: object, where: str) -> None:
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: a JSON object is needed, got {type(entry).__name__}")
        self.entry: dict[str, Any] = entry
        self.where = where

    def require(self, required: Iterable[str], *, allowed: Iterable[str] | None = None) -> None:
        required = set(required)
        allowed = required if allowed is None else set(allowed)
        for key in sorted(set(self.entry) - allowed):
            raise ValueError(f"{self.where}: unknown key {key!r}{did_you_mean(key, allowed)}")
        if missing := sorted(required - set(self.entry)):
            raise ValueError(f"{self.where}: missing {', '.join(map(repr, missing))}")

    def get(self, key: str, kind: type[T]) -> T:
        value = self.entry.get(key)
        # bool is a kind of int in Python, and is never meant as one here.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{self.where}: {key} is {value!r}; {kind.__name__} is needed")
        return value

    def optional(self, key: str, kind: type[T]) -> T | None:
        return None if self.entry.get(key) is None else self.get(key, kind)

    def positive(self, key: str) -> int:
        value = self.get(key, int)
        if value < 1:
            raise ValueError(f"{self.where}: {key} is {value}; at least 1 is needed")
        return value

    def number(self, key: str) -> float:
        return float(self.get(key, int) if isinstance(self.entry.get(key), int) else self.get(key, float))


def record_to_json(record: Checkpoint) -> dict[str, Any]:
    """The JSON object of a record, without ``folder``, which says where it lies; `parse_record` reads it."""
    fields = asdict(record)
    del fields["folder"]
    fields["sources"] = [{"type": _SOURCE_TYPES[type(source)], **asdict(source)} for source in record.sources]
    if record.frontend is not None:
        del fields["frontend"]["sample_rate"]  # the record's own: one fact, one place
    return fields


def parse_record(
    entry: object, where: str, *, required: Iterable[str], folder: Path | None = None
) -> Checkpoint:
    """A record from its JSON object.

    Args:
        entry: the decoded JSON.
        where: what to call its place in errors.
        required: the keys that must be there; of the others, None stands for what is absent.
        folder: where the record lies, for a user's own.

    Raises:
        ValueError: something about it is wrong; names the place, the key, the value and the need.
    """
    record = JsonObject(entry, where)
    record.require(required, allowed=ALL_KEYS)
    name = record.get("name", str)
    record.where = where = f"{where} ({name})"
    architecture = record.get("architecture", str)
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"{where}: unknown architecture {architecture!r}{did_you_mean(architecture, ARCHITECTURES)}"
        )
    for key, length in _DIGEST_LENGTH.items():
        digest = record.optional(key, str)
        if digest is not None and (len(digest) != length or set(digest) - set("0123456789abcdef")):
            raise ValueError(
                f"{where}: {key} is {digest!r}; {length} lower-case hexadecimal digits are needed"
            )
    for key in ("labels", "filename"):
        _check_relative(record.optional(key, str), f"{where}: {key}")
    sample_rate = record.positive("sample_rate")
    scores, example = record.optional("scores", dict), record.optional("example", dict)
    return Checkpoint(
        name=name,
        architecture=architecture,
        sample_rate=sample_rate,
        frontend=parse_frontend(record.optional("frontend", dict), sample_rate, f"{where}, frontend"),
        labels=record.get("labels", str),
        n_classes=record.positive("n_classes"),
        parameters=record.optional("parameters", int),
        unused_parameters=record.optional("unused_parameters", int),
        filename=record.optional("filename", str),
        size_bytes=record.optional("size_bytes", int),
        sha256=record.optional("sha256", str),
        md5=record.optional("md5", str),
        sources=tuple(
            _parse_source(source, f"{where}, source {number}")
            for number, source in enumerate(record.optional("sources", list) or ())
        ),
        licence=record.optional("licence", str),
        description=record.optional("description", str),
        trained_on=record.optional("trained_on", str),
        scores=None if scores is None else _parse_scores(scores, f"{where}, scores"),
        paper_operations_per_10s=record.optional("paper_operations_per_10s", int),
        recipe=record.optional("recipe", str),
        example=None if example is None else _parse_example(example, f"{where}, example"),
        notes=record.optional("notes", str),
        folder=folder,
    )


def parse_frontend(entry: dict[str, Any] | None, sample_rate: int, where: str) -> FrontEnd | None:
    """Front-end settings from their JSON object; ValueError names what is wrong."""
    if entry is None:
        return None
    settings = JsonObject(entry, where)
    settings.require({"n_fft", "hop_length", "n_mels", "fmin", "fmax"})
    try:
        return FrontEnd(
            sample_rate=sample_rate,
            n_fft=settings.get("n_fft", int),
            hop_length=settings.get("hop_length", int),
            n_mels=settings.get("n_mels", int),
            fmin=settings.number("fmin"),
            fmax=settings.number("fmax"),
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _parse_source(entry: object, where: str) -> Source:
    source = JsonObject(entry, where)
    kind = source.get("type", str)
    if kind == "hub":
        source.require({"type", "repo_id", "repo_type", "filename", "revision", "digest_seen", "licence"})
        if source.get("repo_type", str) not in ("model", "dataset"):
            raise ValueError(
                f"{where}: repo_type is {source.get('repo_type', str)!r}; model or dataset is needed"
            )
        return HubSource(
            repo_id=source.get("repo_id", str),
            repo_type=source.get("repo_type", str),
            filename=source.get("filename", str),
            revision=source.optional("revision", str),
            digest_seen=source.get("digest_seen", bool),
            licence=source.optional("licence", str),
        )
    if kind == "url":
        source.require({"type", "url"})
        return UrlSource(url=source.get("url", str))
    if kind == "bundled":
        source.require({"type", "filename"})
        _check_relative(source.get("filename", str), f"{where}: filename")
        return BundledSource(filename=source.get("filename", str))
    raise ValueError(f"{where}: type is {kind!r}; hub, url or bundled is needed")


def _parse_scores(entry: dict[str, Any], where: str) -> Scores:
    scores = JsonObject(entry, where)
    scores.require({"mAP", "auc", "d_prime", "source", "other"})
    known = {key: scores.number(key) if entry[key] is not None else None for key in ("mAP", "auc", "d_prime")}
    other = JsonObject(scores.get("other", dict), f"{where}, other")
    return Scores(
        **known, source=scores.optional("source", str), other={key: other.number(key) for key in other.entry}
    )


def _parse_example(entry: dict[str, Any], where: str) -> Example:
    example = JsonObject(entry, where)
    example.require({"file", "top"})
    top = JsonObject(example.get("top", dict), f"{where}, top")
    return Example(file=example.get("file", str), top={label: top.number(label) for label in top.entry})


def _check_relative(path: str | None, where: str) -> None:
    """A path from a record must not reach outside the record's folder, on any system's reading of it."""
    if path is None:
        return
    for flavour in (PurePosixPath(path), PureWindowsPath(path)):
        if flavour.anchor or ".." in flavour.parts or not flavour.parts:
            raise ValueError(f"{where} is {path!r}; a path inside the record's folder is needed")

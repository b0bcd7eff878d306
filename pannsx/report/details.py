"""Facts about a page: its source, network, settings and version."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

from pannsx.readable import clock, file_size
from pannsx.report.sound import Sound, printable
from pannsx.version import __version__
from pannsx.weights.digests import file_digest


def source_facts(sound: Sound | None) -> list[tuple[str, str]]:
    """Name, size and digest of the source, as far as it has them.

    Raises:
        OSError: the file cannot be read.
    """
    if sound is None:
        return []
    facts: list[tuple[str, str]] = []
    if sound.path is not None:
        path = Path(sound.path)
        facts = [
            ("File", printable(path.name)),
            ("Size", file_size(path.stat().st_size)),
            ("SHA-256", file_digest(path, "sha256")),
        ]
    elif isinstance(sound.source, (bytes, bytearray, memoryview)):
        facts = [
            ("Size", file_size(memoryview(sound.source).nbytes)),
            ("SHA-256", hashlib.sha256(sound.source).hexdigest()),
        ]
    part = sound.selection
    if part.start_s or part.duration_s is not None:
        facts.append(("Part", f"from {clock(part.start_s, 2)}"))
    if part.channel != "mean":
        facts.append(("Channel", str(part.channel)))
    if part.salvage:
        facts.append(("Damaged", "read as far as possible"))
    return facts


def origin_facts(model: str | None) -> list[tuple[str, str]]:
    """Model, program and date."""
    now = datetime.datetime.now(datetime.timezone.utc)
    facts = [("Model", model)] if model else []
    return [*facts, ("Made by", f"pannsx {__version__}"), ("Date", f"{now:%Y-%m-%d %H:%M} UTC")]

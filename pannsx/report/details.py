"""Facts about a page: what was read, by which network, with which settings, by which version."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

from pannsx.report.sound import Sound, printable
from pannsx.version import __version__
from pannsx.weights.digests import file_digest


def clock(seconds: float, digits: int = 0) -> str:
    """``h:mm:ss`` or ``m:ss``, with digits of a second."""
    step = 10**digits
    whole = round(seconds * step)
    minutes, rest = divmod(whole, 60 * step)
    hours, minutes = divmod(minutes, 60)
    second, fraction = divmod(rest, step)
    text = f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"
    return f"{text}.{fraction:0{digits}d}" if digits else text


def length(seconds: float) -> str:
    """A length for people: seconds below a minute, else minutes or hours."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{clock(seconds)} {'h' if seconds >= 3600 else 'min'}"


def size(n_bytes: int) -> str:
    """A readable size; 1 MB is a million bytes."""
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 100_000 else f"{n_bytes / 1e3:,.1f} kB"


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
            ("Size", size(path.stat().st_size)),
            ("SHA-256", file_digest(path, "sha256")),
        ]
    elif isinstance(sound.source, (bytes, bytearray, memoryview)):
        facts = [
            ("Size", size(memoryview(sound.source).nbytes)),
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

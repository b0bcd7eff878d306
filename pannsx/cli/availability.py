"""Whether the weights of a checkpoint can be had, and whether they are on this computer already."""

from __future__ import annotations

from pathlib import Path

from pannsx.weights.digests import expected_digest
from pannsx.weights.local import cache_home, cache_places, given_places
from pannsx.weights.record import Checkpoint

MEANINGS = {
    "bundled": "in the package",
    "here": "on this computer",
    "fetch": "fetched on first use",
    "unverified": "fetched with --allow-unverified only: no digest is published",
    "unreleased": "no weights were ever released",
}


def local_file(record: Checkpoint, cache_dir: str | None) -> Path | None:
    """Where the weights lie on this computer, or None; nothing is hashed or fetched."""
    if record.filename is None:
        return None
    home = cache_home() if cache_dir is None else Path(cache_dir)
    places = (*given_places(record, cache_dir), *cache_places(record, home / record.filename))
    return next((path for path in places if path.is_file()), None)


def availability(record: Checkpoint, cache_dir: str | None) -> str:
    """One of the words of `MEANINGS`."""
    if record.bundled:
        return "bundled"
    if not record.released:
        return "unreleased"
    if local_file(record, cache_dir) is not None:
        return "here"
    return "unverified" if expected_digest(record) is None else "fetch"

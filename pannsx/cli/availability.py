"""Availability of a checkpoint's weights: in the package, on this computer, to be fetched, or unreleased."""

from __future__ import annotations

from pannsx.weights import local
from pannsx.weights.record import Checkpoint

MEANINGS = {
    "bundled": "in the package",
    "here": "on this computer",
    "fetch": "fetched on first use",
    "unverified": "fetched only with --allow-unverified: no digest is published",
    "unreleased": "no weights were ever released",
}


def availability(record: Checkpoint, cache_dir: str | None) -> str:
    """A key of `MEANINGS`."""
    if record.bundled:
        return "bundled"
    if not record.released:
        return "unreleased"
    if local.find(record, cache_dir) is not None:
        return "here"
    return "unverified" if record.digest is None else "fetch"

"""Licences of audio files: their tier, and the statements of Debian copyright files."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import NamedTuple

TIERS = ("permissive", "share-alike", "other")
"""From the freest to the strictest. ``other`` (sampling licences, unclear ones) is never used."""

STATED = "stated"
"""In a table: the licence of each file is read from the package's copyright file."""

_PERMISSIVE = re.compile(
    r"(cc0|cc-by-\d|public.?domain|pd\b|mit|expat|bsd|zlib|isc\b|est-200|unlicense|wtfpl|own)", re.I
)
_SHARE_ALIKE = re.compile(r"(cc-by-sa|cc-sa-by|gpl|lgpl|gfdl|artistic|free-?art|lal)", re.I)


class Stanza(NamedTuple):
    """A pattern of files of a copyright file, and their licence."""

    pattern: str
    licence: str


def tier_of(licence: str) -> str:
    """The tier of a licence: the freer one of "a or b", the stricter one of "a and b"."""

    def rank(name: str) -> int:
        return 0 if _PERMISSIVE.match(name) else 1 if _SHARE_ALIKE.match(name) else 2

    choices = re.split(r"\s+or\s+", licence.strip())
    return TIERS[min(max(rank(part) for part in re.split(r"\s+and\s+", choice)) for choice in choices)]


def freest(licence: str) -> str:
    """The freer licence of "a or b", the first of equally free ones."""
    return min(re.split(r"\s+or\s+", licence.strip()), key=lambda one: TIERS.index(tier_of(one)))


def read_stanzas(text: str) -> list[Stanza]:
    """The stanzas of a machine-readable copyright file, in its order; none for other files."""
    stanzas = []
    for block in re.split(r"\n[ \t]*\n", text):
        files = re.search(r"^Files:(.*(?:\n[ \t]+.*)*)", block, re.M)
        licence = re.search(r"^License:[ \t]*(\S.*)", block, re.M)
        if files and licence:
            stanzas += [Stanza(pattern, licence[1].strip()) for pattern in files[1].split()]
    return stanzas


def stated_licence(path: str, stanzas: Sequence[Stanza]) -> str | None:
    """Licence of an installed file: that of the last matching pattern; None without a match.

    Patterns name files of the source. Their leading folders are dropped until the rest matches the installed
    path, but at least two components without a wildcard must remain.
    """
    licence = None
    for stanza in stanzas:
        components = stanza.pattern.strip("/").split("/")
        for start in range(len(components)):
            tail = components[start:]
            if start and sum(not set(component) & set("*?") for component in tail) < 2:
                break
            if fnmatch.fnmatchcase(path, "*/" + "/".join(tail)):
                licence = stanza.licence
                break
    return licence

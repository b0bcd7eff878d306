"""The two error classes a caller can handle, and text for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AudioError(ValueError):
    """The audio cannot be used: unreadable, empty, not finite, wrong shape, or too short a part."""


class WeightsError(RuntimeError):
    """A checkpoint cannot be obtained or trusted: missing, refused, truncated or altered."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'Cnn14'?"`` for a name close to a known one, else an empty string.

    Case, hyphens and underscores are ignored.
    """

    def fold(text: str) -> str:
        return text.casefold().replace("-", "_").replace("_", "").replace(" ", "")

    by_folded = {fold(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(fold(name), by_folded, n=3, cutoff=0.6)
    if not close:
        return ""
    return "; did you mean " + " or ".join(repr(by_folded[key]) for key in close) + "?"


def printable(path: str) -> str:
    """The path with bytes that are not UTF-8 escaped: Linux allows file names that are not text."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")

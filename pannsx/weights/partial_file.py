"""The bytes of a download so far, and which version of the file they belong to."""

from __future__ import annotations

from pathlib import Path


class PartialFile:
    """``<name>.part`` beside a destination.

    The server's validator (a strong ETag or a date) stands in ``<name>.part.validator``: without it
    nobody can tell whether more bytes would belong to the same version, and the part is worthless.
    """

    def __init__(self, destination: Path) -> None:
        self.name = destination.name
        self.path = destination.with_name(destination.name + ".part")
        self.validator_path = destination.with_name(destination.name + ".part.validator")
        self.complete = False

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str | None:
        """What If-Range is to hold; None means that there is nothing to resume."""
        if not self.size or not self.validator_path.exists():
            return None
        return self.validator_path.read_text(encoding="latin-1") or None

    def start(self, validator: str | None) -> None:
        """Begin anew with the version of the file that ``validator`` names."""
        self.discard()
        if validator is not None:
            self.validator_path.write_text(validator, encoding="latin-1")

    def discard(self) -> None:
        """Forget the bytes."""
        self.path.unlink(missing_ok=True)
        self.validator_path.unlink(missing_ok=True)

    def discard_unless_resumable(self) -> None:
        """Leave nothing behind that no later call can use."""
        if not self.complete and self.validator is None:
            self.discard()

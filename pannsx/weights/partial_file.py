"""An incomplete download, and the version of the file that it belongs to."""

from __future__ import annotations

from pathlib import Path


class PartialFile:
    """``<name>.part`` next to a destination.

    The server's validator (a strong ETag or a date) is kept in ``<name>.part.validator``. Without it, the
    part cannot be resumed, as further bytes might belong to another version.
    """

    def __init__(self, destination: Path) -> None:
        self.name = destination.name
        self.path = destination.with_name(destination.name + ".part")
        self.validator_path = destination.with_name(destination.name + ".part.validator")
        self.complete = False

    @property
    def size(self) -> int:
        """Number of bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str | None:
        """The value for If-Range; None: nothing to resume."""
        if not self.size or not self.validator_path.exists():
            return None
        return self.validator_path.read_text(encoding="latin-1") or None

    def start(self, validator: str | None) -> None:
        """Restart with the version of the file given by ``validator``."""
        self.discard()
        if validator is not None:
            self.validator_path.write_text(validator, encoding="latin-1")

    def discard(self) -> None:
        """Delete the part."""
        self.path.unlink(missing_ok=True)
        self.validator_path.unlink(missing_ok=True)

    def discard_unless_resumable(self) -> None:
        """Delete the part if no later call can resume it."""
        if not self.complete and self.validator is None:
            self.discard()

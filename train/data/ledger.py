"""The ledger: the state of every segment, in an append-only file of JSON lines.

The last line of an id counts.  Lines are written one after another, so that a kill damages at most the
last one; its segment is then tried again.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Literal, NamedTuple, get_args

State = Literal["have", "gone", "failed", "blocked"]
"""``gone`` permanently, ``failed`` this time, or refused because of too many requests (``blocked``)."""


class Entry(NamedTuple):
    """The state of a segment, the reason, and the number of attempts."""

    state: State
    reason: str
    attempts: int


class Ledger:
    """The states of segments by id, kept in a file.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._entries = _read(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", newline="\n")
        self._lock = threading.Lock()
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            self._file.write("\n")  # after the incomplete line of a killed run

    def __getitem__(self, segment_id: str) -> Entry | None:
        return self._entries.get(segment_id)

    def record(self, segment_id: str, state: State, reason: str = "") -> None:
        """Record the state of a segment; callable from any thread."""
        with self._lock:
            before = self._entries.get(segment_id)
            # A refusal says nothing about the segment: it does not count as an attempt.
            attempts = (before.attempts if before else 0) + (state != "blocked")
            self._entries[segment_id] = entry = Entry(state, reason, attempts)
            self._file.write(json.dumps({"id": segment_id, **entry._asdict()}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(path: Path) -> dict[str, Entry]:
    if not path.is_file():
        return {}
    entries = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                said = json.loads(line)
                entry = Entry(said["state"], said["reason"], int(said["attempts"]))
            except (ValueError, KeyError, TypeError):
                continue  # incomplete after a kill: that segment is tried again
            if entry.state in get_args(State):
                entries[str(said["id"])] = entry
    return entries

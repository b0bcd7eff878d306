"""What became of every segment: a file of JSON lines that only ever grows.

The last line of an id counts.  A line is written whole before the next begins, so that a kill costs at
most the line that was being written, and that segment is tried again.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Literal, NamedTuple, get_args

State = Literal["have", "gone", "failed", "blocked"]
"""``gone`` for good, ``failed`` this time, or refused because too much was asked for (``blocked``)."""


class Entry(NamedTuple):
    """The state of a segment, why, and how often it was tried."""

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
            self._file.write("\n")  # after the torn line of a killed run

    def __getitem__(self, segment_id: str) -> Entry | None:
        return self._entries.get(segment_id)

    def record(self, segment_id: str, state: State, reason: str = "") -> None:
        """Write down what became of a segment; from any thread."""
        with self._lock:
            before = self._entries.get(segment_id)
            # Being refused says nothing about the segment: it is no attempt.
            attempts = (before.attempts if before else 0) + (state != "blocked")
            self._entries[segment_id] = entry = Entry(state, reason, attempts)
            self._file.write(json.dumps({"id": segment_id, **entry._asdict()}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
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
                continue  # torn by a kill: that segment is tried again
            if entry.state in get_args(State):
                entries[str(said["id"])] = entry
    return entries

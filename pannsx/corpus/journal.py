"""Progress of a long command, in a file beside its output, to resume from after an interruption."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

FORMAT = "pannsx journal 1"


class JournalError(Exception):
    """A journal of a run with other settings, or another file in its place: nothing to resume from."""


@dataclass(slots=True)
class Progressed:
    """Progress of one file.

    Attributes:
        size_bytes: size of the file; if it has changed, the file is restarted.
        events: the events found so far.
        duration_s: its length once it is done, None before.
        state: the state to resume from.
    """

    size_bytes: int
    events: list[list[Any]] = field(default_factory=list)
    duration_s: float | None = None
    state: dict[str, Any] | None = None


class Journal:
    """Lines of JSON, only ever appended to; an incomplete last line is dropped.

    Args:
        path: path of the journal; the file is created with the first saved progress.
        settings: everything the results depend on, apart from the files.

    Raises:
        JournalError: the file is a journal with other settings, or not a journal.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self._settings = json.loads(json.dumps(settings))
        self._file: TextIO | None = None
        self._whole_bytes = 0
        self.files: dict[str, Progressed] = {}
        if path.exists():
            self._read()

    @property
    def is_begun(self) -> bool:
        """Whether there is progress to resume from."""
        return bool(self.files)

    def add(
        self,
        name: str,
        size_bytes: int,
        events: list[list[Any]],
        *,
        state: Mapping[str, Any] | None = None,
        duration_s: float | None = None,
    ) -> None:
        """Save the events found in a file since the last call, and the state to resume from or duration."""
        entry = {
            "file": name,
            "size_bytes": size_bytes,
            "events": events,
            "duration_s": duration_s,
            "state": None if state is None else {key: _to_json(value) for key, value in state.items()},
        }
        self._write(entry)
        self._take(json.loads(json.dumps(entry)))

    def restart(self, name: str) -> None:
        """Forget the progress of a file."""
        if self.files.pop(name, None) is not None:
            self._write({"file": name, "restarted": True})

    def remove(self) -> None:
        """Delete the journal: the command is done."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and keep it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        content = self._path.read_bytes()
        lines = content.splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        try:
            entries = [json.loads(line) for line in lines]
            first = entries[0] if entries else {"format": FORMAT, "settings": self._settings}
            if first["format"] != FORMAT:
                raise ValueError(first["format"])
            if first["settings"] != self._settings:
                differ = sorted(
                    key
                    for key in self._settings.keys() | first["settings"].keys()
                    if self._settings.get(key) != first["settings"].get(key)
                )
                raise JournalError(
                    f"{self._path} is left from a run with another {', '.join(differ)}; repeat that run to "
                    "finish it, or delete the file to restart"
                )
            for entry in entries[1:]:
                self._take(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise JournalError(
                f"{self._path} is not a journal of this command ({error!r}); move or delete that file"
            ) from error
        self._whole_bytes = sum(map(len, lines))

    def _take(self, entry: Mapping[str, Any]) -> None:
        name = entry["file"]
        if entry.get("restarted"):
            self.files.pop(name, None)
            return
        progressed = self.files.setdefault(name, Progressed(entry["size_bytes"]))
        progressed.events += entry["events"]
        progressed.duration_s = entry["duration_s"]
        state = entry["state"]
        progressed.state = None if state is None else {key: _from_json(each) for key, each in state.items()}

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            is_new = self._whole_bytes == 0
            if not is_new:
                with self._path.open("rb+") as file:
                    file.truncate(self._whole_bytes)
            self._file = self._path.open("w" if is_new else "a", encoding="utf-8", newline="\n")
            if is_new:
                self._file.write(json.dumps({"format": FORMAT, "settings": self._settings}) + "\n")
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()


def _to_json(value: Any) -> Any:
    """Arrays as compressed text: a detector's state is mostly zeros."""
    if not isinstance(value, np.ndarray):
        return value
    packed = base64.b85encode(zlib.compress(np.ascontiguousarray(value).tobytes())).decode("ascii")
    return {"dtype": value.dtype.str, "shape": value.shape, "zlib": packed}


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    unpacked = zlib.decompress(base64.b85decode(value["zlib"]))
    return np.frombuffer(unpacked, np.dtype(value["dtype"])).reshape(value["shape"]).copy()

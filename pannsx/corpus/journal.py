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

from pannsx.corpus.identity import Identity

FORMAT = "pannsx journal 2"
_FAMILY = "pannsx journal "


class JournalError(Exception):
    """A journal of a run with other settings, or another file in its place: nothing to resume from."""


@dataclass(slots=True)
class Progressed:
    """Progress of one file.

    Attributes:
        identity: the file as it was when its events were found.
        events: the events found so far.
        duration_s: its length once it is done, None before.
        state: the state to resume from.
    """

    identity: Identity
    events: list[list[Any]] = field(default_factory=list)
    duration_s: float | None = None
    state: dict[str, Any] | None = None


class Journal:
    """Lines of JSON, only ever appended to; an incomplete last line is dropped.

    A journal is kept until all files are done. Once its output is written, a run with other settings
    discards it; before, such a run is refused.

    Args:
        path: path of the journal; the file is created with the first saved progress.
        settings: everything the results depend on, apart from the files.

    Raises:
        JournalError: the file is an unfinished journal with other settings, one of another version, or not a
            journal.
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

    def progress_of(self, identity: Identity) -> tuple[Progressed | None, list[str]]:
        """The progress of a file, if any; or the differences to the file as it was, if it has changed.

        The progress of a changed file is forgotten.
        """
        progressed = self.files.get(identity.path)
        if progressed is None:
            return None, []
        differences = progressed.identity.differences(identity)
        if not differences:
            return progressed, []
        del self.files[identity.path]
        self._write({"file": identity.path, "restarted": True})
        return None, differences

    def add(
        self,
        identity: Identity,
        events: list[list[Any]],
        *,
        state: Mapping[str, Any] | None = None,
        duration_s: float | None = None,
    ) -> None:
        """Save the events found in a file since the last call, and the state to resume from or duration.

        Args:
            identity: the file before it was read.
            events: the new events.
            state: the state to resume from, of an unfinished file.
            duration_s: its length, of a finished file.
        """
        entry = {
            "file": identity.path,
            "size_bytes": identity.size_bytes,
            "mtime_ns": identity.mtime_ns,
            "sha256": identity.sha256,
            "events": events,
            "duration_s": duration_s,
            "state": None if state is None else {key: _to_json(value) for key, value in state.items()},
        }
        self._write(entry)
        self._take(json.loads(json.dumps(entry)))

    def output_written(self) -> None:
        """Note that the output holds all finished work; failed files can still be tried again."""
        if self.files:
            self._write({"output": "written"})

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
                raise self._of_another_version(first["format"])
            is_written = "output" in entries[-1] if entries else False
            if first["settings"] != self._settings:
                if is_written:
                    self._path.unlink()
                    return
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
                if "output" not in entry:
                    self._take(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise JournalError(
                f"{self._path} is not a journal of this command ({error!r}); move or delete that file"
            ) from error
        self._whole_bytes = sum(map(len, lines))

    def _of_another_version(self, form: str) -> Exception:
        if not form.startswith(_FAMILY):
            return ValueError(form)
        return JournalError(
            f"{self._path} is from another version of pannsx ({form!r}; this one writes {FORMAT!r}); finish "
            "that run with the other version, or delete the file to restart"
        )

    def _take(self, entry: Mapping[str, Any]) -> None:
        name = entry["file"]
        if entry.get("restarted"):
            self.files.pop(name, None)
            return
        identity = Identity(name, entry["size_bytes"], entry["mtime_ns"], entry["sha256"])
        progressed = self.files.setdefault(name, Progressed(identity))
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

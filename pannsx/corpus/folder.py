"""The folder of a run: its parts, their settings, and the lock of its writer.

A part is a file ``part-FIRST-N``: the results of rows ``FIRST`` to ``FIRST + N`` of the manifest. It appears
whole or not at all, so the names alone are the record of the work. ``_run.json`` has the run's fingerprint,
``_manifest.rows`` the rows, as Parquet under another extension: a pattern such as ``*.parquet`` has to name
the parts alone. Names with a leading ``_`` are left out by programs that read a folder of Parquet files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pannsx.atomic import replacing
from pannsx.corpus.lock import held, release
from pannsx.corpus.parts import PART, Parts, RunError, unwritten
from pannsx.corpus.rows import Row
from pannsx.corpus.shards import Shard
from pannsx.corpus.sinks import Part
from pannsx.corpus.snapshot import Contents, Snapshot, first_difference, read_contents, write_snapshot

if TYPE_CHECKING:
    pass

FORMAT = "pannsx corpus 1"

_RUN, _MANIFEST, _START, _FINISH = "_run.json", "_manifest.rows", "_lock-start", "_lock-finish"
_TEMPORARY = re.compile(r"_(part-(\d{12})-\d{6}|_run|_manifest)\.[\w.]+\.tmp")
_LOCK = re.compile(r"_lock-(\d+)-of-(\d+)")


class RunFolder(Parts):
    """A folder that one run, or one shard of it, writes to; a context manager, which holds its lock.

    Args:
        path: the folder; it is created.
        sink: name of the format.
        shard: the share of the rows.

    Raises:
        RunError: another run writes to it, or it cannot be written.
    """

    def __init__(self, path: Path, sink: str = "parquet", shard: Shard = Shard()) -> None:  # noqa: B008
        super().__init__(path, sink)
        self.shard = shard
        self._sink_name = sink
        self._stack = ExitStack()
        self._snapshot: Snapshot | None = None
        self._run: dict[str, Any] | None = None
        self._starting = ExitStack()
        self.damaged: list[tuple[Path, str]] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock()
        except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
            reason = getattr(error, "strerror", None) or error
            raise RunError(f"cannot write {path}: {reason}; name another folder") from error

    def begin(self, rows: Iterable[Row], again: Iterable[Row], *, resume: bool) -> int:
        """Read the rows, an earlier run in the folder, and its parts.

        Args:
            rows, again: the rows, twice; the second is read only to name a difference.
            resume: whether to continue an earlier run.

        Returns:
            the number of rows of the manifest.

        Raises:
            RunError: the folder holds a run, and ``resume`` is not set; or one with another manifest.
            ManifestError: as :func:`pannsx.corpus.manifest.rows_from`, or an id stands twice.
        """
        lock = FileLock(self.path / _START)  # shards that begin at the same time do so one after another
        self._stack.callback(self._starting.close)
        target = self.path / _MANIFEST
        try:
            lock.acquire()
            self._starting.callback(release, lock)
            self._run = self._read_run()
            if not resume:
                self._check_fresh()
            self._remove_temporary()
            if self._run is not None and self._has_rows(target):
                self._starting.close()  # nothing is left to write; the others can read at the same time
                self._contents = read_contents(rows)
                if self._run["manifest"]["sha256"] != self._contents.sha256:
                    raise RunError(self._change(self._contents, again))
            else:
                self._contents = self._write_rows(rows, again, target)
        except OSError as error:
            raise RunError(unwritten(target, error)) from error
        self._snapshot = Snapshot(target)
        return self._contents.n_rows

    def settle(self, fingerprint: Mapping[str, Any]) -> None:
        """Compare the run's settings with those of the run in the folder, or write them.

        Raises:
            RunError: they differ; the message names the difference.
        """
        now = json.loads(
            json.dumps(
                {
                    "format": FORMAT,
                    "manifest": self._contents._asdict(),
                    "table": self._sink_name,
                    "settings": fingerprint,
                }
            )
        )
        if self._run is None:
            target = self.path / _RUN
            try:
                with replacing(target, prefix="_", is_durable=True) as temporary:
                    temporary.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
            except OSError as error:
                raise RunError(unwritten(target, error)) from error
        elif differences := list(_differences(self._run, now)):
            raise RunError(
                f"{self.path} holds a run with other settings ({'; '.join(differences)}); repeat the "
                "settings to go on with it, or name another folder"
            )
        self._run = now
        self._starting.close()

    def parts(self) -> dict[tuple[int, int], Part | None]:
        """All parts by first row and number of rows, without a look into those of other shards.

        Damaged ones are set aside, see `damaged`. One that begins within another is removed: a process that
        was taken for lost has written it, and its rows are computed again if they are in no other.
        """
        found: dict[tuple[int, int], Part | None] = {}
        stop = 0
        for first, n, path in self.named():
            if not self.shard.owns(first, self._contents.n_rows):
                found[first, n] = None
                continue
            if first < stop:
                path.unlink(missing_ok=True)
                continue
            try:
                part = self._sink.look(path)
                if part.n_rows < n:
                    raise ValueError(f"it has {part.n_rows} rows, and is of {n}")
                found[first, n] = part
            except ValueError as error:
                aside = path.with_name(f"_{path.name}.damaged")
                path.replace(aside)
                self.damaged.append((aside, str(error)))
            else:
                stop = first + n
        return found

    def finish(self) -> None:
        """Make the table of the parts, if each row of the manifest is in one: the last shard does.

        What a process has left that ended while it wrote, as on a lost node, is removed.

        Raises:
            RunError: it cannot be written.
        """
        named = self.named()
        if sum(n for _, n, _ in named) != self._contents.n_rows:
            return
        self._remove_temporary(only_parts=True)
        lock = FileLock(self.path / _FINISH)
        lock.acquire()
        try:
            self._sink.finish([path for _, _, path in named])
        except (OSError, ValueError, RuntimeError) as error:
            raise RunError(f"cannot make the table of the parts in {self.path}: {error}") from error
        finally:
            release(lock)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._snapshot is not None:
            self._snapshot.close()
        self._stack.close()

    @property
    def _rows(self) -> Snapshot:
        if self._snapshot is None:
            raise RuntimeError("the run has not begun")
        return self._snapshot

    def _lock(self) -> None:
        """Hold the shard's lock; the system gives it back however the process ends."""
        own = self.path / f"_lock-{self.shard.i}-of-{self.shard.n}"
        self._stack.enter_context(held(own, self.path))
        for path in self.path.glob("_lock-*-of-*"):
            match = _LOCK.fullmatch(path.name)
            if match is None or path == own or not self.shard.meets(Shard(int(match[1]), int(match[2]))):
                continue
            with held(path, self.path):
                pass

    def _has_rows(self, target: Path) -> bool:
        """Whether an earlier run has written down its rows, and they are not damaged."""
        with suppress(ValueError):
            snapshot = Snapshot(target)
            try:
                snapshot.check()
            finally:
                snapshot.close()
            return True
        return False

    def _write_rows(self, rows: Iterable[Row], again: Iterable[Row], target: Path) -> Contents:
        with replacing(target, prefix="_", is_durable=True) as temporary:
            contents = write_snapshot(rows, temporary)
            if self._run is not None and self._run["manifest"]["sha256"] != contents.sha256:
                raise RunError(self._change(contents, again))
            return contents

    def _read_run(self) -> dict[str, Any] | None:
        path = self.path / _RUN
        try:
            content = path.read_text("utf-8")
        except FileNotFoundError:
            if any(PART.match(each.name) for each in self.path.glob("part-*")):
                raise RunError(
                    f"{self.path} holds parts of a run, but not its {_RUN}; put that back, or name another "
                    "folder"
                ) from None
            return None
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}") from error
        try:
            found = json.loads(content)
            is_run = isinstance(found, dict) and str(found["format"]).startswith("pannsx corpus ")
            if (
                not is_run
                or not isinstance(found["settings"], dict)
                or {"sha256", "n_rows"} - {*found["manifest"]}
            ):
                raise ValueError("it is no record of a run")
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} is damaged ({error}); the parts beside it are untouched: put back a copy of that "
                "file, or name another folder"
            ) from error
        return dict(found)

    def _check_fresh(self) -> None:
        """RunError if this shard has begun before."""
        if self._run is None:
            return
        has_parts = any(
            self.shard.owns(int(match[1]), self._run["manifest"]["n_rows"])
            for path in self.path.glob("part-*")
            if (match := PART.match(path.name))
        )
        if self.shard.is_whole or has_parts:
            raise RunError(
                f"{self.path} holds a run already; go on with it by resume=True, or name another folder"
            )

    def _change(self, now: Contents, again: Iterable[Row]) -> str:
        """How the manifest has changed, in words."""
        where = ""
        with suppress(ValueError, OSError):
            snapshot = Snapshot(self.path / _MANIFEST)
            try:
                where = first_difference(snapshot.rows(), again)
            finally:
                snapshot.close()
        n_before = 0 if self._run is None else self._run["manifest"].get("n_rows")
        return (
            f"the manifest has changed since the run in {self.path} began ({n_before} rows then, "
            f"{now.n_rows} now{'; ' if where else ''}{where}); give it as it was, or name another folder"
        )

    def _remove_temporary(self, *, only_parts: bool = False) -> None:
        """Remove the unfinished files of a killed run of this shard."""
        n_rows = 0 if self._run is None else self._run["manifest"]["n_rows"]
        for path in self.path.glob("_*.tmp"):
            match = _TEMPORARY.fullmatch(path.name)
            if match is None:
                continue
            if not only_parts if match[2] is None else self.shard.owns(int(match[2]), n_rows):
                path.unlink(missing_ok=True)


class RunView(Parts):
    """The folder of a run, for processes that compute its parts while another one holds its lock.

    Args:
        path: the folder.
        sink: name of the format.
    """

    def __init__(self, path: Path, sink: str) -> None:
        super().__init__(path, sink)
        self._snapshot = Snapshot(path / _MANIFEST)

    @property
    def _rows(self) -> Snapshot:
        return self._snapshot

    def settle(self, fingerprint: Mapping[str, Any]) -> None:
        """Compare the settings here with those of the run.

        Raises:
            RunError: they differ, as where a node has another version or other weights.
        """
        run = json.loads((self.path / _RUN).read_text("utf-8"))
        here = json.loads(json.dumps(fingerprint))
        if differences := list(_differences(run["settings"], here)):
            raise RunError(f"this process has other settings than the run ({'; '.join(differences)})")


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """The differences between two records, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(key), now.get(key), key)
    elif before != now:
        yield f"{name}: {_short(before)} then, {_short(now)} now"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= _MOST_SHOWN else f"{len(value)} values"
    text = "none" if value is None else str(value)
    return f"{text[:_MOST_DIGITS]}..." if re.fullmatch("[0-9a-f]{32,}", text) else text


_MOST_SHOWN, _MOST_DIGITS = 8, 12

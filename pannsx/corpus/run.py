"""The work of a run: rows are given to worker processes, and their results written as parts."""

from __future__ import annotations

import pickle
import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pannsx.corpus.folder import RunFolder, RunView
from pannsx.corpus.parts import Parts, RunError
from pannsx.corpus.pool import Message, Worker
from pannsx.corpus.schema import FAILED
from pannsx.corpus.shards import missing
from pannsx.corpus.sinks import Part
from pannsx.corpus.worker import AHEAD, Done, Ready, Refused
from pannsx.errors import printable
from pannsx.inference.cpu.cores import n_processors

if TYPE_CHECKING:
    import pyarrow as pa

_PART_ROWS, _PART_BYTES, _PART_S = 4096, 1 << 26, 60.0
"""Limits of a part, in rows, bytes and seconds of work; a killed run loses at most one part."""

_PROCESSORS_OF_WORKER = 4
_SHARES = 4  # of a worker, at least: fewer leave workers without work at the end of a small corpus
_IN_FLIGHT = AHEAD + 1
"""Batches of a worker: those that it has begun, and one that waits to be begun as soon as the first of them
is finished. One that is sent only then comes too late: nothing would be decoded while the second is computed.
"""

_MOST_TRIES = 2  # of a batch with others beside it, and then of each of its rows alone
_MOST_DEATHS = 12  # of workers without a batch done in between


class Progress(NamedTuple):
    """Progress of a run.

    Attributes:
        n_rows: rows of the manifest, or of the shard.
        n_done: finished rows, those of earlier runs included.
        n_failed: failed rows of this run.
        audio_s: seconds of audio of this run.
    """

    n_rows: int
    n_done: int
    n_failed: int
    audio_s: float


@dataclass(eq=False, slots=True)
class _Work:
    """Rows to run, by number.

    Attributes:
        rows: the rows.
        n_deaths: number of workers that ended with them.
        results: tables of its rows, by first row, if they are run one by one.
        whole: the work that this row belongs to.
    """

    rows: range | list[int]
    n_deaths: int = 0
    results: list[tuple[int, pa.Table]] = field(default_factory=list)
    whole: _Work | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether it must be alone in a worker, to tell whether it ends the worker."""
        return self.n_deaths > 0 or self.whole is not None


def shares_of(n_rows: int, n_workers: int) -> int:
    """Rows for each of some shares of a worker; at least one."""
    return max(1, -(-n_rows // (_SHARES * n_workers)))


class Run:
    """The state of a run: rows that wait, rows that workers have, results not yet written."""

    def __init__(
        self,
        folder: RunFolder | RunView,
        ranges: list[tuple[int, int]],
        workers: int | None,
        threads: int | None,
        stage: Any,
        on_progress: Callable[[Progress], None] | None,
        part_s: float = _PART_S,
    ) -> None:
        self._folder = folder
        self._part_s = part_s
        self.begin(ranges)
        self._given_workers, self._given_threads = workers, threads
        self._set_workers(workers or max(1, n_processors() // _PROCESSORS_OF_WORKER))
        self._stage = pickle.dumps(stage, protocol=pickle.HIGHEST_PROTOCOL)
        self._on_progress = on_progress
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self._again: deque[_Work] = deque()
        self._n_deaths = 0
        self._done: dict[int, tuple[int, pa.Table]] = {}
        self._held_rows = self._held_bytes = 0
        self._since = time.monotonic()

    def begin(self, ranges: list[tuple[int, int]]) -> None:
        """Begin with new rows: first row and end of each range."""
        self._ranges = ranges
        self.n_rows = sum(stop - first for first, stop in ranges)
        self.parts: dict[tuple[int, int], Part | None] = {}  # None: of another shard
        self.n_before = self.n_retried = self._n_done = self._n_failed = 0
        self.audio_s = 0.0

    def start(self) -> None:
        """Start a worker, compare its stage with the run in the folder, and list the finished parts."""
        ready = self._opened()
        if ready.is_accelerated and self._given_workers is None and self._n_workers > 1:
            self._workers.pop().kill()  # it has the threads of one among several
            self._set_workers(1)
            ready = self._opened()
        self._schema = ready.schema
        self._group_rows = ready.group_rows
        self._folder.settle(ready.description)
        if isinstance(self._folder, RunFolder):
            self.parts = self._folder.parts()
            # So that a few recordings, which may be of hours, keep all workers busy.
            self._group_rows = min(self._group_rows, shares_of(self.n_rows, self._n_workers))
        todo = sum(stop - first for first, stop in missing(self._ranges, self.parts, self._group_rows))
        self.n_before = self._n_done = self.n_rows - todo

    def _set_workers(self, n: int) -> None:
        self._n_workers = n
        self._threads = self._given_threads or max(1, n_processors() // n)

    def _opened(self) -> Ready:
        """What the first worker says."""
        worker = self._new_worker()
        self._workers.append(worker)
        while (message := self._messages.get()).worker is not worker:
            pass  # of one that was replaced
        if not isinstance(message.content, Ready):
            raise _refusal(message)
        worker.ready = message.content
        return message.content

    def fill(self) -> None:
        """Run all rows that no part has."""
        todo = (
            _Work(range(first, stop)) for first, stop in missing(self._ranges, self.parts, self._group_rows)
        )
        for work, table in self._results(todo):
            self._done[work.rows[0]] = len(work.rows), table
            self._held_rows += len(work.rows)
            self._held_bytes += table.nbytes
            is_late = time.monotonic() - self._since >= self._part_s
            if self._held_rows >= _PART_ROWS or self._held_bytes >= _PART_BYTES or is_late:
                self._write()
        self._write()

    def retry(self) -> None:
        """Run rows that failed again, part by part."""
        for (first, n), part in list(self.parts.items()):
            if part is None or not part.n_failed:
                continue
            table = self._folder.read(first, n, self._schema)
            failed = {
                name
                for name, status in zip(table["id"].to_pylist(), table["status"].to_pylist(), strict=True)
                if status == FAILED
            }
            ids = _ids(self._folder, first, n)
            rows = [first + i for i, name in enumerate(ids) if name in failed]
            self._n_done -= len(rows)
            self.n_retried += len(rows)
            groups = [rows[i : i + self._group_rows] for i in range(0, len(rows), self._group_rows)]
            found = [new for _, new in self._results(_Work(group) for group in groups)]
            whole = _merged(table, found, ids, failed)
            self._folder.write(first, n, whole)
            self.parts[first, n] = _part_of(whole)

    def close(self) -> None:
        """Write the finished rows, and end all workers."""
        is_failing = sys.exc_info()[1] is not None
        try:
            self._write()
        except RunError:
            if not is_failing:  # else the error that ended the run is reported
                raise
        finally:
            for worker in self._workers:
                worker.kill()
            self._workers = []

    def _results(self, todo: Iterator[_Work]) -> Iterator[tuple[_Work, pa.Table]]:
        """The table of each piece of work, in the order of completion."""
        waiting = iter(todo)
        next_work = next(waiting, None)
        n_open = 0
        while True:
            if next_work is not None or self._again:
                n_groups = -(-(self.n_rows - self._n_done) // self._group_rows)
                while len(self._workers) < max(1, min(self._n_workers, n_groups)):
                    self._workers.append(self._new_worker())
            for worker in self._workers:
                while worker.ready is not None and len(worker.sent) < _IN_FLIGHT:
                    if worker.sent and (self._again or worker.sent[0].is_suspect):
                        break
                    if self._again:
                        work = self._again.popleft()
                    elif next_work is not None:
                        work, next_work = next_work, next(waiting, None)
                        n_open += 1
                    else:
                        break
                    worker.send(work, self._batch(work))
            if n_open == 0 and next_work is None and not self._again:
                return
            for work, table in self._answers(self._messages.get()):
                n_open -= 1
                self._report(table, len(work.rows))
                yield work, table

    def _answers(self, message: Message) -> Iterator[tuple[_Work, pa.Table]]:
        """The work that a message completes."""
        worker, content = message
        if isinstance(content, Ready):
            worker.ready = content
        elif isinstance(content, Refused):
            worker.refusal = content
        elif isinstance(content, Done):
            self._n_deaths = 0
            yield from self._completed(worker.sent.popleft(), content.table)
        elif worker in self._workers:
            self._workers.remove(worker)
            yield from self._died(worker)

    def _completed(self, work: _Work, table: pa.Table) -> Iterator[tuple[_Work, pa.Table]]:
        if work.whole is None:
            yield work, table
            return
        whole = work.whole
        whole.results.append((work.rows[0], table))
        if len(whole.results) == len(whole.rows):
            import pyarrow as pa

            yield (
                whole,
                pa.concat_tables([each for _, each in sorted(whole.results, key=lambda pair: pair[0])]),
            )

    def _died(self, worker: Worker) -> Iterator[tuple[_Work, pa.Table]]:
        """Retry the work of a worker that ended; a row that ends a worker alone, twice, has failed."""
        if worker.refusal is not None and worker.refusal.is_opening:
            raise _refusal(Message(worker, worker.refusal))
        if worker.ready is None and self._workers:  # as where the memory is too small for so many
            self._n_workers = len(self._workers)
        reason = worker.reason()
        self._n_deaths += 1
        if self._n_deaths >= _MOST_DEATHS:
            raise RunError(
                f"{self._n_deaths} workers ended one after another, the last one because: {reason}; remove "
                "the cause, then go on with resume=True"
            )
        for work in reversed(worker.sent):
            work.n_deaths += 1
            if work.n_deaths < _MOST_TRIES:
                self._again.appendleft(work)
            elif len(work.rows) > 1:
                self._again.extendleft(_Work([row], whole=work) for row in reversed(work.rows))
            else:
                yield from self._completed(work, self._failed(work.rows[0], reason))

    def _failed(self, row: int, reason: str) -> pa.Table:
        """The row of a recording that ends its process."""
        import pyarrow as pa

        from pannsx.corpus.rows import row_of

        batch = self._folder.batch(row, 1)
        found = row_of({name: values[0] for name, values in batch.items()})
        cells: dict[str, Any] = {"id": printable(found.id), "path": found.place and printable(found.place)}
        cells["offset_s"] = found.offset_s
        cells |= {"status": FAILED, "error": reason}
        return pa.Table.from_pylist([cells], schema=self._schema)

    def _batch(self, work: _Work) -> Mapping[str, Any]:
        rows = work.rows
        if isinstance(rows, range):
            return self._folder.batch(rows[0], len(rows))
        first = rows[0]
        batch = self._folder.batch(first, rows[-1] - first + 1)
        return {name: [values[row - first] for row in rows] for name, values in batch.items()}

    def _write(self) -> None:
        """Write finished rows as parts: rows that follow each other, within stripes."""
        import pyarrow as pa

        done = sorted(self._done.items())
        self._since = time.monotonic()
        self._held_rows = self._held_bytes = 0
        while done:
            first, (n, table) = done.pop(0)
            tables, stop = [table], first + n
            end = next(end for begin, end in self._ranges if begin <= first < end)
            while done and done[0][0] == stop < end:
                _, (n, table) = done.pop(0)
                tables.append(table)
                stop += n
            whole = pa.concat_tables(tables)
            self._folder.write(first, stop - first, whole)
            self.parts[first, stop - first] = _part_of(whole)
            for row in [row for row in self._done if first <= row < stop]:
                del self._done[row]

    def _report(self, table: pa.Table, n_rows: int) -> None:
        self._n_done += n_rows
        self._n_failed += _part_of(table).n_failed
        self.audio_s += float(np.nansum(table["duration_s"].to_numpy()))
        if self._on_progress is not None:
            self._on_progress(Progress(self.n_rows, self._n_done, self._n_failed, self.audio_s))

    def _new_worker(self) -> Worker:
        return Worker(self._stage, self._threads, self._messages)


def _ids(folder: Parts, first: int, n: int) -> list[str]:
    return [printable(name) for name in folder.batch(first, n)["id"]]


def _merged(table: pa.Table, found: Iterable[pa.Table], ids: list[str], replaced: set[str]) -> pa.Table:
    """A part with the rows of some ids replaced, in the order of the manifest."""
    import pyarrow as pa

    kept = [name not in replaced for name in table["id"].to_pylist()]
    whole = pa.concat_tables([table.filter(pa.array(kept)), *found])
    places = {name: i for i, name in enumerate(ids)}
    order = sorted(range(len(whole)), key=lambda i: places[whole["id"][i].as_py()])
    return whole.take(pa.array(order, pa.int64()))


def _part_of(table: pa.Table) -> Part:
    import pyarrow.compute as pc

    return Part(len(table), pc.sum(pc.equal(table["status"], FAILED)).as_py() or 0)


def _refusal(message: Message) -> Exception:
    """The error of a worker whose stage does not open."""
    from pannsx.errors import WeightsError

    refused = message.content
    if isinstance(refused, Refused):
        kinds: dict[str, type[Exception]] = {
            "WeightsError": WeightsError, "ValueError": ValueError, "ImportError": ImportError,
        }  # fmt: skip
        return kinds.get(refused.kind, RunError)(refused.message)
    return RunError(f"a worker could not start: {message.worker.reason()}")

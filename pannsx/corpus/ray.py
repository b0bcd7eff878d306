"""The engine for a cluster: Ray Data runs a stage wherever there is room.

Two ways in. `process` maps a Ray dataset of yours, and leaves reading, writing and checkpoints to Ray Data.
`run` is ``pannsx corpus --engine ray``: it writes the folder of `pannsx.corpus.process`, with the same
guarantees. There, the driver keeps the books, and each task is a range of rows, which an actor runs as the
engine for one machine does, in a process of its own, and writes as parts under names that the range gives. So
it does not matter how often Ray runs a task again: the parts are the same. The folder has to be on a file
system that all nodes share.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pannsx.corpus.folder import RunFolder, RunView
from pannsx.corpus.local import Summary, check_pyarrow, sources_of, stage_of
from pannsx.corpus.manifest import rows_from
from pannsx.corpus.parts import RunError
from pannsx.corpus.ranges import RangeRunner
from pannsx.corpus.run import Progress, shares_of
from pannsx.corpus.shards import STRIPE_ROWS, missing
from pannsx.corpus.stage import Stage
from pannsx.types import PathLike

if TYPE_CHECKING:
    from ray.data import Dataset

ROWS_OF_TASK = 1024
"""Rows of a task, at most, which are computed again if an actor or its node is lost."""

BATCH_ROWS = 256
"""Rows of a batch of `process`: enough to group recordings by length."""


def process(
    dataset: Dataset,
    *,
    compute: Any = None,
    batch_size: int = BATCH_ROWS,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    **settings: Any,
) -> Dataset:
    """Map a Ray dataset of recordings to one of results; nothing is computed before it is consumed.

    >>> import ray
    >>> from pannsx.corpus import ray as on_ray
    >>>
    >>> found = on_ray.process(ray.data.read_parquet("manifest.parquet"), outputs=["tags"])
    >>> found.write_parquet("table")

    A recording that cannot be read is a row with its reason. For exactly one row for each recording across
    restarts, set Ray's ``CheckpointConfig`` with ``id_column="id"``, and give the dataset that column.

    Args:
        dataset: rows as :class:`pannsx.corpus.Stage` takes them.
        compute: Ray's strategy, such as ``ray.data.ActorPoolStrategy(min_size=1, max_size=8)``; None: as many
            actors as there is room for.
        batch_size: rows of a batch.
        num_cpus, num_gpus: resources of an actor; a fraction of a GPU lets several share it. None: Ray's
            default, one processor. As many threads decode: give an actor with a GPU several processors.
        settings: the arguments of :class:`pannsx.corpus.Stage`.

    Raises:
        ImportError: Ray Data, the extra ``pannsx[ray]``, is not installed.
        ValueError: as :class:`pannsx.corpus.Stage`.
    """
    data = _ray_data()
    stage = Stage(**settings)
    return dataset.map_batches(
        _StageActor,
        fn_constructor_args=(pickle.dumps(stage),),
        compute=compute or data.ActorPoolStrategy(),
        batch_size=batch_size,
        batch_format="numpy",
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )


class _StageActor:
    """A stage in an actor; its table has the schema's types, in which a column may be empty in a block."""

    def __init__(self, stage: bytes) -> None:
        self._stage: Stage = pickle.loads(stage)  # from the driver, who started this actor

    def __call__(self, batch: Mapping[str, Any]) -> Any:
        from pannsx.corpus.schema import to_table

        return to_table(self._stage(batch), self._stage.schema)


def run(
    sources: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    stage: Any = None,
    table: str = "parquet",
    resume: bool = False,
    retry_failed: bool = False,
    actors: int | None = None,
    num_cpus: float | None = None,
    num_gpus: float = 0.0,
    rows_of_task: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Summary:
    """As `pannsx.corpus.process`, on the cluster that Ray is connected to, or on this machine.

    Args:
        sources, output, stage, table, resume, retry_failed, on_progress, settings: as for
            `pannsx.corpus.process`. Sources are listed by the driver and read by the actors: both need the
            same paths.
        actors: maximum number of actors; None: as many as there is room for.
        num_cpus, num_gpus: resources of an actor; a fraction of a GPU lets several share it. As many threads
            compute and decode as it has processors. None: one, or of a node with GPUs the same share as of
            these.
        rows_of_task: rows of a task, which are computed again if its actor is lost; None: 1,024, or fewer
            where there are not as many for each actor.

    Raises:
        ImportError: Ray Data or pyarrow is not installed.
        ManifestError, RunError, ValueError, WeightsError: as `pannsx.corpus.process`.
    """
    check_pyarrow()
    if rows_of_task is not None and rows_of_task < 1:
        raise ValueError(f"rows_of_task is {rows_of_task}; at least 1 is needed")
    data = _ray_data()
    listed = sources_of(sources, table)
    stage = stage_of(stage, settings)
    begin = time.monotonic()
    skipped: Counter[str] = Counter()
    packed = pickle.dumps(stage)
    if num_cpus is None:
        num_cpus = _processors_of(num_gpus, _nodes()) if num_gpus else 1.0
    with RunFolder(Path(output).absolute(), table) as folder:
        resume = resume or retry_failed
        n_rows = folder.begin(rows_from(listed, skipped), rows_from(listed), resume=resume)
        folder.settle(_described(packed, num_cpus, num_gpus))
        if rows_of_task is None:
            processors = sum(each["Resources"].get("CPU", 0.0) for each in _nodes() if each["Alive"])
            room = actors or int(processors // (num_cpus or 1.0))
            rows_of_task = min(ROWS_OF_TASK, shares_of(n_rows, max(1, room)))
        parts = folder.parts()
        n_before = n_done = sum(n for _, n in parts)
        n_failed, n_retried, audio_s = 0, 0, 0.0
        run_ranges = partial(
            _ranges_run, data, folder, table, packed, actors=actors, num_cpus=num_cpus, num_gpus=num_gpus
        )
        while n_done < n_rows:
            before = n_done
            tasks = _tasks(missing(folder.shard.ranges(n_rows), parts, STRIPE_ROWS), rows_of_task)
            failure: Exception | None = None
            try:
                for row in run_ranges(tasks):
                    n_done += int(row["n_rows"])
                    n_failed += int(row["n_failed"])
                    audio_s += float(row["audio_s"])
                    if on_progress is not None:
                        on_progress(Progress(n_rows, n_done, n_failed, audio_s))
            except _errors_of_ray() as error:
                failure = error
            # Ray may count a task as done although its actor was lost at its end, and may give up the tasks
            # of a lost node. The parts are the record; as long as their number grows, it is worth going on.
            parts = folder.parts()
            n_done = sum(n for _, n in parts)
            if n_done <= before:
                why = "" if failure is None else f" ({_first_line(failure)})"
                left = n_rows - n_done
                raise RunError(
                    f"{left} of {n_rows} rows have no part in {output}{why}; go on with resume=True"
                ) from failure
        again = [(first, first + n) for (first, n), part in parts.items() if part and part.n_failed]
        if retry_failed and again:
            try:
                for row in run_ranges(again, are_parts=True):
                    n_retried += int(row["n_rows"])
                    audio_s += float(row["audio_s"])
            except _errors_of_ray() as error:
                raise RunError(
                    f"some rows that failed were not tried again ({_first_line(error)}); go on with "
                    "retry_failed=True"
                ) from error
            parts = folder.parts()
        folder.finish()
        return Summary(
            folder.path,
            n_rows,
            n_before,
            sum(part.n_failed for part in parts.values() if part),
            len(parts),
            audio_s,
            time.monotonic() - begin,
            tuple(folder.damaged),
            skipped,
            n_retried,
        )


def _ranges_run(
    data: Any,
    folder: RunFolder,
    table: str,
    stage: bytes,
    tasks: Sequence[tuple[int, int]],
    *,
    are_parts: bool = False,
    actors: int | None,
    num_cpus: float,
    num_gpus: float,
) -> Iterator[Mapping[str, Any]]:
    """The finished part of each range, as the ranges come; in finished parts, failed rows are tried again."""
    ranges = data.from_items(
        [{"first": first, "stop": stop, "is_part": are_parts} for first, stop in tasks],
        override_num_blocks=len(tasks),
    )
    done = ranges.map_batches(
        _RangeActor,
        fn_constructor_args=(str(folder.path), table, stage, max(1, int(num_cpus))),
        compute=data.ActorPoolStrategy(min_size=1, max_size=actors or len(tasks)),
        batch_size=1,
        batch_format="numpy",
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )
    yield from done.iter_rows()


class _RangeActor:
    """Runs ranges of rows as the engine for one machine does, and writes their parts."""

    def __init__(self, folder: str, table: str, stage: bytes, threads: int) -> None:
        self._runner = RangeRunner(RunView(Path(folder), table), pickle.loads(stage), threads)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        rows = [
            self._runner.retry(first, stop - first) if is_part else self._runner.run(first, stop)
            for first, stop, is_part in zip(
                batch["first"].tolist(), batch["stop"].tolist(), batch["is_part"], strict=True
            )
        ]
        return {name: np.array([getattr(row, name) for row in rows]) for name in rows[0]._fields}


def _described(stage: bytes, num_cpus: float, num_gpus: float) -> dict[str, Any]:
    """What a stage says of itself, on a node that has room for it."""
    import ray

    def describe() -> dict[str, Any]:
        opened: Stage = pickle.loads(stage)
        return opened.describe()

    remote = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=1)(describe)
    try:
        found: dict[str, Any] = ray.get(remote.remote())
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from error
    return found


def _tasks(ranges: Iterable[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    """Ranges of at most ``n`` rows."""
    return [(begin, min(begin + n, stop)) for first, stop in ranges for begin in range(first, stop, n)]


def _nodes() -> Sequence[Mapping[str, Any]]:
    """The nodes of the cluster that Ray is connected to."""
    import ray

    if not ray.is_initialized():
        ray.init()
    nodes: list[dict[str, Any]] = ray.nodes()
    return nodes


def _processors_of(num_gpus: float, nodes: Iterable[Mapping[str, Any]]) -> float:
    """The processors for an actor with so many GPUs, on any of the nodes that have some."""
    found = [each["Resources"] for each in nodes if each["Alive"] and each["Resources"].get("GPU")]
    shares = [num_gpus * each.get("CPU", 1.0) / each["GPU"] for each in found]
    return float(max(1, int(min(shares, default=1.0))))


def _errors_of_ray() -> tuple[type[Exception], ...]:
    import ray

    return (ray.exceptions.RayError,)


def _first_line(error: Exception) -> str:
    """The root cause of an error, in one line."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    lines = str(getattr(root, "cause", None) or root).strip().splitlines()
    return lines[-1] if lines else type(root).__name__


def _ray_data() -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise ImportError(f'the engine ray needs Ray Data: pip install "pannsx[ray]" ({error})') from error
    return ray.data

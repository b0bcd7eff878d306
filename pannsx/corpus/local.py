"""The engine for one machine: worker processes run a stage, this process writes the table."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pannsx.corpus.folder import RunFolder
from pannsx.corpus.manifest import rows_from
from pannsx.corpus.run import Progress, Run
from pannsx.corpus.shards import Shard
from pannsx.corpus.sinks import SINKS
from pannsx.types import PathLike


class Summary(NamedTuple):
    """Summary of a run.

    Attributes:
        path: the folder of the table.
        n_rows: rows of the manifest, or of the shard.
        n_before: rows finished by earlier runs.
        n_failed: rows of the table with the status ``"error"``.
        n_parts: files of the table.
        audio_s: seconds of audio of this run.
        took_s: duration of this run, in seconds.
        damaged: damaged files of the table, set aside and made again, with the reason.
        skipped: number of files passed over in folders, by reason.
        n_retried: failed rows of earlier runs that were tried again.
    """

    path: Path
    n_rows: int
    n_before: int
    n_failed: int
    n_parts: int
    audio_s: float
    took_s: float
    damaged: tuple[tuple[Path, str], ...]
    skipped: Counter[str]
    n_retried: int


def process(
    sources: PathLike | Iterable[PathLike],
    output: PathLike,
    *,
    stage: Any = None,
    table: str = "parquet",
    resume: bool = False,
    retry_failed: bool = False,
    shard: tuple[int, int] = (0, 1),
    workers: int | None = None,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Summary:
    """Run a stage over a corpus on this machine, and write a table to a folder.

    >>> from pannsx.corpus import process
    >>>
    >>> summary = process(["clips"], "clips-table", outputs=["tags", "embedding"])
    >>> print(summary.n_rows)
    2

    Every row of the corpus has its row in the table, once, however often the run is interrupted and resumed.
    A recording that cannot be read is a row with ``status`` ``"error"`` and the reason in ``error``. So is a
    recording that crashes its process, after a second try alone.

    Args:
        sources: audio files, folders, patterns, manifests (JSON lines or Parquet) and tar archives: see
            :func:`pannsx.corpus.rows_from`.
        output: the folder; its files ``part-*`` together are the table.
        stage: a :class:`pannsx.corpus.Stage`; None: one of ``settings``.
        table: format of the table: ``"parquet"``, ``"jsonl"``, ``"csv"``, or ``"lance"``: a dataset
            ``table.lance`` in the folder, once all rows are done.
        resume: continue the run in the folder. Its settings and its manifest must be the same.
        retry_failed: try failed rows again; also resumes.
        shard: ``(i, n)``: run the share ``i``, from 0, of ``n``. All shares may write to one folder at the
            same time; a later run of a share, or of the whole, fills in missing rows.
        workers: processes that each have a network; None: one on an accelerator, else one for every four
            processors.
        threads: threads of each; None: the processors divided among them.
        on_progress: called after each batch.
        settings: the arguments of :class:`pannsx.corpus.Stage`.

    Raises:
        ImportError: pyarrow, the extra ``pannsx[parquet]``, is not installed.
        ManifestError: a manifest names nothing to read, or an id is repeated.
        RunError: the folder holds another run, another run writes to it, or it cannot be written; or workers
            end again and again.
        ValueError, WeightsError: as :class:`pannsx.corpus.Stage`.
    """
    check_pyarrow()
    sources = sources_of(sources, table)
    share = Shard(*shard)
    if not 0 <= share.i < share.n:
        raise ValueError(f"shard is {share}; 0/{share.n} to {share.n - 1}/{share.n} are possible")
    stage = stage_of(stage, settings)
    if type(stage).__module__ == "__main__":
        raise ValueError(
            f"the stage {type(stage).__name__} is defined in the program that is run, where other processes "
            "cannot find it; define it in a module, and import it"
        )
    begin = time.monotonic()
    skipped: Counter[str] = Counter()
    with RunFolder(Path(output), table, share) as folder:
        n_rows = folder.begin(rows_from(sources, skipped), rows_from(sources), resume=resume or retry_failed)
        run = Run(folder, list(share.ranges(n_rows)), workers, threads, stage, on_progress)
        try:
            run.start()
            run.fill()
            if retry_failed:
                run.retry()
        finally:
            run.close()
        folder.finish()
    return Summary(
        folder.path,
        run.n_rows,
        run.n_before,
        sum(part.n_failed for part in run.parts.values() if part),
        sum(part is not None for part in run.parts.values()),
        run.audio_s,
        time.monotonic() - begin,
        tuple(folder.damaged),
        skipped,
        run.n_retried,
    )


def sources_of(sources: PathLike | Iterable[PathLike], table: str) -> Sequence[PathLike]:
    """The sources as a list.

    Raises:
        ImportError: the library of the format is not installed.
        ValueError: the format of the table is unknown.
    """
    if table not in SINKS:
        raise ValueError(f"table is {table!r}; use {', '.join(map(repr, SINKS))}")
    SINKS[table]().check()
    return [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)


def stage_of(stage: Any, settings: Mapping[str, Any]) -> Any:
    """The stage, or one of these settings.

    Raises:
        ValueError: both are given, or as :class:`pannsx.corpus.Stage`.
    """
    if stage is None:
        from pannsx.corpus.stage import Stage

        return Stage(**settings)
    if settings:
        raise ValueError(f"{', '.join(settings)}: settings are those of the stage; give one or the other")
    return stage


def check_pyarrow() -> None:
    """ImportError, with what to install, without pyarrow."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(f'a corpus needs pyarrow: pip install "pannsx[parquet]" ({error})') from error

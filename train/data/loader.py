"""Batches in the sampler's order, read ahead by worker processes or by threads.

The sampler runs ahead with the workers. Each batch contains the sampler's state after it, so that a run
resumes after the last batch used, not the last one read. Threads (:mod:`train.data.reader_threads`) read
straight into the batch; processes suit clips whose reading holds the interpreter's lock.
"""

from __future__ import annotations

import re
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.data.packed import Clips
from train.data.reader_threads import read_by_threads
from train.data.samplers import Rows, Sampler
from train.data.store import StoreError

Readers = Literal["processes", "threads"]

PREFETCH = 4
"""Batches per worker that are ready or in progress."""

GRACE_S = 60
"""Seconds a worker has from the first SIGTERM to its end."""


class LoaderError(RuntimeError):
    """Clips cannot be read: a damaged shard, a worker that died."""


class Batch(NamedTuple):
    """Some of the clips of a step.

    Attributes:
        pcm: ``(B, S)`` int16.
        rows: ``(B,)`` rows of the clips.
        frame_targets: ``(B, T', K)`` float16 of clips with known onsets, else None.
        sampler_state: state of the sampler after this step; empty without a sampler.
    """

    pcm: Tensor
    rows: Rows
    frame_targets: Tensor | None
    sampler_state: dict[str, Any]


def training_batches(
    clips: Clips,
    sampler: Sampler,
    n_clips: int,
    part: tuple[int, int],
    n_steps: int,
    *,
    workers: int,
    readers: Readers = "processes",
) -> Iterator[Batch]:
    """This rank's part of the global batch of each of the next steps.

    Args:
        clips: clips to read.
        sampler: its next ``n_clips`` rows are the global batch.
        n_clips: clips of the global batch.
        part: begin and end of this rank's part.
        n_steps: number of steps.
        workers: number of readers; 0: read in this process.
        readers: kind of readers.

    Raises:
        LoaderError: a clip cannot be read, or a worker died.
    """
    states: deque[dict[str, Any]] = deque()

    def draws() -> Iterator[Rows]:
        for _ in range(n_steps):
            rows = sampler.draw(n_clips)
            states.append(sampler.state_dict())
            yield rows[part[0] : part[1]]

    for pcm, rows, frame_targets in _read(clips, draws(), workers, readers):
        yield Batch(pcm, rows, frame_targets, states.popleft())


def ordered_batches(
    clips: Clips, begin: int, end: int, batch_size: int, *, workers: int, readers: Readers = "processes"
) -> Iterator[tuple[Tensor, Rows]]:
    """``(B, S)`` int16 and ``(B,)`` rows of clips ``begin`` to ``end``, in order."""
    parts = (np.arange(first, min(first + batch_size, end)) for first in range(begin, end, batch_size))
    for pcm, rows, _ in _read(clips, parts, workers, readers):
        yield pcm, rows


def as_waveform(pcm: Tensor) -> Tensor:
    """``(B, S)`` int16 -> float32 in [-1, 1), on the same device."""
    return pcm.to(torch.float32) / 32768.0


class _Failure(NamedTuple):
    """An error in a worker, as text: its exception class may not be picklable."""

    message: str


class _Reader(Dataset[Any]):
    """Rows -> their clips; runs in the workers."""

    def __init__(self, clips: Clips) -> None:
        self.clips = clips

    def __getitem__(self, rows: Rows) -> tuple[Tensor, Rows, Tensor | None] | _Failure:
        try:
            pcm, targets = self.clips.read_batch(rows)
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            return _Failure(f"{error}" or type(error).__name__)
        return torch.from_numpy(pcm), rows, None if targets is None else torch.from_numpy(targets)


def _read(
    clips: Clips, draws: Iterable[Rows], workers: int, readers: Readers
) -> Iterator[tuple[Tensor, Rows, Tensor | None]]:
    if readers == "threads" and workers:
        try:
            for pcm, rows in read_by_threads(clips, draws, workers):
                yield pcm, rows, None
        except (OSError, StoreError, ValueError, MemoryError) as error:
            raise LoaderError(f"a clip cannot be read: {error or type(error).__name__}") from error
        return
    loader = DataLoader(
        _Reader(clips),
        batch_size=None,
        sampler=draws,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=PREFETCH if workers else None,
        worker_init_fn=_start_worker,
        # A separate generator, so that reading does not use the global one.
        generator=torch.Generator(),
    )
    try:
        for batch in loader:
            if isinstance(batch, _Failure):
                raise LoaderError(f"a clip cannot be read: {batch.message}")
            pcm, rows, frame_targets = batch
            yield pcm, np.asarray(rows), frame_targets
    except RuntimeError as error:
        if isinstance(error, LoaderError) or not is_worker_death(error):
            raise
        raise death_of_worker(error) from error


def is_worker_death(error: RuntimeError) -> bool:
    """Whether this is torch's report of a dead worker, raised at any moment from a signal handler."""
    return str(error).startswith("DataLoader worker")


def death_of_worker(error: RuntimeError) -> LoaderError:
    """The error of a dead worker, with the remedy."""
    found = re.search(r"\(pids?(?:\(s\))? ([\d, ]+)\)", str(error))
    which = f" (process {found[1]})" if found else ""
    return LoaderError(
        f"a worker that reads clips died{which}: {str(error).splitlines()[0]}. The usual reason is "
        "a lack of memory: the system's, or that shared between processes (/dev/shm); lower data.workers"
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """Leave signals to a process group to the training process, which ends its workers itself.

    For a hanging worker it uses SIGTERM, which is therefore delayed, not ignored: the first leaves time to
    save a checkpoint, the second ends the worker at once.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)


def _end_soon(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform != "win32":
        signal.alarm(GRACE_S)

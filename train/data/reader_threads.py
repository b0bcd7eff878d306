"""Threads that read and decode clips straight into the memory of a batch.

Reading files, checksums and the decoding of raw clips and Rice codes release the interpreter's lock, so that
threads run at once. Unlike processes they need no copy of a batch from one memory to the other, no shared
memory, and one memory-mapped store. On a machine with GPUs the batches are in pinned memory, which the
driver copies to the GPU without another copy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.data.packed import Clips

Rows = NDArray[np.int64]

PREFETCH = 4
"""Batches that are ready or in progress. All threads work on the oldest first."""

LOOK_AHEAD = 64
"""Batches with rows drawn in advance, so that remote files can be fetched in time."""


def read_by_threads(clips: Clips, draws: Iterable[Rows], workers: int) -> Iterator[tuple[Tensor, Rows]]:
    """``(B, S)`` int16 and ``(B,)`` rows of each draw, in order.

    Args:
        clips: clips to read, all of ``n_samples``.
        draws: rows of the batches; drawn up to `LOOK_AHEAD` batches ahead.
        workers: number of threads, at least 1.

    Raises:
        OSError, RuntimeError, ValueError: a clip cannot be read; raised at its batch.
    """
    in_pinned_memory = torch.cuda.is_available()
    pending, drawn = iter(draws), deque[Rows]()
    begun: deque[tuple[Tensor, Rows, list[Future[None]]]] = deque()

    def begin_one() -> None:
        for rows in islice(pending, LOOK_AHEAD - len(drawn)):
            clips.will_need(rows)
            drawn.append(rows)
        if not drawn:
            return
        rows = drawn.popleft()
        pcm = torch.empty((len(rows), clips.n_samples), dtype=torch.int16, pin_memory=in_pinned_memory)
        pieces = np.array_split(np.arange(len(rows)), min(workers, max(1, len(rows))))
        begun.append((pcm, rows, [pool.submit(_fill, clips, rows, pcm.numpy(), piece) for piece in pieces]))

    pool = ThreadPoolExecutor(workers, thread_name_prefix="reader")
    try:
        for _ in range(PREFETCH):
            begin_one()
        while begun:
            pcm, rows, pieces = begun.popleft()
            for piece in pieces:
                piece.result()
            begin_one()
            yield pcm, rows
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _fill(clips: Clips, rows: Rows, pcm: NDArray[np.int16], piece: NDArray[np.intp]) -> None:
    for number in piece:
        clips.read_into(int(rows[number]), pcm[number])

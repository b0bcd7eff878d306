"""Worker processes for independent pieces of work."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

_Key = TypeVar("_Key")
_shared: Any = None


def run_all(
    work: Callable[[Any, Any], Any], pieces: Mapping[_Key, Any], shared: Any, n_workers: int
) -> Iterator[tuple[_Key, Any]]:
    """``work(shared, piece)`` of every piece, in order of completion: key, and result, OSError or ValueError.

    Args:
        work: a function at module level.
        pieces: by key; each is sent to one worker.
        shared: sent once to every worker.
        n_workers: number of processes; 0: work in this one.

    Raises:
        RuntimeError: a worker died, usually killed by the system for lack of memory.
    """
    if n_workers < 1:
        for key, piece in pieces.items():
            yield key, _attempt(work, shared, piece)
        return
    # Spawned: a fork would copy locks held by this process's threads, and is not available everywhere.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, _begin, (shared,)) as pool:
        try:
            keys = {pool.submit(_in_worker, work, piece): key for key, piece in pieces.items()}
            for done in as_completed(keys):
                yield keys[done], done.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"one of {n_workers} workers died, most likely for lack of memory; finished work is kept: "
                "run the same command again, with fewer workers"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(shared: Any) -> None:
    global _shared
    _shared = shared
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End with the parent: a killed parent cannot stop its workers, and they would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_worker(work: Callable[[Any, Any], Any], piece: Any) -> Any:
    return _attempt(work, _shared, piece)


def _attempt(work: Callable[[Any, Any], Any], shared: Any, piece: Any) -> Any:
    try:
        return work(shared, piece)
    except (OSError, ValueError) as error:
        return error

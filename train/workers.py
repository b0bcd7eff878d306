"""Worker processes for work that comes in independent pieces."""

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
    """``work(shared, piece)`` of every piece, as they are done: ``(key, result or OSError or ValueError)``.

    Args:
        work: a function of a module.
        pieces: by key; each travels to the worker that does it.
        shared: travels to every worker once.
        n_workers: processes; 0 does the work here.

    Raises:
        RuntimeError: a worker died, killed by the system as a rule, for want of memory.
    """
    if n_workers < 1:
        for key, piece in pieces.items():
            yield key, _attempt(work, shared, piece)
        return
    # Spawned: a fork would carry this process's threads' locks along, and is not to be had everywhere.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, _begin, (shared,)) as pool:
        try:
            keys = {pool.submit(_in_worker, work, piece): key for key, piece in pieces.items()}
            for done in as_completed(keys):
                yield keys[done], done.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"one of {n_workers} workers died, most likely of too little memory; what was done is kept: "
                "run the same command again, with fewer workers"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(shared: Any) -> None:
    global _shared
    _shared = shared
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent tells its workers nothing: they would wait for the next piece for ever."""
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

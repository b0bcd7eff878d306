"""The process that runs a stage: batches come in on standard input, results go out on standard output.

A process of its own, because a decoder may crash on a damaged file, and the run must survive it. It is not
started by `multiprocessing`, which would run the caller's script again. It ends with its parent, whose end
of the pipe is then closed.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
from typing import Any, BinaryIO, NamedTuple

from pannsx.corpus.schema import to_table

_STDOUT, _STDERR = 1, 2

AHEAD = 2
"""Batches in work at the same time: one is decoded while the other is computed."""


class Ready(NamedTuple):
    """The stage is open.

    Attributes:
        description: see `Stage.describe`.
        schema: of its tables.
        group_rows: rows of a batch.
        is_accelerated: whether the network is on an accelerator, which one process keeps busy.
    """

    description: dict[str, Any]
    schema: Any
    group_rows: int
    is_accelerated: bool


class Done(NamedTuple):
    """The table of a batch, the oldest that was sent."""

    table: Any


class Refused(NamedTuple):
    """The stage cannot be opened, or cannot run: the message, and the kind of its error."""

    message: str
    kind: str
    is_opening: bool


def main() -> None:
    """Run until the parent says that nothing more comes."""
    results = os.fdopen(os.dup(_STDOUT), "wb")
    os.dup2(_STDERR, _STDOUT)  # what libraries print is no result
    batches = sys.stdin.buffer
    is_open = False
    try:
        stage = pickle.load(batches)  # from the parent, who started this process
        schema = stage.schema
        is_accelerated = getattr(stage, "is_accelerated", False)
        _send(results, Ready(stage.describe(), schema, stage.group_rows, is_accelerated))
        is_open = True
        _run(stage, schema, batches, results)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        _send(results, Refused(str(error), type(error).__name__, not is_open))
        os._exit(1)


def _run(stage: Any, schema: Any, batches: BinaryIO, results: BinaryIO) -> None:
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(batches, waiting), daemon=True).start()
    begun: list[Any] = []
    is_last = False
    while True:
        while not is_last and len(begun) < AHEAD and (not begun or not waiting.empty()):
            batch = waiting.get()
            is_last = batch is None
            if not is_last:
                begun.append(stage.begin(batch))
        if not begun:
            return
        _send(results, Done(to_table(stage.finish(begun.pop(0)), schema)))


def _receive(batches: BinaryIO, waiting: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            batch = pickle.load(batches)
        except Exception:
            os._exit(1)  # the parent is gone
        waiting.put(batch)
        if batch is None:
            return


def _send(results: BinaryIO, message: Any) -> None:
    pickle.dump(message, results, protocol=pickle.HIGHEST_PROTOCOL)
    results.flush()

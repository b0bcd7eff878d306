"""The number of threads of the CPU form: torch's, where the program has torch; else the same without it."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_after_fork = False


def n_threads() -> int:
    """Torch's number of threads, if it is loaded, as its user set it.

    Without torch its default: the environment's ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS``, else one for each
    physical core that the process may use; one in a forked process, which is a worker beside others.
    """
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "get_num_threads"):  # not while another thread is still importing it
        return int(torch.get_num_threads())
    return 1 if _after_fork else _default()


@cache
def _default() -> int:
    return threads_of_environment() or _physical_cores()


def threads_of_environment() -> int | None:
    """The threads that the environment gives to this process; None: it does not say."""
    for variable in _VARIABLES:
        first = os.environ.get(variable, "").partition(",")[0].strip()  # a list is of nested levels
        if first.isdigit() and int(first) > 0:
            return int(first)
    return None


def n_processors() -> int:
    """Processors that the process may use; the two threads of a core count as two."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _physical_cores() -> int:
    """Cores that the process may use; two threads of one core count once where the system tells them."""
    if not hasattr(os, "sched_getaffinity"):
        return n_processors()
    return len({_siblings(number) for number in os.sched_getaffinity(0)})


def _siblings(number: int) -> str:
    """The processors on the core of one, as Linux lists them; itself if it does not say."""
    path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return str(number)


@cache
def one_thread_after_fork() -> None:
    """Limit forked workers to one thread: OpenMP's pool does not survive a fork and would hang."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    global _after_fork
    _after_fork = True
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)

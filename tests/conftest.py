"""For all tests: how much memory they take, and how they are shared between processes.

Networks run once or twice in a test, and half of that time went into mapping memory again; so the allocator
keeps what is freed (`train.loop.memory`). Weights of the largest layers are left out of that, since they come
in every size and leave gaps; and what is free goes back to the system after each file of tests, and after
each test that took much.

With `-n 2` of pytest-xdist a file's tests stay together, because they share its fixtures, and the files with
the largest networks and those that start processes stay together in one process, because two at once would
take too much memory. Each process then computes with its share of the processors.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from train.loop.memory import ENVIRONMENT, keep_freed_memory

_MMAP_THRESHOLD = -3  # of malloc.h
_ALWAYS_RETURNED = 2**25
"""Bytes from which on a block goes back to the system as soon as it is freed: more than most activations."""
_MUCH = 2**27
"""Bytes that tests may add before memory is given back: the largest networks have six times as much."""

os.environ.update(ENVIRONMENT)  # for the processes that tests start
if _n_processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _n_processes)))
_LIBC = ctypes.CDLL(None) if keep_freed_memory() else None
if _LIBC is not None:
    _LIBC.mallopt(_MMAP_THRESHOLD, _ALWAYS_RETURNED)
_n_left = 0
"""Bytes that were in use when memory was last given back."""


def _give_memory_back() -> None:
    global _n_left
    gc.collect()  # networks that torch.fx has traced refer to themselves
    if _LIBC is not None:
        _LIBC.malloc_trim(0)
        _n_left = _resident_bytes()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


_LARGE = {
    "test_models_golden.py": 0, "test_prepared.py": 1, "test_scoring.py": 2, "test_streaming.py": 3,
    "test_train_distributed.py": 4, "test_report_browser.py": 5,
}  # fmt: skip
"""Files whose tests take over half a gigabyte, in the order in which they run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The largest networks first, while libraries and compiled code of the others are not there yet."""
    items.sort(key=lambda item: _LARGE.get(item.path.name, len(_LARGE)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Whole files to each process, and all large ones to the same."""
    from xdist.scheduler import LoadScopeScheduling  # only here: tests run without pytest-xdist, too

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "large" if file.rpartition("/")[2] in _LARGE else file

    config.option.loadscopereorder = False  # in the order of the collection
    return ByFile(config, log)


def pytest_runtest_logfinish() -> None:
    """After each test, which by then has let go of all that it was given."""
    if _LIBC is not None and _resident_bytes() > _n_left + _MUCH:
        _give_memory_back()


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_to_the_next_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """Begins before a file's own fixtures, and so ends after they have let go of their networks."""
    yield
    for value in vars(request.module).values():
        if hasattr(value, "cache_clear") and getattr(value, "__module__", None) == request.module.__name__:
            value.cache_clear()
    if seeded_models := sys.modules.get("seeded_models"):  # not imported here: it imports torch
        seeded_models.forget_seeded_tensors()
    _give_memory_back()

"""For all tests: how much memory they take, and how they are shared between processes.

Networks run once or twice in a test, and half of that time went into mapping memory again; so the allocator
keeps what is freed (`train.loop.memory`). Weights of the largest layers are left out of that, since they come
in every size and leave gaps; and what is free goes back to the system after each file of tests, and after
each test that took much.

With `-n 2` of pytest-xdist a file's tests stay together, because they share its fixtures. The files with the
largest networks come first, in one process with all processors, while the others wait: two such networks at
once would take too much memory. After that each process computes with its share of the processors, and one of
them begins with all files of the next size.
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


_LARGE = (
    "test_train_distributed.py", "test_models_golden.py", "test_prepared.py", "test_scoring.py",
    "test_models_timing.py", "test_models_structure.py",
)  # fmt: skip
"""Files whose tests take about a gigabyte beside what the process has, in the order in which they run."""

_MIDDLE = (
    "test_models_dropout.py", "test_streaming.py", "test_train_finetune.py", "test_train_augment.py",
    "test_train_step.py", "test_report.py",
)  # fmt: skip
"""Files whose tests take over half a gigabyte."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The largest networks first, while libraries and compiled code of the others are not there yet."""
    order = {name: number for number, name in enumerate((*_LARGE, *_MIDDLE))}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Whole files to each process, in the order of the collection; the large ones before all others."""
    from by_file import ByFile  # only here: tests run without pytest-xdist, too

    config.option.loadscopereorder = False
    return ByFile(config, log, _LARGE, _MIDDLE)


@pytest.fixture(scope="module", autouse=True)
def _share_of_the_processors(request: pytest.FixtureRequest) -> Iterator[None]:
    """All processors for a large file, beside which nothing runs."""
    torch = sys.modules.get("torch")
    if not _n_processes or torch is None or request.path.name not in _LARGE:
        yield
        return
    n_threads = torch.get_num_threads()
    torch.set_num_threads(max(n_threads, os.cpu_count() or 1))
    yield
    torch.set_num_threads(n_threads)


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

"""For all tests: how much memory they take.

Networks run once or twice in a test, and half of that time went into mapping memory anew; so the allocator
keeps what is freed (`train.loop.memory`). Weights of the largest layers are left out of that, since they come
in every size and leave gaps; and what is free goes back to the system after each file of tests, and after
each test that took much.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from train.loop.memory import ENVIRONMENT, keep_freed_memory

_MMAP_THRESHOLD = -3  # of malloc.h
_ALWAYS_RETURNED = 2**25
"""Bytes from which on a block goes back to the system as soon as it is freed: more than most activations."""
_MUCH = 2**27
"""Bytes that tests may add before memory is given back: the largest networks have six times as much."""

os.environ.update(ENVIRONMENT)  # for the processes that tests start
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


_LARGEST_NETWORKS = {"test_models_golden.py", "test_docs.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The largest networks first, while libraries and compiled code of the others are not there yet."""
    items.sort(key=lambda item: item.path.name not in _LARGEST_NETWORKS)


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

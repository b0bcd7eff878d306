"""How much memory the tests' process takes, and giving it back.

Networks run once or twice in a test, and half of that time went into mapping memory again; so the allocator
keeps what is freed (`train.loop.memory`). Weights of the largest layers are left out of that, since they come
in every size and leave gaps; and what is free goes back to the system now and then. All threads allocate in
one arena, since the free end of another arena never goes back.
"""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

from train.loop.memory import keep_freed_memory

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # of malloc.h
_ALWAYS_RETURNED = 2**25
"""Bytes from which on a block goes back to the system as soon as it is freed: more than most activations."""
_MUCH = 2**26
"""Bytes that may be added before memory is given back: the largest networks have ten times as much."""

_libc: ctypes.CDLL | None = None
_n_left = 0
"""Bytes that were in use when memory was last given back."""


def keep_most_freed_memory() -> None:
    """Set up the allocator, if it is glibc's."""
    global _libc
    if keep_freed_memory():
        _libc = ctypes.CDLL(None)
        _libc.mallopt(_MMAP_THRESHOLD, _ALWAYS_RETURNED)
        _libc.mallopt(_ARENA_MAX, 1)


def give_memory_back() -> None:
    """Give all free memory back to the system."""
    global _n_left
    gc.collect()  # networks that torch.fx has traced refer to themselves
    if _libc is not None:
        _libc.malloc_trim(0)
        _n_left = _resident_bytes()


def give_much_memory_back() -> None:
    """Give it back if the process has grown by much since the last time."""
    if _libc is not None and _resident_bytes() > _n_left + _MUCH:
        give_memory_back()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")

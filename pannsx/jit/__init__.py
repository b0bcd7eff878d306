"""Compilation with Numba: vector instructions, and a cache of machine code shared by processes."""

from __future__ import annotations


def is_enabled() -> bool:
    """Whether functions are compiled; not with ``NUMBA_DISABLE_JIT=1``, as debuggers and coverage use it."""
    from numba import config

    return not getattr(config, "DISABLE_JIT", False)

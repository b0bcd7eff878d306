"""How threads share the pieces of tasks inside compiled code.

The work is a list of *tasks*, one after the other, each of some *pieces* that any thread can do in any order.
A thread takes pieces by counters, first those of its own part, then those that others have not begun, and
goes on to the next task when all are done. So threads meet at a counter and not in the interpreter, and one
that starts late delays nothing: the others do its part.

Each task has a counter of the pieces taken from each of ``n`` parts and one of the pieces done, all zero at
first.
"""

from __future__ import annotations

from numba import njit

from pannsx.jit.atomic import LINE, fetch_add, wait_for

SOURCES = ("jit/atomic.py", "inference/cpu/pieces.py")
"""What a compiled function that calls these passes to ``digest_of``, besides its own module."""


def n_counters(n_tasks: int, n: int) -> int:
    """Length of the int64 array of the counters of ``n`` threads."""
    return n_tasks * (n + 1) * LINE


@njit(forceinline=True)
def take(counters, task, me, n, n_pieces):
    """A piece that no thread has begun, first of the part of thread ``me``; -1: none is left."""
    found = -1
    i = 0
    while found < 0 and i < n:
        part = (me + i) % n
        begin, end = n_pieces * part // n, n_pieces * (part + 1) // n
        piece = begin + fetch_add(counters, (task * (n + 1) + part) * LINE, 1)
        if piece < end:
            found = piece
        i += 1
    return found


@njit(forceinline=True)
def put_down(counters, task, n):
    """Count a piece as done."""
    fetch_add(counters, (task * (n + 1) + n) * LINE, 1)


@njit(forceinline=True)
def wait_for_all(counters, task, n, n_pieces, yields):
    """Return when all pieces of the task are done; ``yields`` is the address of the system's yield."""
    wait_for(counters, (task * (n + 1) + n) * LINE, n_pieces, yields)

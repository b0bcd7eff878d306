"""Counters that threads share inside compiled code, and waiting for each other there.

Threads that meet in the interpreter wake each other through its lock and the system, which takes about 50
microseconds, as long as a small layer. Inside compiled code they meet by a number in memory.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 8
"""Numbers from one counter to the next: each has a cache line of 64 bytes for itself."""

_INT64_BYTES = 8
_ORDER = "seq_cst"
_IS_X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
_PATIENCE = 2000  # readings of a counter, some 50 microseconds, before another thread may have the processor


def _address(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


@intrinsic
def fetch_add(_typing: Any, counters: Any, index: Any, value: Any) -> Any:
    """Add ``value`` to ``counters[index]``, int64, in one step for all threads; returns what was there."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _address(context, builder, sig, args), args[2], _ORDER)

    return types.int64(counters, types.intp, types.int64), generate


@intrinsic
def read_again(_typing: Any, counters: Any, index: Any) -> Any:
    """``counters[index]``, for a loop that waits: what its writers wrote before is visible afterwards."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if _IS_X86:  # leaves the core to its other thread
            kind = ir.FunctionType(ir.VoidType(), [])
            pause = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause")
            builder.call(pause, [])
        return builder.load_atomic(_address(context, builder, sig, args), _ORDER, align=_INT64_BYTES)

    return types.int64(counters, types.intp), generate


@intrinsic
def give_way(_typing: Any, function: Any) -> Any:
    """Leave the processor to other threads that are ready; ``function`` is the address of that function."""

    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), []).as_pointer()
        builder.call(builder.inttoptr(args[0], kind), [])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@njit(forceinline=True)
def wait_for(counters, index, value, yields):
    """Wait until ``counters[index]`` is at least ``value``; ``yields`` is :func:`address_of_give_way`."""
    patience = _PATIENCE
    while read_again(counters, index) < value:
        patience -= 1
        if patience < 0:
            give_way(yields)


@cache
def address_of_give_way() -> int:
    """The address of the system's function for :func:`give_way`: machine code on disk cannot hold it."""
    library: Any
    if sys.platform == "win32":
        library = ctypes.WinDLL("kernel32")
        function = library.SwitchToThread
    else:
        library = ctypes.CDLL(None)
        function = library.sched_yield
    address = ctypes.cast(function, ctypes.c_void_p).value
    if address is None:
        raise RuntimeError("this system has no function that leaves the processor to other threads")
    return address

"""How the package compiles with Numba: without the interpreter's lock, and once for all processes.

Numba keeps machine code in files beside the module or in the user's cache folder and finds it again
by the source file of the function alone; what the function calls may stand in other files.  So
every compiled function closes over :func:`digest_of` the modules it is made of: what it closes over
is part of the key it is cached under.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakSet
from zlib import crc32

from numba import njit
from numba.core import event, runtime

PACKAGE = Path(__file__).parent.parent

rtsys: Any = getattr(runtime, "rtsys", None)  # the allocator of compiled code; not public

logger = logging.getLogger("pannsx")

_ours: WeakSet[Any] = WeakSet()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` when it is first called, or take its machine code from an earlier process.

    The first compilation of a process that finds nothing in the cache is announced, as a warning of the
    ``pannsx`` logger: it takes some seconds.
    """
    _listen()
    try:
        dispatcher = njit(nogil=True, cache=True)(function)
        _make_quick_to_load(dispatcher)
    except RuntimeError:  # Numba found no folder it may write to: neither the package's nor the user's
        dispatcher = njit(nogil=True)(function)
    _ours.add(dispatcher)
    return dispatcher


def digest_of(*files: str) -> int:
    """A number that changes with any of ``files``, paths inside the package."""
    return crc32(b"".join((PACKAGE / file).read_bytes() for file in files))


def _make_quick_to_load(dispatcher: Any) -> None:
    """Let it load machine code without preparing Numba to compile, which takes a quarter of a second.

    Before it looks into its cache, Numba fetches all that it can compile, SciPy's linear algebra among it.
    Code that is found needs only the allocator that it was linked with. These are no public parts of Numba:
    where one is missing, or nothing is found, all goes Numba's own way.
    """
    cache: Any = getattr(dispatcher, "_cache", None)
    load, find = getattr(cache, "load_overload", None), getattr(cache, "_load_overload", None)
    if load is None or find is None or rtsys is None:
        return

    def load_overload(signature: Any, context: Any) -> Any:
        try:
            rtsys.initialize(context)
            found = find(signature, context)
        except Exception:  # whatever went wrong, Numba's own way says what, or compiles
            found = None
        return load(signature, context) if found is None else found

    cache.load_overload = load_overload


class _Announcer(event.Listener):
    """Numba tells it when a function is compiled rather than found in the cache."""

    _is_said = False

    def on_start(self, event: Any) -> None:
        if not self._is_said and event.data["dispatcher"] in _ours:
            self._is_said = True
            logger.warning("pannsx compiles for this processor: some seconds, the first time only")

    def on_end(self, event: Any) -> None:
        pass


@cache
def _listen() -> None:
    event.register("numba:compile", _Announcer())  # type: ignore[no-untyped-call]

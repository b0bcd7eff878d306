"""Compilation with Numba, without the interpreter's lock and once for all processes.

Numba caches machine code in files next to the module or in the user's cache folder. It notices changes in
the function's own source file only, not in other files with functions it calls. Therefore every compiled
function closes over :func:`digest_of` its modules: closure values are part of Numba's cache key.
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

rtsys: Any = getattr(runtime, "rtsys", None)  # the allocator of compiled code; not part of Numba's public API

logger = logging.getLogger("pannsx")

_ours: WeakSet[Any] = WeakSet()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` on its first call, or load its machine code from the cache.

    The first compilation of a process, which takes some seconds, is announced as a warning of the ``pannsx``
    logger.
    """
    _listen()
    try:
        dispatcher = njit(nogil=True, cache=True)(function)
        _make_quick_to_load(dispatcher)
    except RuntimeError:  # Numba can write neither to the package's folder nor to the user's cache
        dispatcher = njit(nogil=True)(function)
    _ours.add(dispatcher)
    return dispatcher


def digest_of(*files: str) -> int:
    """A number that changes with the content of any of ``files``, paths relative to the package."""
    return crc32(b"".join((PACKAGE / file).read_bytes() for file in files))


def _make_quick_to_load(dispatcher: Any) -> None:
    """Load cached machine code without preparing Numba for compilation, which takes a quarter of a second.

    Before its cache look-up, Numba imports everything that it can compile, SciPy's linear algebra included.
    Cached code needs only the allocator that it was linked with. These parts of Numba are not public: if one
    is missing, or the cache has no entry, Numba's usual path is taken.
    """
    cache: Any = getattr(dispatcher, "_cache", None)
    load, find = getattr(cache, "load_overload", None), getattr(cache, "_load_overload", None)
    if load is None or find is None or rtsys is None:
        return

    def load_overload(signature: Any, context: Any) -> Any:
        try:
            rtsys.initialize(context)
            found = find(signature, context)
        except Exception:  # Numba's usual path compiles, or reports the error
            found = None
        return load(signature, context) if found is None else found

    cache.load_overload = load_overload


class _Announcer(event.Listener):
    """Listens for compilations; cache hits raise no such event."""

    _is_said = False

    def on_start(self, event: Any) -> None:
        if not self._is_said and event.data["dispatcher"] in _ours:
            self._is_said = True
            logger.warning("pannsx is compiling for this processor: some seconds, the first time only")

    def on_end(self, event: Any) -> None:
        pass


@cache
def _listen() -> None:
    event.register("numba:compile", _Announcer())  # type: ignore[no-untyped-call]

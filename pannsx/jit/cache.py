"""Compilation with Numba, without the interpreter's lock and once for all processes.

Numba caches machine code in the first of these folders that is writable: ``NUMBA_CACHE_DIR``,
``__pycache__`` next to the module, the user's cache folder. Where none is, as in a read-only installation
without a home, it goes to :func:`~pannsx.jit.private_folder.private_folder`.

Numba notices changes in the function's own source file only, not in other files with functions it calls.
Therefore every compiled function closes over :func:`digest_of` its modules: closure values are part of
Numba's cache key. For Numba, a compiled function among them is another one in every process, so that its
caller would be compiled each time. Here it goes into the key by its code.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock, Semaphore
from types import CellType, FunctionType
from typing import Any
from weakref import WeakSet
from zlib import crc32

from llvmlite.binding import add_symbol
from numba import njit
from numba.core import config as numba_config
from numba.core import event, runtime
from numba.core.dispatcher import Dispatcher

from pannsx.jit.private_folder import private_folder

PACKAGE = Path(__file__).parent.parent

# Address by name of the functions with which compiled code allocates; not part of Numba's public API.
allocator: Any = getattr(getattr(runtime, "_nrt_python", None), "c_helpers", None)

config: Any = numba_config  # whose names it sets as it reads the environment

logger = logging.getLogger("pannsx")

_ours: WeakSet[Any] = WeakSet()

_ONCE = "the first time only"
_ALWAYS = "in every process: no folder for machine code is writable; set NUMBA_CACHE_DIR to one that is"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` on its first call, or load its machine code from the cache.

    The first compilation of a process, which takes some seconds, is announced as a warning of the ``pannsx``
    logger.
    """
    dispatcher: Callable[..., Any] | None = _cached(function)
    if dispatcher is None:
        dispatcher = njit(nogil=True)(function)
    else:
        _make_findable(dispatcher, function)
        _make_quick_to_load(dispatcher)
    _ours.add(dispatcher)
    return dispatcher


def code_folder() -> Path | None:
    """The folder with machine code: ``PACKAGE`` for its ``__pycache__`` folders; None: no folder is writable.

    Nothing is compiled.
    """
    path = _path_of(_cached(_example))
    return None if path is None else PACKAGE if PACKAGE in path.parents else path.parent


def digest_of(*files: str) -> int:
    """A number that changes with the content of any of ``files``, paths relative to the package."""
    return crc32(b"".join((PACKAGE / file).read_bytes() for file in files))


def _example() -> None:
    pass


def _cached(function: Callable[..., Any]) -> Any:
    """Numba's dispatcher with a cache; None: no folder is writable."""
    if _is_numbas_choice_safe(function):
        try:
            return _said(njit(nogil=True, cache=True)(function))
        except RuntimeError:  # no folder of Numba's is writable
            pass
    folder = private_folder()
    if folder is None:
        return None
    with _choosing:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)  # read when a dispatcher is made, at no other time
        try:
            return _said(njit(nogil=True, cache=True)(function))
        except RuntimeError:  # the function is of no file
            return None
        finally:
            config.CACHE_DIR = before


_choosing = Lock()


def _is_numbas_choice_safe(function: Callable[..., Any]) -> bool:
    """Not for a user without a home: the cache folder would lie in the current folder, by the name ``~``.

    Numba gets that far if no folder before it is writable.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home())
    except RuntimeError:  # neither HOME nor an entry of the user's
        home = Path("~")
    if home.is_absolute():
        return True
    beside = Path(function.__code__.co_filename).parent
    return any(folder and os.access(folder, os.W_OK) for folder in (config.CACHE_DIR, beside))


def _path_of(dispatcher: Any) -> Path | None:
    """Where its machine code is kept; a plain function, with ``NUMBA_DISABLE_JIT``, has none."""
    path = getattr(getattr(dispatcher, "stats", None), "cache_path", None)
    return None if path is None else Path(path)


def _said(dispatcher: Any) -> Any:
    """The dispatcher; its folder is reported once for each process and folder."""
    if (path := _path_of(dispatcher)) is not None:
        _say_folder(PACKAGE if PACKAGE in path.parents else path.parent)
    return dispatcher


@cache
def _say_folder(folder: Path) -> None:
    logger.info("machine code is kept in %s", folder)


def _make_findable(dispatcher: Any, function: Callable[..., Any]) -> None:
    """Let a function that calls other compiled ones have the same cache key in every process.

    The key is made of the code and the pickled closure of the cache's function, which has no other use. This
    part of Numba is not public: where it is missing, the function is compiled in every process.
    """
    cache: Any = getattr(dispatcher, "_cache", None)
    closure = function.__closure__ or ()
    values = [cell.cell_contents for cell in closure]
    if getattr(cache, "_py_func", None) is not function or not any(map(_is_dispatcher, values)):
        return
    cells = tuple(CellType(_essence(value) if _is_dispatcher(value) else value) for value in values)
    cache._py_func = FunctionType(function.__code__, function.__globals__, function.__name__, None, cells)


def _is_dispatcher(value: object) -> bool:
    """Whether it is a compiled function: of `compiled`, or one that Numba puts into its callers."""
    return isinstance(value, Dispatcher)


def _essence(dispatcher: Any) -> tuple[str, bytes, tuple[Any, ...]]:
    """What the machine code of a function depends on: name, code, and closure with those of its callees."""
    function = dispatcher.py_func
    values = [cell.cell_contents for cell in function.__closure__ or ()]
    return (
        function.__qualname__,
        function.__code__.co_code,
        tuple(_essence(value) if _is_dispatcher(value) else value for value in values),
    )


def _make_quick_to_load(dispatcher: Any) -> None:
    """Load cached machine code without preparing Numba for compilation: a quarter of a second, and 20 MB.

    Before its cache look-up, Numba imports everything that it can compile, SciPy's linear algebra included,
    and compiles a few functions around its allocator. Cached code holds those that it calls, and needs only
    the allocator itself. These parts of Numba are not public: if one is missing, or the cache has no entry,
    Numba's usual path is taken.
    """
    cache: Any = getattr(dispatcher, "_cache", None)
    load, find = getattr(cache, "load_overload", None), getattr(cache, "_load_overload", None)
    if load is None or find is None or allocator is None:
        return

    def load_overload(signature: Any, context: Any) -> Any:
        try:
            _name_allocator()
            found = find(signature, context)
        except Exception:  # Numba's usual path compiles, or reports the error
            found = None
        return load(signature, context) if found is None else found

    cache.load_overload = load_overload


@cache
def _name_allocator() -> None:
    """Let machine code that is loaded find the allocator, as Numba does before it compiles."""
    for name, address in allocator.items():
        add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class _Announcer(event.Listener):
    """Listens for compilations; cache hits raise no such event."""

    def __init__(self) -> None:
        self._unsaid = Semaphore()

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] in _ours and self._unsaid.acquire(blocking=False):
            is_kept = _path_of(event.data["dispatcher"]) is not None
            logger.warning(
                "pannsx is compiling for this processor: some seconds, %s", _ONCE if is_kept else _ALWAYS
            )

    def on_end(self, event: Any) -> None:
        pass


_announcer = _Announcer()
event.register("numba:compile", _announcer)  # type: ignore[no-untyped-call]

"""How the package compiles with Numba: without the interpreter's lock, and once for all processes.

Numba keeps machine code in files beside the module or in the user's cache folder and finds it again
by the source file of the function alone; what the function calls may stand in other files.  So
every compiled function closes over :func:`digest_of` the modules it is made of: what it closes over
is part of the key it is cached under.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

from numba import njit

PACKAGE = Path(__file__).parent


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` when it is first called, or take its machine code from an earlier process."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # Numba found no folder it may write to: neither the package's nor the user's
        return njit(nogil=True)(function)


def digest_of(*files: str) -> int:
    """A number that changes with any of ``files``, paths inside the package."""
    return crc32(b"".join((PACKAGE / file).read_bytes() for file in files))

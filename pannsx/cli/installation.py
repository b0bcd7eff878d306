"""Facts about the installation, for ``pannsx info``: versions, processors, folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import metadata

from pannsx.version import __version__
from pannsx.weights.local import PACKAGE, cache_home

_LIBRARIES = ("torch", "numpy", "numba", "soundfile", "av")


def installation() -> dict[str, str | int | None]:
    """Facts by their keys in JSON; None: missing or not used."""
    return {
        "pannsx": __version__,
        "folder": str(PACKAGE),
        "python": sys.version.split()[0] + ("t" if _is_free_threaded() else ""),
        **{name: _version_of(name) for name in _LIBRARIES},
        "processors": os.cpu_count(),
        "downloads": str(cache_home()),
        "machine_code": _code_folder(),
    }


def installation_facts() -> Iterator[tuple[str, str]]:
    """The same as key and text, in reading order."""
    facts = installation()
    yield "pannsx", f"{facts['pannsx']} in {facts['folder']}"
    yield "python", f"{facts['python']} ({sys.executable})"
    for name in _LIBRARIES:
        yield name, str(facts[name] or "not installed")
    yield "processors", str(facts["processors"] or "unknown")
    yield "downloads", str(facts["downloads"])
    code = facts["machine_code"]
    if code is None:
        code = (
            "not kept, compiled in every process: no folder is writable; set NUMBA_CACHE_DIR to one that is"
            if _is_compiled()
            else "none: NUMBA_DISABLE_JIT is set"
        )
    elif code == facts["folder"]:
        code = f"{code}, in its __pycache__ folders"
    yield "machine code", str(code)


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_free_threaded() -> bool:
    return not getattr(sys, "_is_gil_enabled", lambda: True)()


def _is_compiled() -> bool:
    from pannsx.jit import is_enabled

    return is_enabled()


def _code_folder() -> str | None:
    if not _is_compiled():
        return None
    from pannsx.jit.cache import code_folder

    folder = code_folder()
    return None if folder is None else str(folder)

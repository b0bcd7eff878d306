"""Compiled code: announced when that takes time, silent when it is found, uncached where it must be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from llvmlite.binding import get_host_cpu_name

from pannsx.jit.cache import compiled, digest_of

ROOT = Path(__file__).resolve().parent.parent


def run(folder: Path, module: str, **more: str) -> str:
    """What a fresh process writes to standard error; machine code is kept in ``folder``."""
    environment = {
        **os.environ,
        **more,
        "NUMBA_CACHE_DIR": str(folder / "cache"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
    }
    program = f"import {module}; assert {module}.twice(21) == 42; assert {module}.thrice(14) == 42"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stderr


def test_compiling_is_announced_once_and_not_when_the_code_is_found(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(
        "from pannsx.jit.cache import compiled\n\n"
        "@compiled\ndef twice(x):\n    return x + x\n\n"
        "@compiled\ndef thrice(x):\n    return x + x + x\n"
    )
    assert (
        run(tmp_path, "kernels")
        == "pannsx is compiling for this processor: some seconds, the first time only\n"
    )
    assert run(tmp_path, "kernels") == ""


def test_code_compiled_for_another_processor_is_not_taken(tmp_path: Path) -> None:
    """A cache folder may be shared between machines; code of one may hold instructions the other lacks."""
    (tmp_path / "kernels.py").write_text(KERNELS)
    said = [
        run(tmp_path, "kernels", NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="")
        for name in ("generic", get_host_cpu_name(), "generic")
    ]
    assert [text.startswith("pannsx is compiling") for text in said] == [True, True, False]


def test_other_peoples_functions_are_not_announced(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(
        "import numba\nfrom pannsx.jit.cache import compiled\n\n"
        "compiled(lambda x: x)\n\n"
        "@numba.njit\ndef twice(x):\n    return x + x\n\n"
        "@numba.njit\ndef thrice(x):\n    return x + x + x\n"
    )
    assert run(tmp_path, "kernels") == ""


def test_without_a_folder_to_keep_it_in_it_is_compiled_all_the_same() -> None:
    """As in a read-only installation without a home: Numba finds no place for a function of no file."""
    namespace: dict[str, object] = {}
    exec("def twice(x):\n    return x + x\n", namespace)
    assert compiled(namespace["twice"])(21) == 42  # type: ignore[arg-type]


def test_the_digest_follows_the_files() -> None:
    assert digest_of("jit/simd.py") == digest_of("jit/simd.py")
    assert digest_of("jit/simd.py") != digest_of("jit/simd.py", "jit/cache.py")


KERNELS = """
import sys
import numpy as np
from pannsx.jit.cache import compiled

@compiled
def twice(x):
    room = np.zeros(3)
    for i in range(3):
        room[i] = np.sin(x) ** 2 + np.cos(x) ** 2
    return x + x + round(room.sum()) - 3

@compiled
def thrice(x):
    if x < 0:
        raise ValueError("below zero")
    return x + x + x
"""
REPORTED = """
import atexit
atexit.register(lambda: print("numba.misc.cffiimpl" in sys.modules, file=sys.stderr))
"""


def test_code_that_is_found_is_loaded_without_preparing_to_compile(tmp_path: Path) -> None:
    """It allocates, calls functions of the C library, and may raise: all that compiled code links with."""
    (tmp_path / "kernels.py").write_text(KERNELS + REPORTED)
    assert run(tmp_path, "kernels").endswith("True\n")
    assert run(tmp_path, "kernels") == "False\n"
    (tmp_path / "raising.py").write_text(
        "from kernels import thrice, twice\n"
        "try:\n    thrice(-1)\nexcept ValueError as error:\n    assert str(error) == 'below zero'\n"
        "assert twice(0.5) == 1.0  # of another type: this is compiled\n"
    )
    assert run(tmp_path, "raising").endswith("True\n")


def test_where_numba_has_no_such_parts_it_loads_in_its_own_way(tmp_path: Path) -> None:
    """The allocator has no such method."""
    changed = "import pannsx.jit.cache\npannsx.jit.cache.rtsys = object()\n"
    (tmp_path / "kernels.py").write_text(changed + KERNELS + REPORTED)
    assert run(tmp_path, "kernels").startswith("pannsx is compiling")
    assert run(tmp_path, "kernels") == "True\n"  # found, and all was prepared

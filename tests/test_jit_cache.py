"""Compiled code: announced when that takes time, silent when it is found, uncached where it must be."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
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


def test_code_that_calls_other_compiled_code_is_found_again(tmp_path: Path) -> None:
    """The two differ in nothing but a number that what they call closes over, like a digest of its source."""
    (tmp_path / "kernels.py").write_text(
        "from pannsx.jit.cache import compiled\n\n"
        "def made(times):\n"
        "    inner = compiled(lambda x: x * times)\n"
        "    return compiled(lambda x: inner(x))\n\n"
        "twice, thrice = made(2), made(3)\n"
    )
    assert run(tmp_path, "kernels").startswith("pannsx is compiling")
    assert run(tmp_path, "kernels") == ""


def test_code_that_closes_over_a_function_of_numba_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(
        "from numba import njit\nfrom pannsx.jit.cache import compiled\n\n"
        "@njit(forceinline=True)\ndef double(x):\n    return x + x\n\n"
        "@njit(forceinline=True)\ndef triple(x):\n    return x + x + x\n\n"
        "def made(put):\n"
        "    return compiled(lambda x: put(x))\n\n"
        "twice, thrice = made(double), made(triple)\n"
    )
    assert run(tmp_path, "kernels").startswith("pannsx is compiling")
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


def run_without_home(folder: Path, before: str = "") -> str:
    """What a process writes that can keep machine code neither beside the module nor in the user's folder.

    A file in the place of a folder keeps even the superuser from writing there.
    """
    (folder / "kernels.py").write_text(before + KERNELS)
    for name in ("__pycache__", "home"):
        (folder / name).touch()
    (folder / "temporary").mkdir(exist_ok=True)
    removed = {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME"}
    environment = {
        **{key: value for key, value in os.environ.items() if key not in removed},
        "HOME": str(folder / "home"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "TMPDIR": str(folder / "temporary"),
    }
    program = (
        "import logging; logging.basicConfig(level='INFO', format='%(message)s')\n"
        "import kernels; assert kernels.twice(21) == 42; assert kernels.thrice(14) == 42"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no such folder")
def test_a_read_only_installation_without_a_home_keeps_it_in_a_private_folder(tmp_path: Path) -> None:
    own = Path(os.path.realpath(tmp_path)) / "temporary" / f"pannsx-{os.getuid()}"
    where = f"machine code is kept in {own}\n"
    once = "pannsx is compiling for this processor: some seconds, the first time only\n"
    assert run_without_home(tmp_path) == where + once
    assert list(own.rglob("*.nbi"))
    assert run_without_home(tmp_path) == where


def test_where_no_folder_is_writable_the_true_cost_is_said(tmp_path: Path) -> None:
    before = "import pannsx.jit.cache\npannsx.jit.cache.private_folder = lambda: None\n"
    for _ in range(2):
        assert run_without_home(tmp_path, before) == (
            "pannsx is compiling for this processor: some seconds, in every process: no folder for machine "
            "code is writable; set NUMBA_CACHE_DIR to one that is\n"
        )


def test_a_user_without_a_home_gets_no_folder_of_the_name_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``~`` stays as it is, and would be a folder in the current one, which may be anybody's."""
    (tmp_path / "__pycache__").touch()
    (tmp_path / "module.py").write_text("def twice(x):\n    return x + x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("pannsx.jit.cache.private_folder", lambda: tmp_path / "private")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    dispatcher = compiled(importlib.import_module("module").twice)
    assert Path(dispatcher.stats.cache_path).parent == tmp_path / "private"  # type: ignore[attr-defined]
    assert not (tmp_path / "~").exists()
    assert numba.config.CACHE_DIR == ""


def test_a_function_of_no_file_is_compiled_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
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
from numba.core.runtime import rtsys
atexit.register(lambda: print("numba.misc.cffiimpl" in sys.modules or rtsys._init, file=sys.stderr))
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
    """The functions of the allocator are not where they were."""
    changed = "import pannsx.jit.cache\npannsx.jit.cache.allocator = object()\n"
    (tmp_path / "kernels.py").write_text(changed + KERNELS + REPORTED)
    assert run(tmp_path, "kernels").startswith("pannsx is compiling")
    assert run(tmp_path, "kernels") == "True\n"  # found, and all was prepared

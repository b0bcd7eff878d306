"""For all tests: how much memory they take, and how they are shared between processes.

The allocator keeps most of what is freed (`memory`), and gives it back after each file of tests, and after
each test that took much.

With `-n 2` of pytest-xdist a file's tests stay together, because they share its fixtures. All files that take
much memory are run by one process, so that no two of them are there at once. Each process computes with its
share of the processors. Before all that, the package's kernels are compiled in two processes of their own,
since a process that has compiled keeps the compiler's memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from compile_all import PARTS
from memory import give_memory_back, give_much_memory_back, keep_most_freed_memory

from train.loop.memory import ENVIRONMENT

_ROOT = Path(__file__).resolve().parent.parent

os.environ.update(ENVIRONMENT)  # for the processes that tests start
if _n_processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _n_processes)))
keep_most_freed_memory()

_LARGE = (
    "test_models_golden.py", "test_train_distributed.py", "test_report_browser.py", "test_scoring.py",
    "test_prepared.py", "test_benchmark_gpu.py", "test_train_step.py", "test_report.py",
)  # fmt: skip
"""Files that take over half a gigabyte beside what the process has, or start a browser or processes that do,
in the order in which they run: the most memory first, while the other process has little."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the kernels, if this process is about to start others and sources have changed."""
    config = session.config
    if not getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
        return
    sources = sorted((_ROOT / "pannsx").rglob("*.py"))
    target = f"{sys.version} {os.environ.get('NUMBA_CPU_NAME')}"
    digest = sha256(target.encode() + b"".join(map(Path.read_bytes, sources))).hexdigest()
    if config.cache is None or config.cache.get("pannsx/compiled", None) != digest:
        program = _ROOT / "tests" / "support" / "compile_all.py"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (_ROOT, *sys.path)))}
        programs = [
            subprocess.Popen([sys.executable, program, part], cwd=_ROOT, env=environment) for part in PARTS
        ]
        codes = [each.wait() for each in programs]
        if any(codes):
            config.get_terminal_writer().line("compile_all.py failed: the tests' processes compile, too")
        elif config.cache is not None:
            config.cache.set("pannsx/compiled", digest)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The largest first, while libraries and compiled code of the others are not there yet."""
    order = {name: number for number, name in enumerate(_LARGE)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Whole files to each process, in the order of the collection; all large ones to one process."""
    from xdist.scheduler import LoadScopeScheduling  # only here: tests run without pytest-xdist, too

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "large" if file.rpartition("/")[2] in _LARGE else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_runtest_logfinish() -> None:
    """After each test, which by then has let go of all that it was given."""
    give_much_memory_back()


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_to_the_next_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """Begins before a file's own fixtures, and so ends after they have let go of their networks."""
    yield
    for value in vars(request.module).values():
        if hasattr(value, "cache_clear") and getattr(value, "__module__", None) == request.module.__name__:
            value.cache_clear()
    # Not imported here: they import torch or take their time.
    if seeded_models := sys.modules.get("seeded_models"):
        seeded_models.forget_seeded_tensors()
    if resample := sys.modules.get("pannsx.audio.resample"):
        resample._converter.cache_clear()  # up to 64 MB for each pair of rates
    give_memory_back()

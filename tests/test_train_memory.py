"""Freed memory stays with the process that asked for it, and so is not mapped again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from train.loop.memory import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
# 64 MB asked for, written and freed, five times; the first time maps its pages anyway.
PROGRAM = """
import resource
import numpy as np
from train.loop.memory import keep_freed_memory

{call}
np.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str, environment: dict[str, str]) -> int:
    plain = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    # Huge pages, where NumPy asks for them, would hide what is counted.
    given = {**plain, "NUMPY_MADVISE_HUGEPAGE": "0", **environment}
    program = PROGRAM.format(call=call)
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=given, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told so")
def test_freed_memory_is_kept() -> None:
    without = faults("", {})
    assert without > 1000
    assert faults("assert keep_freed_memory()", {}) < without / 20
    assert faults("", ENVIRONMENT) < without / 20

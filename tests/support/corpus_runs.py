"""Runs over a small corpus: fixtures for manifest and folder, a run in a process of its own, its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpus_stages import write_manifest

N_ROWS = 40
"""Rows of the manifest."""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "manifest.jsonl", N_ROWS)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def start(manifest: Path, out: Path, **options: Any) -> subprocess.Popen[str]:
    """``corpus_program.py``, started."""
    program = Path(__file__).parent / "corpus_program.py"
    return subprocess.Popen(
        [sys.executable, str(program), str(manifest), str(out), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def table_of(out: Path) -> Any:
    """The table as a reader of folders sees it, in the order of the manifest."""
    import pyarrow as pa
    import pyarrow.dataset

    table = pyarrow.dataset.dataset(out).to_table()
    order = sorted(range(len(table)), key=lambda i: int(table["id"][i].as_py()[1:]))
    return table.take(pa.array(order, pa.int64()))


def is_whole(out: Path, n: int = N_ROWS) -> bool:
    """Every row once, and nothing but the run in the folder."""
    names = sorted(path.name for path in out.iterdir())
    assert [name for name in names if not name.startswith("part-")] == ["_manifest.rows", "_run.json"]
    return table_of(out)["id"].to_pylist() == [f"r{i}" for i in range(n)]

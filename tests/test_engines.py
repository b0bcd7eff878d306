"""Shares of a corpus as the how-to gives them to SLURM and torchrun: its scripts, run one after another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_files import write_wav
from docs_pages import ROOT, file_of

pytest.importorskip("pyarrow")

pytestmark = pytest.mark.slow  # test_corpus_local tests shares in processes that start faster

PAGE = ROOT / "docs" / "how-to" / "engines.md"
N_ROWS = 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = write_wav(tmp_path / "short.wav", 0.1)
    lines = [json.dumps({"id": str(i), "audio_filepath": path}) + "\n" for i in range(N_ROWS)]
    (tmp_path / "manifest.jsonl").write_text("".join(lines), "utf-8")
    return tmp_path


def run(folder: Path, *command: str, **variables: str) -> None:
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": path, **variables}
    subprocess.run(command, cwd=folder, env=environment, check=True)


def ids(table: Path) -> list[str]:
    import pyarrow.dataset  # here: with it comes pandas

    return sorted(pyarrow.dataset.dataset(table).to_table(["id"])["id"].to_pylist(), key=int)


@pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="a script for bash")
def test_an_array_of_slurm(folder: Path) -> None:
    """Job 2 is lost; a run without a share does its part."""
    script = file_of(PAGE, "corpus.sbatch")
    (folder / "corpus.sbatch").write_text(script, "utf-8")
    program = folder / "pannsx"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pannsx "$@"\n', "utf-8")
    program.chmod(0o755)
    assert "--array=0-3" in script
    for job in (3, 0, 1):
        run(folder, "bash", "corpus.sbatch", SLURM_ARRAY_TASK_ID=str(job), SLURM_ARRAY_TASK_COUNT="1")
    assert len(ids(folder / "array-table")) == N_ROWS - N_ROWS // 4
    run(folder, "pannsx", "corpus", "manifest.jsonl", "-o", "array-table", "--resume", "--quiet")
    assert ids(folder / "array-table") == [str(i) for i in range(N_ROWS)]


def test_ranks_of_torchrun(folder: Path) -> None:
    (folder / "ranks.py").write_text(file_of(PAGE, "ranks.py"), "utf-8")
    for rank in ("1", "0"):
        run(folder, sys.executable, "ranks.py", RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2")
    assert ids(folder / "ranks-table") == [str(i) for i in range(N_ROWS)]

"""DuckDB reads the table of a corpus: the how-to page runs, which without it is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_pages import ROOT, run_page
from docs_shell import Shell
from docs_stand_ins import make_files
from parties import party

party("duckdb", "doors")


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_page(ROOT / "docs" / "how-to" / "large-corpora.md", Shell(monkeypatch))

"""Fixtures for tests of runs over a corpus: a manifest for a stub stage, and the folder of the table."""

from __future__ import annotations

from pathlib import Path

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

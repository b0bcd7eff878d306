"""Pages of the documentation that need a party and data sets: on made-up sounds, and on the real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from docs_data_sets import make_esc10, make_ravdess
from docs_pages import PAGES, data_of, name_of, needs, run_page
from docs_shell import Shell
from parties import party

TEST_DATA = Path(os.environ.get("PANNSX_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
MAKERS = {"esc10": make_esc10, "ravdess": make_ravdess}
EXTRAS = {"sklearn": "sklearn", "pandas": "pandas", "pyarrow": "parquet"}

pages_with_data = pytest.mark.parametrize("page", [page for page in PAGES if data_of(page)], ids=name_of)


@pages_with_data
def test_blocks_run_on_made_up_sounds(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in needs(page):
        party(package, EXTRAS[package])
    for name in data_of(page):
        MAKERS[name](tmp_path)
    monkeypatch.chdir(tmp_path)
    run_page(page, Shell(monkeypatch), compares=False)


@pytest.mark.slow
@pages_with_data
def test_blocks_print_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in needs(page):
        party(package, EXTRAS[package])
    for name in data_of(page):
        if not (TEST_DATA / name).is_dir():
            pytest.skip(f"{TEST_DATA / name} is not there")
        MAKERS[name](tmp_path, (TEST_DATA / name).absolute())
    monkeypatch.chdir(tmp_path)
    run_page(page, Shell(monkeypatch))

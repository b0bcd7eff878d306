"""The documentation is true: blocks run and print what it says, links lead somewhere, names exist."""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from docs_pages import (
    LANGUAGES,
    OUTSIDE_DOCS,
    PAGES,
    ROOT,
    blocks_of,
    data_of,
    name_of,
    needs,
    run_page,
    same_text,
    without_blocks,
)
from docs_shell import Shell
from docs_stand_ins import make_files, manifest_at, narrow_networks, published_weights, put_weights

import pannsx
from pannsx.frontend.settings import FrontEnd
from pannsx.weights.record import BundledSource, Example, HubSource, Scores, UrlSource
from pannsx.weights.record_json import ALL_KEYS

DOCS = ROOT / "docs"
API = sorted((DOCS / "reference" / "api").glob("*.md"))
GENERATED = (
    "explanation/architecture.md", "reference/api.md", "reference/cli.md", "reference/models.md",
    "reference/recipes.md", *(page.relative_to(DOCS).as_posix() for page in API),
)  # fmt: skip
PUBLISHED = re.compile(r"\bCnn1[04](_16k)?\b")

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture(scope="module")
def weights() -> Iterator[Path]:
    """A folder with published weights and the manifest that says where to fetch them."""
    with tempfile.TemporaryDirectory() as name:
        make_files(Path(name))
        with published_weights(Path(name)):
            yield Path(name)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A reader's folder, to be the current one; caches and home are the reader's own, too."""
    # Not tmp_path, which keeps what it holds: some pages fetch hundreds of megabytes.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "reader"
        home = Path(name) / "home"
        folder.mkdir()
        make_files(folder)
        for variable in ("HOME", "USERPROFILE"):
            monkeypatch.setenv(variable, str(home))
        monkeypatch.setenv("PANNSX_HOME", str(home / "pannsx"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)  # a page's module can be imported, as by an interpreter there
        before = set(sys.modules)
        yield folder
        for module in set(sys.modules) - before:
            if Path(getattr(sys.modules[module], "__file__", None) or "").parent == folder:
                vars(sys.modules.pop(module)).clear()  # whoever keeps a function keeps its module's networks
        monkeypatch.undo()  # leaves the folder, which Windows would not remove else


@pytest.mark.parametrize(
    # Every command of the reference: most of them run on other pages and in test_cli_*.py, too.
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow) if name_of(page) == "docs/reference/cli.md" else page
        for page in PAGES
    ],
    ids=name_of,
)
def test_blocks_run(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for package in needs(page):
        pytest.importorskip(package, reason=f"the page needs {package}")
    if data_of(page):
        pytest.skip("tests/test_door_docs.py makes the page's data sets")
    shell = Shell(monkeypatch)
    if not any(PUBLISHED.search(block.text) for block in blocks_of(page)):
        run_page(page, shell)
        return
    weights: Path = request.getfixturevalue("weights")
    put_weights(weights, folder, Path.home())
    with manifest_at(weights / "manifest.json"), narrow_networks():
        run_page(page, shell)


@every_page
def test_blocks_are_of_known_languages(page: Path) -> None:
    blocks = list(blocks_of(page))
    assert {block.language for block in blocks} <= LANGUAGES
    if any(block.language == "py" for block in blocks):
        assert page in API, "only signatures are not run, and they stand in the API's pages"


def test_changed_output_is_seen() -> None:
    assert same_text("0.914  ████  Siren\n", "0.913 ███ Siren")
    assert not same_text("0.914  Siren", "0.814  Siren")
    assert not same_text("0.914  Siren", "0.914  Rain")
    assert not same_text("0.914  Siren", "0.914  Siren\n0.861  Rain")
    assert not same_text("38 of 40", "37 of 40")


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_up_to_date(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    build_docs = importlib.import_module("build_docs")
    committed = (DOCS / name).read_text("utf-8")
    assert committed == generated(build_docs)[name], "run `python tools/build_docs.py`"


def test_no_generated_page_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    assert generated(importlib.import_module("build_docs")).keys() == set(GENERATED)


@cache
def generated(build_docs: object) -> dict[str, str]:
    pages: dict[str, str] = build_docs.pages()  # type: ignore[attr-defined]
    return pages


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", without_blocks(page), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        n_before = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other) is not None for other in found)
        found.add(f"{slug}-{n_before}" if n_before else slug)
    return found


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Every relative link of a page: the file it leads to and the anchor in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
        if not re.match(r"https?://", target):
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        assert path.exists(), path
        assert not anchor or anchor in slugs(path), f"{path.name} has no heading #{anchor}"


def test_every_page_is_reached_from_the_index() -> None:
    reached: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page.suffix == ".md" and DOCS in page.parents and page not in reached:
            reached.add(page)
            waiting += [path for path, _ in links(page)]
    assert reached == set(PAGES) - set(OUTSIDE_DOCS)


def test_paths_in_the_text_of_contributing_exist() -> None:
    text = without_blocks(ROOT / "CONTRIBUTING.md")
    paths = re.findall(r"`((?:pannsx|train|tests|tools|docs|benchmarks|\.ci|\.github)/[\w./]*)`", text)
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / path.replace("NAME", "Cnn14")).exists()]


def test_file_map_names_every_file_and_folder_at_the_top() -> None:
    _, _, file_map = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## File map")
    named = {path.partition("/")[0] for path in re.findall(r"`([\w./]+)`", file_map)}
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = re.search(r"^only-include = \[(.*?)\]", project, re.M | re.S)
    assert listed is not None
    assert {*re.findall(r'"(.+?)"', listed[1]), "pyproject.toml"} <= named


@every_page
def test_names_in_the_text_exist(page: Path) -> None:
    for name in re.findall(r"`(pannsx(?:\.[A-Za-z_]\w*)+)", without_blocks(page)):
        parts = name.split(".")
        found: object = pannsx
        for depth, part in enumerate(parts[1:], start=2):
            if not hasattr(found, part):
                importlib.import_module(".".join(parts[:depth]))
            found = getattr(found, part)


@every_page
def test_options_in_the_text_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    parsers = importlib.import_module("docs_cli").subparsers().values()
    known = {option for parser in parsers for option in parser._option_string_actions} | {"--version"}
    for step in [*(ROOT / "train").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        known |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', step.read_text("utf-8")))
    known |= {"--nproc-per-node", "--dependency"}  # of torchrun, of sbatch
    for code in re.findall(r"`([^`]+)`", without_blocks(page)):
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code)) <= known, code


def test_everything_public_is_in_the_api() -> None:
    headings = {name for page in API for name in re.findall(r"^##+ (\S+)$", page.read_text("utf-8"), re.M)}
    assert set(pannsx.__all__) - {"__version__"} <= headings
    for facade in (pannsx.AudioTagger, pannsx.FeatureExtractor):
        members = {f"{facade.__name__}.{name}" for name in vars(facade) if not name.startswith("_")}
        assert members <= headings


def test_every_key_of_the_manifest_is_described() -> None:
    page = (DOCS / "reference" / "manifest.md").read_text("utf-8")
    keys = ALL_KEYS | {"format", "about", "checkpoints", "type"}
    for kind in (FrontEnd, HubSource, UrlSource, BundledSource, Scores, Example):
        keys |= {field.name for field in fields(kind)}
    undescribed = {key for key in keys if f"`{key}`" not in page}
    assert not undescribed

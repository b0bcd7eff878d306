"""MkDocs' hook for the documentation site: navigation from ``docs/index.md``, copies of linked files.

The Markdown below ``docs`` is written to be read in the repository. It links to files outside ``docs``, which
a site of ``docs`` alone does not have. So the site also holds the linked files: Markdown as pages below
``project/``, any other file as text below ``source/``. A link to a folder becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import File, Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
INDEX = "docs/index.md"
API = "docs/reference/api.md"
ALSO = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")  # pages of the site, linked or not

_FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
_LINK = re.compile(r"(!?)\[((?:[^\]\[]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_SECTION = re.compile(r"^\*\*([\w-]+)\.\*\*", re.M)
_CELL = re.compile(r"<td\b.*?</td>", re.S)
_CODE = re.compile(r"<code>.*?</code>", re.S)
_ELSEWHERE = re.compile(r"[a-z]+:|#")

Navigation = list[dict[str, Any]]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation: the sections and links of the index, the API's pages below the API."""
    config.nav = navigation()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside ``docs`` that a page links to, and those that their pages link to."""
    from mkdocs.structure.files import File

    for path in linked_files():
        files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the site's copies."""
    return relinked(markdown, repository_path(page.file))


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Finish the cells of tables."""
    return with_bars(html)


def with_bars(html: str) -> str:
    """The page with plain bars in code in tables, where Markdown needs them escaped."""
    return _CELL.sub(lambda cell: _CODE.sub(lambda code: code[0].replace("\\|", "|"), cell[0]), html)


def navigation() -> Navigation:
    """Sections of the index with their pages by title, in the form of MkDocs."""
    text = _read(INDEX)
    heads = [*_SECTION.finditer(text)]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    nav: Navigation = [{"Home": site_path(INDEX)}]
    for head, end in zip(heads, ends, strict=True):
        pages = dict(_pages_of(text[head.end() : end], INDEX))
        nav.append({head[1]: [_entry(path, title) for path, title in pages.items()]})
    nav.append({"Project": [{Path(path).stem.capitalize(): site_path(path)} for path in ALSO]})
    listed = {*_paths(nav)}
    others = [site_path(path) for path in linked_files() if path.endswith(".md")]
    nav[-1]["Project"] += [path for path in others if path not in listed]
    return nav


def linked_files() -> list[str]:
    """Paths of the files outside ``docs`` that the site holds, sorted."""
    found = set(ALSO)
    waiting = [*ALSO, *(path.relative_to(ROOT).as_posix() for path in (ROOT / DOCS).rglob("*.md"))]
    while waiting:
        page = waiting.pop()
        for target in _targets(_read(page), page):
            if target in found or target.startswith(DOCS) or not (ROOT / target).is_file():
                continue
            found.add(target)
            if target.endswith(".md"):
                waiting.append(target)
    return sorted(found)


def relinked(markdown: str, path: str) -> str:
    """The page's text with its links to files as links in the site, and without links to folders."""
    here = posixpath.dirname(site_path(path))

    def link(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        if _ELSEWHERE.match(target):
            return match[0]
        file, hash_mark, anchor = target.partition("#")
        wanted = _resolved(path, file)
        if (ROOT / wanted).is_dir():
            return text
        return f"{image}[{text}]({posixpath.relpath(site_path(wanted), here)}{hash_mark}{anchor})"

    return _outside_blocks(markdown, lambda prose: _LINK.sub(link, prose))


def site_path(path: str) -> str:
    """Where a file of the repository stands in the site."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    if path.endswith(".md"):
        name = path.removesuffix(".md").removesuffix("README").rstrip("/") or "readme"
        return f"project/{name.replace('/', '-').lower()}.md"
    return f"source/{path}.txt"


def repository_path(file: File) -> str:
    """The path in the repository of a page of the site."""
    source = Path(file.abs_src_path or "").resolve()
    return source.relative_to(ROOT).as_posix()


def _entry(path: str, title: str) -> dict[str, Any]:
    if path != API:
        return {title: site_path(path)}
    pages = [
        {name: site_path(page)} for page, name in dict(_pages_of(_read(API), API)).items() if "/api/" in page
    ]
    return {title: [{"All names": site_path(API)}, *pages]}


def _pages_of(text: str, path: str) -> Iterator[tuple[str, str]]:
    """The pages that a text links to without an anchor, and the text of the link."""
    for _, title, target in _LINK.findall(text):
        if target.endswith(".md") and not _ELSEWHERE.match(target):
            wanted = _resolved(path, target)
            if wanted.startswith(DOCS):
                yield wanted, _title(title.replace("\n", " "))


def _title(text: str) -> str:
    """The text of a link as a title; the name of a file keeps its case."""
    return text if "." in text else text[:1].upper() + text[1:]


def _paths(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from _paths(each)


def _targets(markdown: str, path: str) -> Iterator[str]:
    for _, _, target in _LINK.findall(_FENCE.sub("", markdown)):
        if not _ELSEWHERE.match(target):
            yield _resolved(path, target.partition("#")[0])


def _resolved(path: str, target: str) -> str:
    """A link's target, from the root of the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _outside_blocks(markdown: str, change: Callable[[str], str]) -> str:
    """The text with everything changed but its fenced blocks."""
    parts = []
    end = 0
    for block in _FENCE.finditer(markdown):
        parts += [change(markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(markdown[end:])])


def _read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")

"""The documentation site: where links lead, and the check of its pages."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def tool(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module(name)


@pytest.mark.parametrize(
    ("page", "written", "in_the_site"),
    [
        ("docs/how-to/offline.md", "[a](../tutorial.md#b)", "[a](../tutorial.md#b)"),
        ("docs/tutorial.md", "[a](../README.md#try-it)", "[a](project/readme.md#try-it)"),
        ("docs/tutorial.md", "[`a`](../examples/README.md)", "[`a`](project/examples.md)"),
        (
            "docs/reference/api/audio.md",
            "[a](../../../pannsx/lazy.py)",
            "[a](../../source/pannsx/lazy.py.txt)",
        ),
        ("README.md", "![a](docs/images/report.png)", "![a](../images/report.png)"),
        ("README.md", "[`tests`](tests) and [b](LICENSE)", "`tests` and [b](../source/LICENSE.txt)"),
        (
            "README.md",
            "[a](https://example.org/docs/) [b](#try-it)",
            "[a](https://example.org/docs/) [b](#try-it)",
        ),
        ("README.md", "```\n[a](tests)\n```\n", "```\n[a](tests)\n```\n"),
    ],
)
def test_links_in_the_site(
    page: str, written: str, in_the_site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tool("docs_site", monkeypatch).relinked(written, page) == in_the_site


def test_bars_in_code_in_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    html = r"<p><code>a \| b</code></p><td>\|<code>c \| d</code></td><td><code>e\f</code></td>"
    found = tool("docs_site", monkeypatch).with_bars(html)
    assert found == r"<p><code>a \| b</code></p><td>\|<code>c | d</code></td><td><code>e\f</code></td>"


def test_every_page_is_in_the_navigation_once(monkeypatch: pytest.MonkeyPatch) -> None:
    site = tool("docs_site", monkeypatch)
    listed = list(site._paths(site.navigation()))
    pages = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    pages += [path for path in site.linked_files() if path.endswith(".md")]
    assert sorted(listed) == sorted(map(site.site_path, pages))


def test_links_that_lead_nowhere_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = tool("check_site", monkeypatch)
    monkeypatch.setattr(check, "FEWEST_PAGES", 3)
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"></a><a href="b.html#gone"></a><a href="c.html"></a><img src="d.png">'
        '<script src="https://x.org/e.js"></script><a href="https://x.org"></a><a href="#top"></a>',
        "utf-8",
    )
    (tmp_path / "b.html").write_text('<p id="here"></p>', "utf-8")
    assert check.check(tmp_path) == [
        "the site has 2 pages; at least 3 are expected",
        "a.html loads https://x.org/e.js",
        "a.html: #top: the page has no element #top",
        "a.html: b.html#gone: the page has no element #gone",
        "a.html: c.html: there is no such file",
        "a.html: d.png: there is no such file",
    ]

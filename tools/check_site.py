"""Build the documentation site strictly and follow every link and picture of its pages.

python tools/check_site.py [--to FOLDER]

Needs the extra ``docs``. MkDocs checks the links that it knows in the Markdown; this checks what a reader's
browser gets: every relative address in the HTML leads to a file of the site, and its anchor to an element.
Pages load nothing from elsewhere, so that nobody else learns who reads them. Links to other sites are not
followed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
FEWEST_PAGES = 40  # a site with fewer has lost some
_LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}


class Links(HTMLParser):
    """Ids of the elements of a page; the addresses it links to; those that it loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.linked: set[str] = set()
        self.loaded: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and (address := given.get("href")):
            self.linked.add(address)
        elif (name := _LOADED.get(tag)) and (address := given.get(name)) and given.get("rel") != "canonical":
            self.loaded.add(address)


def build(folder: Path) -> None:
    """Build the site, with warnings as errors (which ``--quiet`` would not count)."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{run.stdout}{run.stderr}\nthe site could not be built")


def check(folder: Path) -> list[str]:
    """One complaint for each address that leads nowhere, or that a page loads from elsewhere."""
    complaints = []
    pages = sorted(folder.rglob("*.html"))
    if len(pages) < FEWEST_PAGES:
        complaints.append(f"the site has {len(pages)} pages; at least {FEWEST_PAGES} are expected")
    for page in pages:
        if page.name == "404.html":  # served at any address: its links begin at the root of the server
            continue
        name = page.relative_to(folder).as_posix()
        links = links_of(page)
        complaints += [f"{name} loads {each}" for each in sorted(links.loaded) if urlsplit(each).netloc]
        for address in sorted(links.linked | links.loaded):
            if reason := _leads_nowhere(page, address):
                complaints.append(f"{name}: {address}: {reason}")
    return complaints


@cache
def links_of(page: Path) -> Links:
    """What a page links to, and what in it can be linked to."""
    links = Links()
    links.feed(page.read_text("utf-8"))
    return links


def _leads_nowhere(page: Path, address: str) -> str | None:
    """Why an address of a page leads nowhere, or None."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not file.is_file():
        return "there is no such file"
    anchor = unquote(parts.fragment)
    if anchor and file.suffix == ".html" and anchor not in links_of(file).ids:
        return f"the page has no element #{anchor}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the documentation site and check its links.")
    parser.add_argument("--to", type=Path, help="keep the site in this folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.to or Path(scratch) / "site").resolve()
        build(folder)
        complaints = check(folder)
        print(*complaints, sep="\n", file=sys.stderr, end="\n" if complaints else "")
        if not complaints:
            print(f"{len(list(folder.rglob('*.html')))} pages, every link leads somewhere")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

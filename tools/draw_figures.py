"""Draw the pictures of the example scene in the documentation: the figure, and the report page in a browser.

    python tools/draw_figures.py [CHROMIUM]

writes ``docs/images/plot.png`` and ``docs/images/report.png`` from ``examples/scene.flac``. Needs the extras
``plot`` and ``browser``; ``CHROMIUM`` is the browser's program (default: the first one on the path).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from pannsx import AudioTagger, TaggingResult

ROOT = Path(__file__).resolve().parents[1]
SCENE = ROOT / "examples" / "scene.flac"
IMAGES = ROOT / "docs" / "images"
VIEW = {"width": 1200, "height": 1100}  # pixels: the first rows of the table show
DPI = 100
N_CLASSES = 6
THRESHOLD = 0.3  # of the figure; the page has its default, 0.5


def main() -> None:
    """Compute and draw."""
    browser = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium")
    if browser is None:
        sys.exit("no chromium on the path: give the program of the browser as an argument")
    result = AudioTagger(device="cpu").inference(SCENE)
    figure = IMAGES / "plot.png"
    result.plot(audio=SCENE, n_classes=N_CLASSES, threshold=THRESHOLD).savefig(figure, dpi=DPI)
    _few_colours(figure)
    page = IMAGES / "report.png"
    _photograph(result, page, browser)
    _few_colours(page)
    print(figure, page, sep="\n")


def _photograph(result: TaggingResult, target: Path, browser: str) -> None:
    """The report page in the browser's first view, without the parents of the classes found."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = result.report(Path(folder) / "scene.html", SCENE)
        window = playwright.chromium.launch(executable_path=browser)
        page = window.new_page(viewport=VIEW)
        page.goto(report.as_uri())
        page.get_by_label("Hide parents").check()
        page.wait_for_timeout(1000)  # milliseconds: the player knows the length of the audio
        page.screenshot(path=target)
        window.close()


def _few_colours(path: Path) -> None:
    """256 colours: a third of the bytes, without a visible difference."""
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main()

"""The browser example in a browser: the exported network tags as Python does, and asks no other server.

``PANNSX_ORT_WEB`` names a folder with the files of onnxruntime-web's ``dist``.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from parties import party
from test_report_browser import OWN, executable

from pannsx import AudioTagger
from pannsx.export import export

party("onnxruntime", "onnx")
party("playwright", "browser")
from playwright.sync_api import Page, sync_playwright  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SCENE = ROOT / "examples" / "scene.flac"
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

SAME = 0.002
"""Of a printed probability: it has three decimals, and WebAssembly sums in another order."""


PATIENCE_MS = 120_000
"""Until the runtime is compiled and the network loaded, on a machine that has much else to do."""


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example as its how-to assembles it, served from this computer."""
    given = os.environ.get("PANNSX_ORT_WEB")
    if given is None:
        say = pytest.fail if os.environ.get("PANNSX_DOORS") else pytest.skip
        say("PANNSX_ORT_WEB does not name a folder with onnxruntime-web's dist")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "examples" / "browser", folder, dirs_exist_ok=True)
    (folder / "ort").mkdir()
    for name in RUNTIME:
        shutil.copy(Path(given) / name, folder / "ort")
    export("MobileNetV1_distilled", folder / "network")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def page(site: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable())
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith((site, *OWN)) else said.append(request.url),
        )
        page.set_default_timeout(PATIENCE_MS)
        page.goto(site)
        page.wait_for_function("document.getElementById('status').textContent === 'Choose a recording.'")
        yield page
        browser.close()
        assert said == []


def rows(page: Page) -> list[tuple[float, str]]:
    cells = page.locator("#tags tr").all_inner_texts()
    found = [re.fullmatch(r"(\d\.\d{3})\s+(.+)", text.strip(), re.S) for text in cells]
    assert all(found)
    return [(float(each[1]), each[2].strip()) for each in found if each]


def test_it_tags_as_python_does(page: Page) -> None:
    page.set_input_files("#file", SCENE)
    page.wait_for_function("document.getElementById('status').textContent === 'scene.flac:'")
    expected = AudioTagger(device="cpu").inference(SCENE).top(5)
    found = rows(page)
    assert [name for _, name in found] == [tag.label for tag in expected]
    assert [probability for probability, _ in found] == pytest.approx(
        [tag.probability for tag in expected], abs=SAME
    )


def test_a_file_that_is_no_sound(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no sound", "utf-8")
    page.set_input_files("#file", path)
    page.wait_for_function("document.getElementById('status').textContent.includes('cannot be tagged')")
    assert rows(page) == []

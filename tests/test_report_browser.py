"""The report in a browser: it loads without a complaint, plays, seeks, and its slider finds Python's events.

The browser is the Chromium that ``PANNSX_CHROMIUM`` names, without which one on the path is taken; where the
variable is set the tests never skip.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pannsx import AudioTagger, TaggingResult
from pannsx.events import OperatingPoint, OperatingPoints, detect
from pannsx.events.formats import read_events
from pannsx.results import FrameGrid

pytest.importorskip("playwright", reason="the page is tried in a browser with the extra pannsx[browser]")
from playwright.sync_api import Page, sync_playwright

SCENE = Path(__file__).resolve().parents[1] / "examples" / "scene.flac"
OWN = ("data:", "file:", "blob:")  # addresses that reach no network
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

Rows = list[list[str]]


def executable() -> str:
    named = os.environ.get("PANNSX_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} on the path, no PANNSX_CHROMIUM")
    return found


@pytest.fixture(scope="module")
def result() -> TaggingResult:
    return AudioTagger(device="cpu").inference(SCENE)


@pytest.fixture(scope="module")
def page(result: TaggingResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The report of the example scene; whatever its console says, or it asks the network for, fails."""
    path = result.report(tmp_path_factory.mktemp("report") / "scene.html", SCENE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable(), args=["--autoplay-policy=no-user-gesture-required"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(OWN) else said.append(request.url),
        )
        page.goto(path.as_uri())
        wait_until(page, "document.getElementById('audio').readyState > 0")
        yield page
        browser.close()
        assert said == []


def set_threshold(page: Page, threshold: float) -> None:
    page.locator("#threshold").fill(f"{threshold:.2f}")


def rows(page: Page) -> Rows:
    """Onset, offset, label and probability of each row."""
    found: Rows = page.evaluate(
        "[...document.querySelectorAll('#table tbody tr')]"
        ".map((row) => [...row.cells].slice(0, 4).map((cell) => cell.textContent))"
    )
    return found


def expected_rows(result: TaggingResult, threshold: float) -> Rows:
    assert result.framewise is not None
    events = detect(
        result.framewise,
        result.hop_s,
        labels=result.labels,
        offset_s=result.offset_s,
        duration_s=result.duration_s,
        threshold=threshold,
    )
    return [[f"{e.onset_s:.2f}", f"{e.offset_s:.2f}", e.label, f"{e.probability:.3f}"] for e in events]


def wait_until(page: Page, condition: str) -> None:
    """Not playwright's own, which the page's security policy forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not after ten seconds: {condition}")


def seconds(page: Page) -> float:
    return float(page.evaluate("document.getElementById('audio').currentTime"))


def cursor_share(page: Page) -> float:
    """Where the cursor stands, as a share of the timeline's width."""
    share = page.evaluate(
        "document.getElementById('cursor').getBoundingClientRect().left - "
        "document.getElementById('sheet').getBoundingClientRect().left"
    )
    return float(share) / float(page.evaluate("document.getElementById('sheet').clientWidth"))


def test_slider_finds_what_python_finds(page: Page, result: TaggingResult) -> None:
    for threshold in (0.5, 0.3, 0.05, 0.77, 0.99):
        set_threshold(page, threshold)
        expected = expected_rows(result, threshold)
        assert rows(page) == expected
        n_classes = len({row[2] for row in expected})
        said = page.locator("#status").inner_text()
        assert said.startswith(f"{len(expected)} event")
        assert f"of {n_classes} class" in said
        assert page.locator(".track").count() == min(30, n_classes)


def test_it_plays_and_the_cursor_runs(page: Page, result: TaggingResult) -> None:
    page.evaluate("document.getElementById('audio').muted = true")
    page.locator("#timeline").press("Home")
    page.locator("#timeline").press(" ")
    wait_until(page, "document.getElementById('audio').currentTime > 0.3")
    page.locator("#timeline").press(" ")
    assert page.evaluate("document.getElementById('audio').paused")
    page.wait_for_timeout(100)
    assert cursor_share(page) == pytest.approx(seconds(page) / result.duration_s, abs=0.02)


def test_seeking(page: Page, result: TaggingResult) -> None:
    box = page.locator("#log-mel").bounding_box()
    assert box is not None
    share = 4.5 / result.duration_s
    page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    assert seconds(page) == pytest.approx(4.5, abs=0.05)
    assert cursor_share(page) == pytest.approx(share, abs=0.01)
    timeline = page.locator("#timeline")
    timeline.press("ArrowLeft")
    assert seconds(page) == pytest.approx(3.5, abs=0.05)
    assert timeline.get_attribute("aria-valuenow") == "3.5"
    timeline.press("End")
    assert seconds(page) == pytest.approx(result.duration_s, abs=0.05)
    set_threshold(page, 0.6)
    page.evaluate("document.getElementById('audio').muted = true")
    shown = rows(page)
    shortest = min(range(len(shown)), key=lambda i: float(shown[i][1]) - float(shown[i][0]))
    onset_s, offset_s = map(float, shown[shortest][:2])
    button = page.locator("#table tbody button").nth(shortest)
    button.click()
    assert onset_s - 0.05 <= seconds(page) <= offset_s + 0.05
    # It stops where the event ends, and plays on from there when asked to.
    wait_until(page, "document.getElementById('audio').paused")
    assert seconds(page) == pytest.approx(offset_s, abs=0.02)
    assert button.inner_text() == "Play"
    timeline.press(" ")
    wait_until(page, f"document.getElementById('audio').currentTime > {offset_s + 0.2}")
    timeline.press(" ")


def test_table_sorts_filters_and_downloads(page: Page, result: TaggingResult) -> None:
    set_threshold(page, 0.1)
    page.get_by_role("button", name="Probability").click()
    found = [float(row[3]) for row in rows(page)]
    assert found == sorted(found, reverse=True)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Label").click()
    labels = [row[2] for row in rows(page)]
    assert labels == sorted(labels)
    page.get_by_role("searchbox").fill("guitar")
    labels = [row[2] for row in rows(page)]
    assert labels
    assert all("guitar" in label.lower() for label in labels)
    for name, file in DOWNLOADS.items():
        with page.expect_download() as started:
            page.get_by_role("button", name=name).click()
        assert started.value.suggested_filename == file
        (recording,) = read_events(Path(started.value.path()), FORMATS[name])
        assert sorted(event.label for event in recording.events) == labels
    page.get_by_role("button", name="Onset (s)").click()
    page.get_by_role("searchbox").fill("no such class")
    n_events = len(result.events(threshold=0.1))
    assert page.locator("#empty").inner_text() == (
        f"No event's name contains “no such class”: {n_events} events are hidden by the filter."
    )
    assert not page.locator("#table").is_visible()
    page.get_by_role("searchbox").fill("")
    assert rows(page) == expected_rows(result, 0.1)
    set_threshold(page, 0.99)
    label, greatest = max(zip(result.labels, greatest_of(result), strict=True), key=lambda pair: pair[1])
    assert page.locator("#empty").inner_text() == (
        f"No class reaches its threshold. The most probable class, {label}, reaches {greatest:.2f}."
    )
    set_threshold(page, 0.5)


FORMATS = {"TSV": "tsv", "CSV": "csv", "Audacity": "audacity", "Raven": "raven"}
DOWNLOADS = {
    "TSV": "scene.tsv", "CSV": "scene.csv", "Audacity": "scene.txt", "Raven": "scene.selections.txt",
}  # fmt: skip


def greatest_of(result: TaggingResult) -> list[float]:
    assert result.framewise is not None
    return [float(value) for value in result.framewise.max(axis=0)]


def test_parents_are_hidden(page: Page, result: TaggingResult) -> None:
    set_threshold(page, 0.3)
    page.get_by_label("Hide parents").check()
    expected = [e.label for e in result.events(threshold=0.3, leaves=True)]
    assert [row[2] for row in rows(page)] == expected
    page.get_by_label("Hide parents").uncheck()
    set_threshold(page, 0.5)


def test_zoom(page: Page) -> None:
    page.locator("#zoom").fill("8")
    sheet, timeline = (
        float(page.evaluate(f"document.getElementById('{name}').clientWidth"))
        for name in ("sheet", "timeline")
    )
    assert sheet == pytest.approx(8 * timeline, rel=0.01)
    page.locator("#timeline").press("End")
    wait_until(page, "document.getElementById('timeline').scrollLeft > 0")
    page.locator("#zoom").fill("1")


# From a small phone to a laptop.
WIDTHS = (360, 390, 768, 1280)

# Elements that reach past the page's edge, or whose text is wider than they are; the timeline scrolls.
CUT = """
(() => [...document.querySelectorAll("body *")].filter((element) => {
  const style = getComputedStyle(element);
  if (style.display === "none" || element.closest(".hidden, .skip, #timeline, script")) return false;
  const box = element.getBoundingClientRect();
  return box.right > document.documentElement.clientWidth + 0.5 || box.left < -0.5
    || (element.scrollWidth > element.clientWidth + 1 && style.display !== "inline"
      && !element.children.length);
}).map((element) => element.tagName + "." + element.className + ": " + element.textContent.slice(0, 40)))()
"""

# Ticks whose text ends beyond the timeline, and names of tracks without their end.
CUT_IN_TIMELINE = """
(() => {
  const end = document.getElementById("sheet").getBoundingClientRect().right;
  const ticks = [...document.querySelectorAll("#ticks span")].filter((tick) => tick.textContent);
  const names = [...document.querySelectorAll(".track .name")];
  return [...ticks.filter((tick) => tick.getBoundingClientRect().right > end + 0.5),
    ...names.filter((name) => name.scrollWidth > name.clientWidth + 1)].map((each) => each.textContent);
})()
"""


@pytest.fixture(scope="module")
def long_page(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """In the same browser: three hours, long names, calibrated thresholds, a name without a space."""
    labels = (
        "Accelerating, revving, vroom, vroom and on it goes",
        "Donaudampfschifffahrtsgesellschaft" * 2,
        "Bark",
    )
    framewise = np.zeros((34_000, 3), np.float32)
    for k in range(3):
        framewise[30_000 + k :: 97 + k, k] = 0.9
        framewise[k:20_000:1000, k] = 0.4
    result = TaggingResult(
        clipwise=framewise.max(axis=0),
        logits=np.zeros(3, np.float32),
        embedding=np.zeros(2, np.float32),
        framewise=framewise,
        grid=FrameGrid(0.32, 0.16, labels, "native", model="Cnn14_DecisionLevelMax"),
        duration_s=34_000 * 0.32,
        operating_points=OperatingPoints({"Bark": OperatingPoint(0.02), labels[0]: OperatingPoint(0.3)}),
    )
    title = "a_recording_with_a_name_of_many_words_and_no_space_at_all_2026-11-26T10-00-00.wav"
    path = result.report(tmp_path_factory.mktemp("long") / "page.html", title=title)
    assert page.context.browser is not None
    other = page.context.browser.new_page()
    said: list[str] = []
    other.on("console", lambda message: said.append(message.text))
    other.on("pageerror", lambda error: said.append(str(error)))
    other.goto(path.as_uri())
    other.locator("details").evaluate("element => element.open = true")
    yield other
    other.close()
    assert said == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut(page: Page, long_page: Page, width: int) -> None:
    for each in (page, long_page):
        each.set_viewport_size({"width": width, "height": 800})
        assert each.evaluate("document.documentElement.scrollWidth") <= width
        assert each.evaluate(CUT) == []
        assert each.evaluate(CUT_IN_TIMELINE) == []
    page.set_viewport_size({"width": 1200, "height": 900})


def test_long_recordings_and_calibrated_thresholds(long_page: Page) -> None:
    assert long_page.get_by_label("Calibrated thresholds").is_checked()
    assert "2:40:00.00" in {row[0] for row in rows(long_page)}
    n_calibrated = long_page.locator("#status").inner_text()
    set_threshold(long_page, 0.5)
    assert not long_page.get_by_label("Calibrated thresholds").is_checked()
    assert long_page.locator("#status").inner_text() != n_calibrated
    long_page.get_by_label("Calibrated thresholds").check()
    assert long_page.locator("#status").inner_text() == n_calibrated


def test_light_and_dark(page: Page) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        contrasts = page.evaluate(CONTRASTS)
        assert min(contrasts) >= 4.5  # what WCAG asks for text of this size
    brightness = [np.mean([int(part) for part in ground[4:-1].split(",")]) for ground in grounds]
    assert brightness[0] > 200 > 60 > brightness[1]


CONTRASTS = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
    const share = Number(part) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const light = (colour) => {
    const [red, green, blue] = numbers(colour);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return ["h1", "header p", ".note", "td", "#status", "#ticks", ".legend li"].map((name) => {
    const own = light(getComputedStyle(document.querySelector(name)).color);
    return (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05);
  });
})()
"""


def test_everything_can_be_reached_by_keyboard(page: Page) -> None:
    page.locator(".skip").focus()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(({ id, dataset }) => id || dataset.key || dataset.format || '')(document.activeElement)"
            )
        )
    assert {"audio", "threshold", "parents", "zoom", "timeline", "filter"} <= reached
    assert set(FORMATS.values()) <= reached
    assert {"onset_s", "offset_s", "label", "probability"} <= reached
    tree = page.locator("body").aria_snapshot()
    for name in ("Threshold", "Zoom", "Position in the sound", "Filter by name", "Raven"):
        assert name in tree

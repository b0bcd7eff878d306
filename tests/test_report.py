"""The report: one page with everything in it, whose script finds the events that Python finds."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from py_mini_racer import MiniRacer
from small_models import noise

from pannsx import AudioError, AudioTagger, TaggingResult
from pannsx.cli import main
from pannsx.events import detect
from pannsx.report.overview import MOST_COLUMNS, band_of, overview_of
from pannsx.report.page import LEAST_THRESHOLD
from pannsx.report.picture import HEAT, png
from pannsx.report.scores import MOST_BYTES, pack_scores
from pannsx.results import FrameGrid

ROOT = Path(__file__).resolve().parents[1]
SCENE = ROOT / "examples" / "scene.flac"
PAGE_BYTES = 3_000_000  # beside the audio, of ten minutes

SHIM = """
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
function atob(text) {  // which browsers have, and the bare engine has not
  let bits = 0, held = 0, out = "";
  for (const letter of text.replace(/=+$/, "")) {
    held = (held << 6) | ALPHABET.indexOf(letter); bits += 6;
    if (bits >= 8) { bits -= 8; out += String.fromCharCode((held >> bits) & 255); held &= (1 << bits) - 1; }
  }
  return out;
}
let data, scores;
function take(text) { data = JSON.parse(text); scores = unpackScores(data); return scores.length; }
function eventsAt(threshold) { return JSON.stringify(detectEvents(scores, data, threshold)); }
function tsvAt(threshold) { return eventsToTsv(detectEvents(scores, data, threshold), data.name); }
"""


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger(device="cpu")


@pytest.fixture(scope="module")
def engine() -> Iterator[MiniRacer]:
    """A JavaScript engine that has read events.js."""
    racer = MiniRacer()
    racer.eval((ROOT / "pannsx" / "report" / "events.js").read_text("utf-8"))
    racer.eval(SHIM)
    yield racer
    racer.close()


def made_up(
    framewise: np.ndarray,
    duration_s: float | None = None,
    *,
    hop_s: float = 0.2,
    labels: tuple[str, ...] = (),
) -> TaggingResult:
    """A result with these frames."""
    n_frames, n_classes = framewise.shape
    return TaggingResult(
        clipwise=framewise.max(axis=0, initial=0.0),
        logits=np.zeros(n_classes, np.float32),
        embedding=np.zeros(2, np.float32),
        framewise=framewise,
        grid=FrameGrid(hop_s, 0.07, labels or tuple(f"class {k}" for k in range(n_classes)), "native"),
        duration_s=0.07 + 0.2 * (n_frames - 0.5) if duration_s is None else duration_s,
    )


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data: dict[str, Any] = json.loads(text)
    return data


def page(result: TaggingResult, folder: Path, *arguments: Any, **options: Any) -> str:
    return result.report(folder / "page.html", *arguments, **options).read_text("utf-8")


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_frames=st.integers(1, 60),
    beyond_s=st.floats(-0.3, 0.35),
    max_gap_s=st.sampled_from([0.0, 0.2, 0.59, 1.0]),
    min_duration_s=st.sampled_from([0.0, 0.2, 0.6]),
    thresholds=st.lists(st.integers(5, 99), min_size=1, max_size=6),
)
def test_script_finds_what_python_finds(
    engine: MiniRacer,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    n_frames: int,
    beyond_s: float,
    max_gap_s: float,
    min_duration_s: float,
    thresholds: list[int],
) -> None:
    rng = np.random.default_rng(seed)
    framewise = rng.beta(0.4, 0.8, (n_frames, 7)).astype(np.float32)
    framewise[:, 3] = np.round(framewise[:, 3], 2)  # values that are thresholds
    duration_s = max(0.05, 0.07 + 0.2 * (n_frames - 0.5) + beyond_s)
    result = made_up(framewise, duration_s)
    options = {"max_gap_s": max_gap_s, "min_duration_s": min_duration_s}
    text = page(result, tmp_path_factory.mktemp("page"), threshold=0.5, **options)
    engine.call("take", json.dumps(data_of(text)))
    for threshold in (each / 100 for each in thresholds):
        expected = detect(
            framewise,
            result.hop_s,
            labels=result.labels,
            offset_s=result.offset_s,
            duration_s=duration_s,
            threshold=threshold,
            **options,
        )
        found = json.loads(engine.call("eventsAt", threshold))
        assert [(e["label"], e["onset_s"], e["offset_s"], e["probability"]) for e in found] == [
            tuple(event) for event in expected
        ]


def test_script_on_the_scene(engine: MiniRacer, tagger: AudioTagger, tmp_path: Path) -> None:
    result = tagger.inference(SCENE)
    assert result.framewise is not None
    engine.call("take", json.dumps(data_of(page(result, tmp_path, SCENE))))
    for threshold in np.arange(5, 100) / 100:
        expected = detect(
            result.framewise,
            result.hop_s,
            labels=result.labels,
            offset_s=result.offset_s,
            duration_s=result.duration_s,
            threshold=float(threshold),
        )
        found = json.loads(engine.call("eventsAt", float(threshold)))
        assert [(e["label"], e["onset_s"], e["offset_s"]) for e in found] == [e[:3] for e in expected]
    lines = engine.call("tsvAt", 0.5).splitlines()
    assert lines[0] == "filename\tonset\toffset\tevent_label"
    events = result.events(threshold=0.5)
    assert events
    assert lines[1:] == [f"scene.flac\t{e.onset_s:.3f}\t{e.offset_s:.3f}\t{e.label}" for e in events]


class Everything(HTMLParser):
    """Elements with their attributes, and whether each that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_alone(tagger: AudioTagger, tmp_path: Path) -> None:
    text = page(tagger.inference(SCENE), tmp_path, SCENE)
    parser = Everything()
    parser.feed(text)
    assert parser.open == []
    for tag, attributes in parser.found:
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), (tag, name)
        assert not [name for name in attributes if name.startswith("on")]
    outside = re.sub(r"http://www\.w3\.org/\S+", "", text)
    assert not re.findall(r"https?://|@import|url\(", outside)
    assert "default-src 'none'" in text
    ids = [attributes["id"] for _, attributes in parser.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    script = (ROOT / "pannsx" / "report" / "page.js").read_text("utf-8")
    assert set(re.findall(r'byId\("([\w-]+)"\)', script)) <= set(ids)
    assert {"waveform", "log-mel", "audio"} <= set(ids)
    # Every control says what it is: by a label around it, its own text, or an attribute.
    for tag in ("input", "button"):
        assert [attributes for name, attributes in parser.found if name == tag]
    (slider,) = [attributes for _, attributes in parser.found if attributes.get("role") == "slider"]
    assert slider["tabindex"] == "0"
    assert slider["aria-label"]


def test_scripts_parse(engine: MiniRacer) -> None:
    script = (ROOT / "pannsx" / "report" / "page.js").read_text("utf-8")
    engine.eval(f"new Function({json.dumps(script)}); 0")


def test_audio_is_the_file_or_flac_of_it(tagger: AudioTagger, tmp_path: Path) -> None:
    def heard(text: str) -> tuple[str, bytes]:
        (address,) = re.findall(r'<audio[^>]* src="data:([^"]+)"', text)
        kind, _, content = address.partition(";base64,")
        return kind, base64.b64decode(content)

    result = tagger.inference(SCENE)
    assert heard(page(result, tmp_path, SCENE)) == ("audio/flac", SCENE.read_bytes())
    waveform = noise(48_000)
    kind, content = heard(page(tagger.inference(waveform, 16_000), tmp_path, waveform, 16_000))
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert (kind, rate) == ("audio/flac", 16_000)
    np.testing.assert_allclose(samples, waveform.clip(-1, 1), atol=2**-15)
    odd = tmp_path / "clip.aiff"
    soundfile.write(odd, waveform, 16_000)
    assert heard(page(tagger.inference(odd), tmp_path, odd))[0] == "audio/flac"


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>&<b>{{data}}"
    result = made_up(np.full((5, 2), 0.9, np.float32), labels=(evil, "plain"))
    text = page(result, tmp_path, title=evil)
    assert "<script>alert" not in text
    assert "<b>" not in text
    data = data_of(text)
    assert data["name"] == evil
    assert data["classes"][0]["label"] == evil


def test_ten_minutes_of_much_happening_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seconds = 600
    framewise = rng.beta(0.2, 0.4, (round(seconds / 0.16), 527)).astype(np.float32)
    waveform = np.tile(noise(32_000 * 30), seconds // 30)
    waveform *= np.linspace(0.05, 1, len(waveform), dtype=np.float32)
    result = made_up(framewise, seconds, hop_s=0.16)
    text = page(result, tmp_path, waveform, 32_000)
    audio = re.search(r'<audio[^>]* src="([^"]+)"', text)
    assert audio is not None
    assert len(text.encode()) - len(audio[1]) < PAGE_BYTES
    assert "less probable classes" in text


def test_scores_are_exact_above_the_floor() -> None:
    rng = np.random.default_rng(1)
    framewise = rng.random((200, 30)).astype(np.float32) ** 4
    framewise[:, 5] = 0.01
    packed = pack_scores(framewise, tuple(map(str, range(30))), LEAST_THRESHOLD)
    assert packed["n_classes_left_out"] == 0
    values = np.frombuffer(base64.b64decode(packed["values"]), "<f4")
    seen = np.zeros_like(framewise)
    at = 0
    for each in packed["classes"]:
        for first, length in zip(each["runs"][::2], each["runs"][1::2], strict=True):
            seen[first : first + length, each["place"]] = values[at : at + length]
            at += length
    assert at == len(values)
    assert np.array_equal(seen, np.where(framewise >= np.float32(LEAST_THRESHOLD), framewise, 0))
    greatest = [framewise[:, each["place"]].max() for each in packed["classes"]]
    assert greatest == sorted(greatest, reverse=True)
    many = np.full((MOST_BYTES // 12, 3), 0.5, np.float32)
    assert pack_scores(many, ("a", "b", "c"), 0.1)["n_classes_left_out"] == 1


@pytest.mark.parametrize("seconds", [0.001, 0.5, 10.0, 47.3, 95.0])
def test_overview(seconds: float) -> None:
    n_samples = round(seconds * 32_000)
    waveform = (0.01 * noise(n_samples)).astype(np.float32)
    at = n_samples * 2 // 3
    waveform[at] = 0.9
    seen = overview_of(waveform, 32_000)
    assert seen.duration_s == n_samples / 32_000
    assert len(seen.peaks) == len(seen.log_mel) == -(-n_samples // round(seen.column_s * 32_000))
    assert len(seen.peaks) <= MOST_COLUMNS
    assert int(seen.peaks[:, 1].argmax()) == int(at / 32_000 / seen.column_s)
    assert seen.peaks[:, 1].max() == np.float32(0.9)
    assert seen.peaks[:, 0].min() == waveform.min()


def test_bands_are_where_their_frequencies_are() -> None:
    for frequency in (200, 1000, 5000):
        sine = np.sin(2 * np.pi * frequency * np.arange(32_000) / 32_000).astype(np.float32)
        loudest = int(overview_of(sine, 32_000).log_mel[50].argmax())
        assert abs(loudest + 0.5 - band_of(frequency)) < 1.0


def test_png_is_read_back() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 15)
    content = png(image)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    idat = content.index(b"IDAT")
    size = int.from_bytes(content[idat - 4 : idat], "big")
    rows = np.frombuffer(zlib.decompress(content[idat + 4 : idat + 4 + size]), np.uint8).reshape(4, 16)
    assert np.array_equal(rows[:, 1:], image)
    assert not rows[:, 0].any()


def test_heat_is_told_by_lightness_alone() -> None:
    linear = (HEAT / 255.0) ** 2.2
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) >= -1e-3).all()
    assert luminance[-1] > 20 * luminance[0]


def test_jupyter_shows_a_table_with_pictures(tagger: AudioTagger) -> None:
    result = tagger.inference(SCENE)
    shown = result._repr_html_()
    parser = Everything()
    parser.feed(shown)
    assert parser.open == []
    for tag in result.top(5):
        assert f">{tag.label}</th><td>{tag.probability:.3f}</td>" in shown
    assert shown.count("data:image/png") == 5
    assert len(shown) < 10_000
    assert "<img" not in tagger.inference(SCENE, framewise=False)._repr_html_()


def test_errors_write_nothing(tagger: AudioTagger, tmp_path: Path) -> None:
    result = tagger.inference(SCENE)
    target = tmp_path / "page.html"
    with pytest.raises(ValueError, match=r"the audio lasts 1\.00 s and the result is of 8\.60 s"):
        result.report(target, noise(32_000), 32_000)
    with pytest.raises(AudioError):
        result.report(target, "no such file.wav")
    with pytest.raises(ValueError, match=r"threshold is 0\.01"):
        result.report(target, SCENE, threshold=0.01)
    with pytest.raises(ValueError, match="min_duration_s"):
        result.report(target, SCENE, min_duration_s=-1)
    with pytest.raises(ValueError, match="framewise=False"):
        tagger.inference(SCENE, framewise=False).report(target, SCENE)
    assert not list(tmp_path.iterdir())


def test_cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "page.html"
    assert main(["report", str(SCENE), "-o", str(target), "--threshold", "0.3"]) == 0
    assert capsys.readouterr().err == ""
    data = data_of(target.read_text("utf-8"))
    assert data["name"] == "scene.flac"
    assert data["threshold"] == 0.3
    assert main(["report", "no such file.wav", "-o", str(target)]) == 1
    assert "no such file.wav" in capsys.readouterr().err
    assert main(["report", str(SCENE), "-o", str(target), "--threshold", "0"]) == 2
    assert "threshold is 0.0" in capsys.readouterr().err

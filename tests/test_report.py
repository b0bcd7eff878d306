"""The report: one page with everything in it, whose script finds the events that Python finds."""

from __future__ import annotations

import base64
import hashlib
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
from pannsx.audio import Selection
from pannsx.cli import main
from pannsx.events import EventSettings, OperatingPoint, OperatingPoints, detect, hide_parents
from pannsx.events.formats import FORMATS, Recording
from pannsx.inference.fine_frames import FrameReader
from pannsx.report import PageMaker, Sound
from pannsx.report.columns import MOST_COLUMNS, Columns
from pannsx.report.groups import groups_of
from pannsx.report.overview import band_of, overview_of
from pannsx.report.picture import HEAT, png
from pannsx.report.scores import MOST_BYTES, Scores
from pannsx.report.sound import relative_address
from pannsx.report.thresholds import LEAST_THRESHOLD
from pannsx.results import FrameGrid
from pannsx.version import __version__

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
function ownAt() { return JSON.stringify(ownEvents(data)); }
function leavesAt(threshold) {
  return JSON.stringify(hideParents(detectEvents(scores, data, threshold), scores, data));
}
function written(format, threshold) {
  return FORMATS[format].text(detectEvents(scores, data, threshold), data);
}
"""


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger(device="cpu")


@pytest.fixture(scope="module")
def engine() -> Iterator[MiniRacer]:
    """A JavaScript engine that has read all scripts but that of the page itself."""
    racer = MiniRacer()
    for name in ("events.js", "formats.js"):
        racer.eval((ROOT / "pannsx" / "report" / name).read_text("utf-8"))
    racer.eval(SHIM)
    yield racer
    racer.close()


def made_up(
    framewise: np.ndarray,
    duration_s: float | None = None,
    *,
    hop_s: float = 0.2,
    labels: tuple[str, ...] = (),
    ids: tuple[str, ...] | None = None,
    points: OperatingPoints | None = None,
) -> TaggingResult:
    """A result with these frames."""
    n_frames, n_classes = framewise.shape
    return TaggingResult(
        clipwise=framewise.max(axis=0, initial=0.0),
        logits=np.zeros(n_classes, np.float32),
        embedding=np.zeros(2, np.float32),
        framewise=framewise,
        grid=FrameGrid(hop_s, 0.07, labels or tuple(f"class {k}" for k in range(n_classes)), "native", ids),
        duration_s=0.07 + 0.2 * (n_frames - 0.5) if duration_s is None else duration_s,
        operating_points=points,
    )


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data: dict[str, Any] = json.loads(text)
    return data


def page(result: TaggingResult, folder: Path, *arguments: Any, **options: Any) -> str:
    return result.report(folder / "page.html", *arguments, **options).read_text("utf-8")


@settings(derandomize=True, deadline=None, max_examples=25)
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
    options: dict[str, Any] = {"max_gap_s": max_gap_s, "min_duration_s": min_duration_s}
    on = rng.uniform(0.01, 0.9, 7)
    points = OperatingPoints(
        {f"class {k}": OperatingPoint(float(on[k]), float(on[k] * rng.random())) for k in range(6)},
        both_ends=True,
        median_s=0.6,
    )
    text = page(result, tmp_path_factory.mktemp("page"), threshold=points, **options)
    engine.call("take", json.dumps(data_of(text)))
    given: list[OperatingPoints | float] = [points, *(each / 100 for each in thresholds)]
    for threshold in given:
        expected = detect(
            framewise,
            result.hop_s,
            labels=result.labels,
            offset_s=result.offset_s,
            duration_s=duration_s,
            threshold=threshold,
            **options,
        )
        found = json.loads(
            engine.call("ownAt") if threshold is points else engine.call("eventsAt", threshold)
        )
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
        found = json.loads(engine.call("leavesAt", float(threshold)))
        leaves = result.events(threshold=float(threshold), leaves=True)
        assert [(e["label"], e["onset_s"], e["offset_s"]) for e in found] == [tuple(e[:3]) for e in leaves]


@settings(derandomize=True, deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), min_duration_s=st.sampled_from([0.0, 1.6]))
def test_script_hides_the_parents_that_python_hides(
    engine: MiniRacer, tmp_path_factory: pytest.TempPathFactory, seed: int, min_duration_s: float
) -> None:
    labels = ("Animal", "Domestic animals, pets", "Dog", "Bark", "Speech", "no class of AudioSet", "Cat")
    framewise = np.random.default_rng(seed).beta(0.8, 0.8, (80, len(labels))).astype(np.float32)
    framewise = np.repeat(framewise, 3, axis=0)
    result = made_up(framewise, labels=labels)
    text = page(result, tmp_path_factory.mktemp("page"), min_duration_s=min_duration_s)
    engine.call("take", json.dumps(data_of(text)))
    expected = hide_parents(
        result.events(threshold=0.5, min_duration_s=min_duration_s), min_duration_s=min_duration_s
    )
    found = json.loads(engine.call("leavesAt", 0.5))
    order = {label: i for i, label in enumerate(labels)}
    assert [(e["label"], e["onset_s"], e["offset_s"], e["probability"]) for e in found] == [
        tuple(event) for event in sorted(expected, key=lambda e: (e.onset_s, order[e.label]))
    ]


@pytest.mark.parametrize("name", ["tsv", "csv", "audacity", "raven"])
@pytest.mark.parametrize("threshold", [0.5, 0.99])
def test_downloads_are_what_python_writes(
    engine: MiniRacer, tmp_path: Path, name: str, threshold: float
) -> None:
    """Byte for byte, the file of a recording without events included."""
    labels = ("Bark", 'Chirp, "tweet"', "Fowl")
    framewise = (np.random.default_rng(3).beta(0.5, 0.7, (200, 3)) * 0.98).astype(np.float32)
    result = made_up(framewise, labels=labels, ids=("/m/07qf0zm", "/t/1", "/m/025rv6n"))
    engine.call("take", json.dumps(data_of(page(result, tmp_path, title="a, b.wav"))))
    form, events = FORMATS[name], result.events(threshold=threshold)
    assert bool(events) == (threshold < 0.99)
    recording = Recording("a, b.wav", events, result.duration_s)
    assert engine.call("written", name, threshold) == "".join(form.text([recording]))


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
    assert {"waveform", "log-mel", "audio", "threshold", "filter"} <= set(ids)
    # Only the page's own script runs: the policy names its digest.
    (script_text,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script_text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    # Every control says what it is: by a label around it, its own text, or an attribute.
    for tag in ("input", "button"):
        assert [attributes for name, attributes in parser.found if name == tag]
    (slider,) = [attributes for _, attributes in parser.found if attributes.get("role") == "slider"]
    assert slider["tabindex"] == "0"
    assert slider["aria-label"]


def test_scripts_parse(engine: MiniRacer) -> None:
    script = (ROOT / "pannsx" / "report" / "page.js").read_text("utf-8")
    engine.eval(f"new Function({json.dumps(script)}); 0")


def heard(text: str) -> bytes:
    """The audio inside a page."""
    parts = re.findall(r'<script type="text/plain" class="sound">([^<]*)</script>', text)
    return b"".join(map(base64.b64decode, parts))


@pytest.mark.parametrize(
    ("codec", "rate", "expected_rate", "kind"),
    [
        ("opus", 16_000, 16_000, "audio/ogg; codecs=opus"),
        ("opus", 44_100, 48_000, "audio/ogg; codecs=opus"),
        ("mp3", 16_000, 32_000, "audio/mpeg"),
    ],
)
def test_audio_is_a_small_copy(tmp_path: Path, codec: Any, rate: int, expected_rate: int, kind: str) -> None:
    """The same sound at the same time, beyond full scale too; three blocks, as libsndfile fails at once."""
    t = np.arange(21 * rate) / rate
    tone = np.sin(2 * np.pi * 440 * t) * (1.6 + np.sin(2 * np.pi * 0.3 * t))
    source = np.stack([tone, tone], axis=1).astype(np.float32)
    result = made_up(np.full((105, 2), 0.6, np.float32), 21.0)
    text = page(result, tmp_path, source, rate, codec=codec)
    assert data_of(text)["audio"]["type"] == kind
    samples, found_rate = soundfile.read(io.BytesIO(heard(text)), dtype="float32")
    assert found_rate == expected_rate
    assert abs(len(samples) / found_rate - 21.0) < 0.1  # MP3 frames are whole
    at = np.arange(len(samples)) / found_rate
    wanted = np.sin(2 * np.pi * 440 * at) * (1.6 + np.sin(2 * np.pi * 0.3 * at)) / 2.6
    n = round(20.5 * found_rate)
    error = samples[:n] - wanted[:n]
    assert np.sqrt(np.mean(error**2) / np.mean(wanted**2)) < LOSSY


LOSSY = 0.1  # relative error of a tone after 40 kbit/s; a shift by a sample or a clipped peak is more


def test_audio_linked_or_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    source = folder / 'it\'s "50%" <b>#1.wav'
    soundfile.write(source, noise(16_000), 16_000)
    result = made_up(np.full((5, 2), 0.6, np.float32), 1.0)
    text = page(result, tmp_path, source, player="link")
    assert data_of(text)["audio"]["link"] == "recordings/it%27s%20%2250%25%22%20%3Cb%3E%231.wav"
    assert heard(text) == b""
    assert "media-src 'self' file:;" in text
    text = page(result, tmp_path, source, player="none")
    assert data_of(text)["audio"] is None
    assert 'id="log-mel"' in text
    assert "<audio" not in text
    with pytest.raises(ValueError, match="only a file can be linked"):
        page(result, tmp_path, noise(16_000), 16_000, player="link")
    for name in ("player", "codec"):
        with pytest.raises(ValueError, match=f"{name} is 'wav'"):
            page(result, tmp_path, source, **{name: "wav"})


def test_addresses_are_relative_and_escaped(tmp_path: Path) -> None:
    assert relative_address(tmp_path / "a" / "b c.html", tmp_path) == "a/b%20c.html"
    assert relative_address(tmp_path / "x.wav", tmp_path / "pages" / "sub") == "../../x.wav"
    assert relative_address(tmp_path / "javascript:alert(1).wav", tmp_path) == "javascript%3Aalert%281%29.wav"
    assert relative_address(tmp_path / "ä.wav", tmp_path) == "%C3%A4.wav"


def test_a_part_of_a_recording(tagger: AudioTagger, tmp_path: Path) -> None:
    part = {"start_s": 4.0, "duration_s": 2.5}
    result = tagger.inference(SCENE, start_s=4.0, duration_s=2.5)
    text = page(result, tmp_path, SCENE, **part)
    assert soundfile.info(io.BytesIO(heard(text))).duration == pytest.approx(2.5, abs=1e-3)
    assert data_of(page(result, tmp_path, SCENE, player="link", **part))["audio"]["start_s"] == 4.0


def test_page_says_where_it_comes_from(tagger: AudioTagger, tmp_path: Path) -> None:
    text = page(tagger.inference(SCENE), tmp_path, SCENE)
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert facts["File"] == "scene.flac"
    assert facts["SHA-256"] == hashlib.sha256(SCENE.read_bytes()).hexdigest()
    assert facts["Model"] == "MobileNetV1_distilled"
    assert facts["Made by"] == f"pannsx {__version__}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", facts["Date"])
    assert facts["Length"] == "8.6 s"


def test_calibrated_thresholds_are_used_and_named(tmp_path: Path) -> None:
    """Below the slider's range, too."""
    framewise = np.full((5, 2), 0.03, np.float32)
    points = OperatingPoints({"Bark": OperatingPoint(0.02)}, rule="best F1")
    result = made_up(framewise, labels=("Bark", "Speech"), points=points)
    text = page(result, tmp_path)
    data = data_of(text)
    assert data["own_events"] == [[0, 0.0, result.duration_s, pytest.approx(0.03)]]
    assert [(each["label"], each["runs"]) for each in data["classes"]] == [("Bark", [])]
    assert data["own_thresholds"] == "Calibrated thresholds"
    assert "calibrated threshold (best F1)" in text
    assert data_of(page(result, tmp_path, threshold=0.3))["own_thresholds"] == ""
    assert data_of(page(result, tmp_path, threshold={"Bark": 0.02}))["own_thresholds"] == "Given thresholds"


def test_groups() -> None:
    labels = ("Speech", "Bark", "Guitar", "of my own")
    groups = groups_of(labels)
    assert [None if i is None else groups.names[i] for i in groups.of] == [
        "Human sounds", "Animal", "Music", None,
    ]  # fmt: skip
    assert groups_of(("Animal", "Dog", "Bark", "Speech")).above == ((), (0,), (1, 0), ())
    own = groups_of(labels, {"Mine": ["of my own", "Bark"], "Voices": ["Speech"]})
    assert own.names == ("Mine", "Voices")
    assert own.of == (1, 0, None, 0)
    assert groups_of(("of my own",)).names == ()
    with pytest.raises(ValueError, match="Barc"):
        groups_of(labels, {"Mine": ["Barc"]})


def test_a_page_from_blocks_is_the_page_of_the_whole(tagger: AudioTagger, tmp_path: Path) -> None:
    """Frames that come block by block are not kept, and give the same page."""
    long = tmp_path / "long.wav"
    waveform, rate = soundfile.read(SCENE, dtype="float32")
    soundfile.write(long, np.tile(waveform, 4), rate)
    reader = FrameReader(tagger)
    maker = PageMaker(reader, EventSettings(threshold=0.4), None, player="none")
    result = reader.tag(long, on_frames=maker.push)
    assert result.framewise is None
    maker.write(result, tmp_path / "page.html", Sound(long), title="long.wav")
    text = (tmp_path / "page.html").read_text("utf-8")
    whole = page(tagger.inference(long), tmp_path, long, threshold=0.4, player="none")
    assert DATE.sub("", text) == DATE.sub("", whole)


DATE = re.compile(r"<dt>Date</dt><dd>[^<]*</dd>")


def test_stereo_of_cd_rate_stays_small(tmp_path: Path) -> None:
    """Its audio takes 0.45 MB of text a minute at most, so that twenty minutes stay below 12 MB."""
    rng = np.random.default_rng(0)
    waveform = (0.2 * rng.standard_normal((10 * 44_100, 2))).astype(np.float32)
    text = page(made_up(np.full((50, 2), 0.6, np.float32), 10.0), tmp_path, waveform, 44_100)
    assert len(heard(text)) * 4 / 3 < 450_000 / 6


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>&<i>{{data}}"
    result = made_up(np.full((5, 2), 0.9, np.float32), labels=(evil, "plain"))
    text = page(result, tmp_path, title=evil)
    assert "<script>alert" not in text
    assert "<i>" not in text
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
    text = page(result, tmp_path, waveform, 32_000, player="none")
    assert len(text.encode()) < PAGE_BYTES
    assert "less probable classes" in text


def test_scores_are_exact_above_the_floor() -> None:
    rng = np.random.default_rng(1)
    framewise = rng.random((200, 30)).astype(np.float32) ** 4
    framewise[:, 5] = 0.01
    floors = np.full(30, LEAST_THRESHOLD, np.float32)
    scores = Scores(floors)
    for begin in range(0, 200, 30):  # a run goes on across blocks
        scores.push(framewise[begin : begin + 30])
    packed = scores.packed(tuple(map(str, range(30))), 40.0)
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
    scores = Scores(floors[:3])
    scores.push(many)
    assert scores.packed(("a", "b", "c"), 60.0)["n_classes_left_out"] == 1
    assert scores.packed(("a", "b", "c"), 3600.0)["n_classes_left_out"] == 0  # a longer page may be larger


@pytest.mark.parametrize("seconds", [0.001, 0.5, 10.0, 47.3, 95.0])
def test_overview(seconds: float) -> None:
    n_samples = round(seconds * 32_000)
    waveform = (0.01 * noise(n_samples)).astype(np.float32)
    at = n_samples * 2 // 3
    waveform[at] = 0.9
    seen = overview_of(Sound(waveform, Selection(32_000)))
    assert seen.duration_s == n_samples / 32_000
    assert len(seen.peaks) == len(seen.log_mel) == -(-n_samples // round(seen.column_s * 32_000))
    assert len(seen.peaks) <= MOST_COLUMNS
    assert int(seen.peaks[:, 1].argmax()) == int(at / 32_000 / seen.column_s)
    assert seen.peaks[:, 1].max() == np.float32(0.9)
    assert seen.peaks[:, 0].min() == waveform.min()


def test_bands_are_where_their_frequencies_are() -> None:
    for frequency in (200, 1000, 5000):
        sine = np.sin(2 * np.pi * frequency * np.arange(32_000) / 32_000).astype(np.float32)
        loudest = int(overview_of(Sound(sine, Selection(32_000))).log_mel[50].argmax())
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
    options = ["--threshold", "0.3", "--gap", "0.5", "--audio", "none", "--start", "2", "--duration", "3.5"]
    assert main(["report", str(SCENE), "-o", str(target), *options]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"pannsx: wrote {target} (")
    assert "3.5 s of audio" in said
    data = data_of(target.read_text("utf-8"))
    assert data["name"] == "scene.flac"
    assert (data["threshold"], data["max_gap_s"], data["audio"]) == (0.3, 0.5, None)
    assert main(["report", "no such file.wav", "-o", str(target)]) == 1
    assert "no such file.wav" in capsys.readouterr().err
    assert main(["report", str(SCENE), "-o", str(target), "--threshold", "0"]) == 2
    assert "threshold is 0.0" in capsys.readouterr().err
    assert main(["report", str(SCENE), "-o", str(tmp_path / "page.txt")]) == 2
    assert "give a name that ends in .html" in capsys.readouterr().err
    assert main(["report", "-", "-o", str(target), "--audio", "link"]) == 2
    assert "standard input cannot be linked" in capsys.readouterr().err
    assert main(["report", str(SCENE), "-o", str(target), "--groups", str(tmp_path / "none.json")]) == 1
    assert "cannot read" in capsys.readouterr().err


def test_cli_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page for each recording in folders like theirs, an index with escaped names, and what failed."""
    recordings, pages = tmp_path / "recordings", tmp_path / "pages"
    (recordings / "sub").mkdir(parents=True)
    names = ["a.wav", "a.flac", "sub/it's <b> & 100% #1.wav"]
    for name in names:
        soundfile.write(recordings / name, noise(16_000) * 0.1, 16_000)
    (recordings / "bad <i>.wav").write_bytes(b"no audio")
    arguments = ["report", str(recordings), "--audio", "none"]
    assert main([*arguments, "-o", str(pages)]) == 1
    said = capsys.readouterr().err
    assert "bad <i>.wav" in said
    assert re.search(r"wrote .*pages, 4 files \(.* kB\): 3 of 4 done, 1 failed", said)
    for name in names:
        assert data_of((pages / f"{name}.html").read_text("utf-8"))["name"] == Path(name).name
    index = (pages / "index.html").read_text("utf-8")
    parser = Everything()
    parser.feed(index)
    assert parser.open == []
    links = [attributes["href"] for tag, attributes in parser.found if tag == "a"]
    assert links == ["a.flac.html", "a.wav.html", "sub/it%27s%20%3Cb%3E%20%26%20100%25%20%231.wav.html"]
    assert "<i>" not in index.replace("&lt;i&gt;", "")
    assert re.search(r"bad &lt;i&gt;.wav</b>: is not audio", index)
    soundfile.write(recordings / "index", noise(16_000), 16_000, format="WAV")
    page_file = tmp_path / "page.html"
    page_file.touch()
    for files, output, message in (
        ([recordings / "index", recordings / "a.wav"], pages, "would be index.html"),
        ([recordings], page_file, "is a file; a folder is needed"),
        ([recordings], tmp_path / "all.html", "is named as a page"),
    ):
        assert main(["report", *map(str, files), "-o", str(output)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("sizes", [[1], [7, 1, 30], [9_000], [3_999, 1, 1, 8_000, 333]])
def test_columns_do_not_depend_on_the_blocks(sizes: list[int]) -> None:
    frames = np.random.default_rng(sum(sizes)).random((sum(sizes), 3)).astype(np.float32)
    columns = Columns(3)
    for stop, size in zip(np.cumsum(sizes), sizes, strict=True):
        columns.push(frames[stop - size : stop])
    values, size = columns.values()
    assert len(values) <= MOST_COLUMNS
    assert columns.n_frames == len(frames)
    expected = [frames[i : i + size].max(axis=0) for i in range(0, len(frames), size)]
    np.testing.assert_array_equal(values, expected)

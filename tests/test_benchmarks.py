"""The benchmarks' statistics, the names of their results and the page made of them; nothing is timed here."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from benchmarks import all as every
from benchmarks import (
    bundled_page,
    harness,
    networks,
    plots,
    recordings,
    report,
    results,
    runs,
    timing,
    transfer,
    transfer_page,
)
from benchmarks.peers import gather, without_folders
from benchmarks.results import Absent, Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import Times
from pannsx.models import ARCHITECTURES
from pannsx.models.zoo import build
from pannsx.weights import manifest

ROOT = Path(__file__).resolve().parents[1]
CONDITIONS: dict[str, Any] = {
    "device": "cpu", "cpu": "Some(R) Processor, 9th", "threads": 2, "rounds": 3, "commit": "0123456789abc",
    "cpu_capability": "AVX2", "system": "Linux x86_64", "python": "3.12.0", "libraries": {"torch": "2.4.0"},
    "peers": {"soxr": "1.0", "librosa": None}, "time_utc": "2026-01-31T09:30:00+00:00",
}  # fmt: skip
PROBABILITY = 2e-5
"""Absolute, of a probability: in float32 against float64, as the package promises."""

OURS, PEER = "pannsx", "a | peer <quick & dirty>"


def entry(name: str, *seconds: float, **errors: float) -> Entry:
    return Entry(name, Times(seconds), errors)


def findings(peer_s: float = 0.004) -> Findings:
    return Findings(
        comparisons=[
            Comparison("10 s", (entry(OURS, 0.001, 0.002, 0.001), entry(PEER, *[peer_s] * 3, error=1e-5))),
            Comparison("8 kHz", (entry(OURS, 0.001), entry(PEER, 0.0005)), group="rates"),
            Comparison("9 kHz", (entry(OURS, 0.001), entry(PEER, 0.002)), group="rates"),
        ],
        facts=[Fact("an hour", 0.3, "s")],
        goals=[Goal("times faster", peer_s / 0.001, at_least=3.0, aim=5.0)],
        absent=[Absent("another", "not installed")],
    )


def stored(folder: Path, hour: int, peer_s: float = 0.004, **changed: object) -> Path:
    conditions = {**CONDITIONS, "time_utc": f"2026-01-31T{hour:02}:30:00+00:00", **changed}
    return results.write("frontend", "How fast?", conditions, findings(peer_s), folder)


# statistics


def test_ratio_is_of_neighbours() -> None:
    # The machine was half as quick in the second round: both took twice as long.
    assert timing.paired_ratio([2, 4, 2], [1, 2, 1]) == 2
    assert timing.paired_difference([3.0, 9.0, 4.0], [1.0, 2.0, 1.0]) == 3.0


@pytest.mark.parametrize("function", [timing.paired_ratio, timing.paired_difference])
def test_unpaired_rounds_are_refused(function: Callable[[list[float], list[float]], float]) -> None:
    with pytest.raises(ValueError, match="got 2 and 1 rounds"):
        function([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="at least one"):
        function([], [])


def test_candidates_alternate() -> None:
    clock = itertools.count()
    called: list[str] = []
    candidates = {name: lambda name=name: called.append(name) for name in "ab"}
    how = {"warm_ups": 1, "shortest_s": 0, "clock": lambda: float(next(clock))}
    times = timing.alternate(candidates, rounds=3, **how)
    assert called == ["a", "b"] * 4
    assert times["a"].seconds == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="at least 1"):
        timing.alternate(candidates, rounds=0)


def test_quick_candidates_are_repeated() -> None:
    clock = itertools.count()
    called: list[str] = []
    how = {"warm_ups": 0, "shortest_s": 0.010, "clock": lambda: next(clock) / 1000}
    times = timing.alternate({"a": lambda: called.append("a")}, rounds=2, **how)
    assert len(called) == 1 + 2 * 10
    assert times["a"].median == pytest.approx(0.001 / 10)


def test_calls_after_a_pause_do_not_count() -> None:
    clock = itertools.count()
    called: list[str] = []
    how = {"warm_ups": 0, "lead_s": 3, "shortest_s": 0, "clock": lambda: float(next(clock))}
    times = timing.alternate({"a": lambda: called.append("a")}, rounds=2, **how)
    assert len(called) == 2 * (2 + 1)
    assert times["a"].seconds == (1.0, 1.0)


def test_bounds() -> None:
    assert Goal("", 2.0, at_least=2.0).held
    assert not Goal("", 1.9, at_least=2.0).held
    assert not Goal("", float("nan"), at_most=1.0).held
    assert Goal("", 1.0, at_most=1.0, aim=0.5).bound == "at most 1, aim 0.5"


def test_those_who_fail_are_named() -> None:
    def fails() -> Callable[[], object]:
        raise RuntimeError("no model at /home" + "/me/data/yamnet.tflite")

    def is_absent() -> Callable[[], object]:
        raise ImportError("No module named 'soxr'")

    absent: list[Absent] = []
    for _ in range(2):
        made = gather([("good", lambda: lambda: 1), ("bad", fails), ("gone", is_absent)], absent)
        assert list(made) == ["good"]
    assert absent == [
        Absent("bad", "RuntimeError: no model at yamnet.tflite"),
        Absent("gone", "not installed (No module named 'soxr')"),
    ]
    assert without_folders("1 / 2, a/b") == "1 / 2, a/b"


# files of results


@pytest.mark.parametrize("name", ["Cnn14", "Wavegram_Cnn14", "Wavegram_Logmel_Cnn14"])
def test_networks_for_peers_take_what_their_stems_need(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = manifest.find(name)
    row: Any = ARCHITECTURES[record.architecture]
    narrow = replace(row, trunk=replace(row.trunk, widths=(8,) * len(row.trunk.widths)), embedding=12)
    monkeypatch.setitem(ARCHITECTURES, record.architecture, narrow)
    model = build(record.architecture, record.sample_rate, record.frontend, 5).eval()
    waveform = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    given = networks.inputs(model)(waveform)
    tensors = [torch.from_numpy(given[key]) if key in given else None for key in ("log_mel", "waveform")]
    with torch.inference_mode():
        probabilities, embedding = networks.ClipNetwork(model)(*tensors)
    assert embedding.shape == (1, 12)
    exact = networks.exact_probabilities(model, waveform)
    np.testing.assert_allclose(probabilities[0].numpy(), exact, atol=PROBABILITY)


def test_names_say_the_conditions() -> None:
    name = results.file_name("frontend", CONDITIONS)
    assert name == "frontend_cpu-2threads_some-processor-9th_2026-01-31T0930.json"
    card = {**CONDITIONS, "device": "cuda", "device_name": "NVIDIA H200"}
    assert results.file_name("models", card) == "models_cuda_nvidia-h200_2026-01-31T0930.json"
    assert results.slug("(R)") == "unknown"


def test_results_come_back(tmp_path: Path) -> None:
    stored(tmp_path, 11)
    path = stored(tmp_path, 9)
    first, second = results.read_all(tmp_path)
    assert first["conditions"]["time_utc"] < second["conditions"]["time_utc"]
    assert first == json.loads(path.read_text("utf-8"))
    ours, peer = first["comparisons"][0]["entries"]
    assert (ours["median_s"], ours["ratio_to_first"]) == (0.001, 1.0)
    assert (peer["ratio_to_first"], peer["errors"]) == (4.0, {"error": 1e-5})
    assert first["goals"][0]["held"]
    assert '"seconds": [ 0.001, 0.002, 0.001 ]' in path.read_text("utf-8")


@pytest.mark.parametrize("path", sorted(results.FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_committed_results_are_named_by_their_conditions(path: Path) -> None:
    result = json.loads(path.read_text("utf-8"))
    assert path.name == results.file_name(result["benchmark"], result["conditions"])
    assert result["benchmark"] in every.QUESTIONS


# the page


def test_latest_runs_stand_side_by_side(tmp_path: Path) -> None:
    for hour, peer_s in ((7, 0.1), (8, 0.002), (9, 0.004)):
        stored(tmp_path, hour, peer_s)
    stored(tmp_path, 6, threads=1)
    stored(tmp_path, 5, cpu="Another")
    two, one, other = runs.gather_runs(results.read_all(tmp_path))
    assert (two.where, one.where) == ("Some(R) Processor, 9th, 2 threads", "Some(R) Processor, 9th, 1 thread")
    assert other.machine == "Another"
    assert two.tables()[0].rows[1].ratios == (2.0, 4.0)
    (target,) = two.targets()
    assert (target.measured, target.held) == ((2.0, 4.0), (False, True))
    assert len(one.results) == 1


def test_page_says_what_was_found(tmp_path: Path) -> None:
    stored(tmp_path, 8, 0.002)
    stored(tmp_path, 9, 0.004)
    written = report.pages(results.read_all(tmp_path))
    page = written[report.PAGE]
    assert "| times faster | 2 | at least 3, aim 5 | 2, 4 | **missed** in 1 of 2 runs |" in page
    assert "| a \\| peer <quick & dirty> | 4 ms | 2, 4 | 1.0e-05 |" in page
    assert "| 8 kHz | 1 ms | 0.5, 0.5 |" in page
    assert "| an hour | 0.3, 0.3 s |" in page
    assert "Not in the latest run: another (not installed)." in page
    assert "2026-01-31 08:30 UTC (commit 012345678)" in page
    assert "torch 2.4.0, soxr 1.0" in page
    assert "](../images/benchmark_frontend.svg)" in page
    assert set(written) == {report.PAGE, "images/benchmark_frontend.svg"}


def test_page_says_what_is_missing(tmp_path: Path) -> None:
    stored(tmp_path, 9)
    assert "held in the one run so far" in report.pages(results.read_all(tmp_path))[report.PAGE]
    stored(tmp_path, 9, 0.001)
    assert "| **missed** |" in report.pages(results.read_all(tmp_path))[report.PAGE]


def test_plots_are_pictures(tmp_path: Path) -> None:
    for hour, peer_s in ((8, 0.002), (9, 0.4)):
        stored(tmp_path, hour, peer_s)
    (found,) = runs.gather_runs(results.read_all(tmp_path))
    panels = plots.plotted(found.tables())
    assert [(heading, len(rows)) for heading, rows in panels] == [("10 s", 1), (f"rates: {PEER}", 2)]
    tree = ElementTree.fromstring(plots.picture(panels, 'a "picture"'))
    width, height = (float(size) for size in tree.attrib["viewBox"].split()[2:])
    circles = [node.attrib for node in tree.iter() if node.tag.endswith("circle")]
    assert len(circles) == 6, "three rows of two runs"
    assert all(0 < float(c["cx"]) < width and 0 < float(c["cy"]) < height for c in circles)
    xs = [float(circle["cx"]) for circle in circles]
    assert xs[0] < xs[1], "the slower run of the two lies to the right"
    assert PEER in {node.text for node in tree.iter()}


def test_others_alone_are_not_plotted() -> None:
    table = runs.Table("", "", "", (runs.Row("ragged", 1.0, (1.0,), {}), runs.Row("equal", 1.0, (1.0,), {})))
    assert plots.plotted([table]) == []


def test_transfer_page_is_up_to_date() -> None:
    committed = transfer_page.PAGE.read_text("utf-8")
    assert committed == transfer_page.page(), "run `python -m benchmarks.transfer_page`"


def test_bundled_scores_are_up_to_date() -> None:
    scores = bundled_page.read_scores()
    again = "run `python -m benchmarks.bundled_page`"
    assert bundled_page.PAGE.read_text("utf-8") == bundled_page.page(scores), again
    assert bundled_page.PICTURE.read_text("utf-8") == bundled_page.picture(scores["pool"]["kinds"]), again
    readme = bundled_page.README.read_text("utf-8")
    assert readme == bundled_page.readme(readme, scores), again


def test_transfer_scores_are_of_what_their_names_say() -> None:
    kept = {path.name for path in transfer.RESULTS.iterdir()}
    paths = itertools.starmap(transfer.result_path, itertools.product(transfer.EPOCHS, transfer.WAYS))
    named = {path.name for path in paths}
    assert kept
    assert kept <= named
    for data_set, epochs in transfer.EPOCHS.items():
        for way in transfer.WAYS:
            path = transfer.result_path(data_set, way)
            if path.exists():
                found = json.loads(path.read_text("utf-8"))
                assert (found["mode"], found["layers"]) == (way.mode, way.layers)
                assert way.mode != "tuned" or found["epochs"] == epochs
                assert found["model"] == "MobileNetV1_distilled"


def test_committed_page_is_up_to_date() -> None:
    for name, text in report.pages(results.read_all()).items():
        assert (ROOT / "docs" / name).read_text("utf-8") == text, "run `python -m benchmarks.report`"


# scripts


@pytest.mark.parametrize("name", [*every.QUESTIONS, "all", "report"])
def test_scripts_say_what_they_do(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m benchmarks.{name}" in shown
    if name in every.QUESTIONS:
        assert "--quick" in shown
        assert module.QUESTION.name == name
        assert module.QUESTION.text.endswith("?")


def test_every_question_has_its_place_on_the_page() -> None:
    assert set(report.ORDER) == set(every.QUESTIONS)


def test_impossible_numbers_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    question = harness.Question("frontend", "How fast?", rounds=3)
    monkeypatch.setattr(sys, "argv", ["frontend", "--threads", "0"])
    with pytest.raises(SystemExit):
        harness.run(question, lambda _: Findings())
    assert "must be at least 1" in capsys.readouterr().err


def test_pieces_are_measured_once_and_until_the_time_is_up(tmp_path: Path) -> None:
    from benchmarks.corpus import Pieces

    done: list[str] = []

    def work() -> dict[str, int]:
        done.append("piece")
        return {"s": len(done)}

    for _ in range(2):
        assert Pieces(tmp_path, 1).measure("one", work) == {"s": 1}
    late = Pieces(tmp_path, -1)
    assert late.measure("one", work) == {"s": 1}
    with pytest.raises(SystemExit, match="before the piece two; the same command goes on"):
        late.measure("two", work)
    assert done == ["piece"]


def test_recordings_have_their_length(tmp_path: Path) -> None:
    recordings.write(tmp_path / "a.flac", 13)
    waveform, rate = soundfile.read(tmp_path / "a.flac")
    assert len(waveform) / rate == 13
    assert 0.1 < np.abs(waveform).max() < 1

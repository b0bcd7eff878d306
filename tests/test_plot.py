"""The figure of a result: its panels, its formats, and what it says where it cannot be drawn."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pannsx import AudioTagger, TaggingResult
from pannsx.cli import main

ROOT = Path(__file__).resolve().parents[1]
SCENE = ROOT / "examples" / "scene.flac"
MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture(scope="module")
def result() -> TaggingResult:
    return AudioTagger(device="cpu").inference(SCENE)


def test_panels(result: TaggingResult) -> None:
    figure = result.plot(audio=SCENE, n_classes=4, threshold=0.4)
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    waveform, log_mel, classes, events = panels
    assert waveform.get_ylabel() == "waveform"
    assert log_mel.get_ylabel() == "frequency (kHz)"
    assert result.framewise is not None
    greatest = result.framewise.max(axis=0)
    likeliest = [result.labels[k] for k in np.argsort(-greatest, kind="stable")[:4]]
    assert [label.get_text() for label in classes.get_yticklabels()] == likeliest
    shown = {label.get_text() for label in events.get_yticklabels()}
    assert shown == {result.labels[k] for k in np.flatnonzero(greatest >= 0.4)}
    for axes in panels:
        assert axes.get_xlim() == (0, result.duration_s)


def test_without_audio_and_without_events(result: TaggingResult) -> None:
    figure = result.plot(threshold=1.0)
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 1
    assert len(panels[0].get_yticklabels()) == 8


@pytest.mark.parametrize("suffix", list(MAGIC))
def test_files(result: TaggingResult, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"scene{suffix}"
    result.plot(target, n_classes=2)
    assert target.read_bytes().startswith(MAGIC[suffix])
    assert list(tmp_path.iterdir()) == [target]


def test_errors_write_nothing(result: TaggingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"cannot write 'scene\.docx'.*\.png"):
        result.plot(tmp_path / "scene.docx")
    with pytest.raises(ValueError, match="n_classes is 0"):
        result.plot(tmp_path / "scene.png", n_classes=0)
    with pytest.raises(ValueError, match="threshold"):
        result.plot(tmp_path / "scene.png", threshold=2.0)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'pannsx\[plot\]'"):
        result.plot(tmp_path / "scene.png")
    assert not list(tmp_path.iterdir())


def test_cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "scene.png"
    assert main(["plot", str(SCENE), "-o", str(target), "--classes", "3"]) == 0
    assert target.read_bytes().startswith(MAGIC[".png"])
    assert main(["plot", str(SCENE), "-o", str(tmp_path / "scene.docx")]) == 2
    assert "docx" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["plot", str(SCENE), "-o", str(target)]) == 1
    assert "pannsx[plot]" in capsys.readouterr().err


def test_a_long_recording(result: TaggingResult) -> None:
    """Times as a clock, panels up to the end, and a short event that can be seen."""
    n_frames = 5_000
    framewise = np.zeros((n_frames, len(result.labels)), np.float32)
    framewise[2_000, 0] = 0.9
    framewise[-1, 1] = 0.8
    duration_s = n_frames * 0.32 + 0.3  # sound after the last whole frame
    long = replace(
        result,
        framewise=framewise,
        duration_s=duration_s,
        grid=replace(result.grid, hop_s=0.32, offset_s=0.16),
    )
    figure = long.plot(threshold=0.5, n_classes=2, title="costs $5 or $6")
    classes, events = (axes for axes in figure.axes if axes.get_label() != "<colorbar>")
    assert events.get_xlabel() == "time (m:ss)"
    ticks = [label.get_text() for label in events.get_xticklabels()]
    assert ticks == ["0:00", "5:00", "10:00", "15:00", "20:00", "25:00"]
    (mesh,) = classes.collections
    edges = mesh.get_coordinates()[0, :, 0]  # type: ignore[attr-defined]
    assert (edges[0], edges[-1]) == (0.0, pytest.approx(duration_s))
    spans = [path.get_extents() for bars in events.collections for path in bars.get_paths()]
    assert sorted(span.width for span in spans) == pytest.approx([duration_s / 500] * 2)
    for span in spans:
        assert 0 <= span.x0 < span.x1 <= duration_s + 1e-9
    figure.canvas.draw()  # a pair of dollar signs is no formula


def test_cli_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures"
    target.mkdir()
    assert main(["plot", str(SCENE), "-o", str(target), "--classes", "2", "--format", "svg"]) == 0
    assert (target / "scene.flac.svg").read_bytes().startswith(MAGIC[".svg"])
    assert '<img src="scene.flac.svg"' in (target / "index.html").read_text("utf-8")
    assert "2 files" in capsys.readouterr().err

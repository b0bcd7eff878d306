"""The figure of a result: its panels, its formats, and what it says where it cannot be drawn."""

from __future__ import annotations

import sys
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

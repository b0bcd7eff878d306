"""The log-mel in NumPy alone, and the golden vectors for ports to other languages."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pannsx.frontend.definition import mel_filters, reference_log_mel
from pannsx.frontend.settings import FrontEnd
from pannsx.weights.manifest import load_manifest

ROOT = Path(__file__).resolve().parents[1]
PORT = ROOT / "examples" / "onnx" / "log_mel.py"
VECTORS = ROOT / "examples" / "onnx" / "log_mel_vectors.json"

ROUNDED = 1e-4
"""Decibels: the vectors have four decimals."""


@pytest.fixture(scope="module")
def port() -> ModuleType:
    spec = importlib.util.spec_from_file_location("log_mel", PORT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numpy_alone() -> None:
    tree = ast.parse(PORT.read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"json", "sys", "numpy"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def test_vectors_are_the_definition_of_every_front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    vectors = json.loads(VECTORS.read_text("utf-8"))["vectors"]
    rebuilt = json.loads(importlib.import_module("build_log_mel_vectors").text())["vectors"]
    fronts = [FrontEnd(**each["settings"]) for each in vectors]
    assert set(fronts) == {record.frontend for record in load_manifest().values()} - {None}
    for stored, made, front in zip(vectors, rebuilt, fronts, strict=True):
        assert stored["samples"] == made["samples"]
        needed = reference_log_mel(np.array(stored["samples"]) / 32768, front)
        np.testing.assert_allclose(stored["log_mel"], needed, atol=ROUNDED)


def test_port_gives_the_vectors(port: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    port.check(VECTORS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(json.loads(VECTORS.read_text("utf-8"))["vectors"])
    assert all(float(line.split("at most ")[1].split(" dB")[0]) <= ROUNDED for line in lines)


def test_port_of_other_settings(port: ModuleType) -> None:
    front = FrontEnd(sample_rate=44100, n_fft=2048, hop_length=441, n_mels=40, fmin=0, fmax=22050)
    settings = {name: getattr(front, name) for name in ("sample_rate", "n_fft", "n_mels", "fmin", "fmax")}
    np.testing.assert_allclose(port.mel_filters(**settings), mel_filters(front), atol=1e-12)
    samples = np.random.default_rng(0).standard_normal(5000)
    found = port.log_mel(samples, hop_length=front.hop_length, **settings)
    np.testing.assert_allclose(found, reference_log_mel(samples, front), atol=1e-9)

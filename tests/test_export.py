"""Exports to torch.export, and what no export can do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_models import seeded_model

from pannsx import labels
from pannsx.cli import main
from pannsx.errors import WeightsError
from pannsx.export import export
from pannsx.export.differences import TOLERANCE, broadband
from pannsx.export.torch_file import torch_runner
from pannsx.models.zoo import build
from pannsx.weights import LoadedCheckpoint, load, manifest


def seeded(name: str) -> LoadedCheckpoint:
    return LoadedCheckpoint(manifest.find(name), seeded_model(name), labels.audioset())


@pytest.mark.parametrize("name", ["LeeNet11", pytest.param("Cnn6", marks=pytest.mark.slow)])
def test_program_of_any_length(name: str, tmp_path: Path) -> None:
    max_pool1d = torch.nn.functional.max_pool1d
    found = export(seeded(name), tmp_path, form="torch")
    assert torch.nn.functional.max_pool1d is max_pool1d
    assert found.path.name == f"{name}.pt2"
    assert max(found.contract.measured.probabilities, found.contract.measured.embedding) <= TOLERANCE
    run = torch_runner(found.path)
    for batch, n_samples in ((1, 32000), (3, 40001)):
        assert run(broadband(n_samples, batch))[0].shape == (batch, 527)
    assert "any length" not in found.page_path.read_text("utf-8")


@pytest.mark.slow
def test_program_of_a_fixed_window(tmp_path: Path) -> None:
    found = export(load(), tmp_path, form="torch", window_s=1, float16=True)
    assert found.path.name == "MobileNetV1_distilled_1s_float16.pt2"
    assert found.contract.input.shape == ("batch", 32000)
    assert found.contract.numbers == "float16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["LeeNet11", "--input", "log_mel"], "LeeNet11 works on the waveform and has no log-mel"),
        (["Wavegram_Logmel_Cnn14", "--input", "log_mel"], "needs the waveform beside the log-mel"),
        (["MobileNetV1", "--window", "0.2"], "--window is 0.2; MobileNetV1 needs at least 0.31 s"),
    ],
)
def test_settings_that_do_not_fit(
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def untrained(name: str | None, **_: Any) -> LoadedCheckpoint:
        record = manifest.find(str(name))
        with torch.device("meta"):
            model = build(record.architecture, record.sample_rate, record.frontend, record.n_classes)
        return LoadedCheckpoint(record, model, labels.audioset())

    monkeypatch.setattr("pannsx.weights.loading.load", untrained)
    assert main(["export", *options, "--format", "torch", "-o", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    for arguments, message in (
        (["MobileNetV1_distilled", "-o", str(tmp_path / "file")], "--output names a folder"),
        (["MobileNetV1_distilld", "-o", str(tmp_path)], "did you mean 'MobileNetV1_distilled'"),
        (["MobileNetV1_distilled"], "required: -o"),
        (["MobileNetV1_distilled", "-o", "x", "--window", "ten"], "not a number"),
        (["MobileNetV1_distilled", "-o", "x", "--format", "onxx"], "did you mean 'onnx'"),
    ):
        assert main(["export", *arguments]) != 0
        assert message in capsys.readouterr().err


def test_without_the_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(WeightsError, match=r"pip install 'pannsx\[onnx\]'"):
        export("MobileNetV1_distilled", tmp_path)


def test_wrong_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="form is 'tf'"):
        export("MobileNetV1_distilled", tmp_path, form="tf")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="input_name is 'mel'"):
        export("MobileNetV1_distilled", tmp_path, form="torch", input_name="mel")  # type: ignore[arg-type]


def test_a_window_longer_than_the_shortest_input(tmp_path: Path) -> None:
    bundled = load()
    assert bundled.model.frontend is not None
    front = replace(bundled.model.frontend, n_fft=4096, hop_length=16)
    model = build("MobileNetV1", 32000, front, 527)
    with pytest.raises(ValueError, match="export with the log-mel as input"):
        export(bundled._replace(model=model), tmp_path, form="torch")

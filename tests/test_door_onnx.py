"""Exports to ONNX, run by ONNX Runtime: every architecture, every length and batch, and the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from parties import party
from seeded_models import published_classes, seeded_model
from torch import nn

from pannsx import AudioTagger, audio, labels
from pannsx.cli import main
from pannsx.errors import WeightsError
from pannsx.export import Exported, export
from pannsx.export import writing as export_writing
from pannsx.export.differences import TOLERANCE, Differences, broadband, log_mel_of, measure
from pannsx.export.front_end import add_log_mel
from pannsx.export.graph import Graph
from pannsx.export.network import OUTPUTS
from pannsx.export.onnx_file import onnx_runner, write_onnx
from pannsx.frontend.definition import reference_log_mel
from pannsx.frontend.settings import FrontEnd
from pannsx.models.pann import Pann
from pannsx.models.trunks.resnet import BasicBlock, Bottleneck
from pannsx.models.zoo import ARCHITECTURES, build
from pannsx.weights import LoadedCheckpoint, load, manifest

onnx = party("onnx", "onnx")
onnxruntime = party("onnxruntime", "onnx")

DECIBELS = 2e-3
"""Of a log-mel in float32 against float64, on sound with energy in every band: 1e-7 of the power of the
loudest bin, with bands up to 30 dB below it."""

FLOAT16 = 0.02
"""Of a probability with trunk and head in float16: 14 layers that each round to 5e-4."""

ROOT = Path(__file__).resolve().parents[1]
SCENE = ROOT / "examples" / "scene.flac"
TAG = ROOT / "examples" / "onnx" / "tag.py"

RESAMPLED = 0.01
"""Of a probability, between two band-limited resamplers there and back: they differ near half the rate."""

# Of each family the smallest; others, and those of more than 50 MB, are slow ones.
SMALL = ("Cnn6", "MobileNetV1", "MobileNetV2", "LeeNet11", "DaiNet19")
NARROW = (
    "Cnn14_16k", "Cnn14_8k", "Cnn14_DecisionLevelMax", "Cnn14_DecisionLevelAvg", "Cnn14_DecisionLevelAtt",
    "Wavegram_Cnn14", "Wavegram_Logmel_Cnn14", "ResNet22", "ResNet54",
)  # fmt: skip


def lively(model: Pann) -> Pann:
    """Norms that do something, for models that were only initialised."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values, low, high in (
                (module.weight, 0.8, 1.2), (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2), (module.running_var, 0.6, 1.4),
            ):  # fmt: skip
                nn.init.uniform_(values, low, high)
    return model.eval()


def narrow_model(name: str, monkeypatch: pytest.MonkeyPatch) -> Pann:
    """An architecture with 16 channels in each block, and little else."""
    record = manifest.find(name)
    row = ARCHITECTURES[record.architecture]
    trunk: Any = row.trunk
    narrow_trunk = replace(trunk, widths=(16,) * len(trunk.widths))
    if any(field.name == "out_channels" for field in fields(trunk)):
        narrow_trunk = replace(narrow_trunk, out_channels=16)
    narrow = replace(row, trunk=narrow_trunk, embedding=24)
    monkeypatch.setitem(ARCHITECTURES, record.architecture, narrow)
    torch.manual_seed(1)
    return lively(build(record.architecture, record.sample_rate, record.frontend, 10))


@pytest.fixture(scope="module")
def bundled() -> LoadedCheckpoint:
    return load()


@pytest.fixture(scope="module")
def exported(bundled: LoadedCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(bundled, tmp_path_factory.mktemp("exported"))


def differences(model: Pann, folder: Path, **options: Any) -> Differences:
    """The greatest differences of an export from the model."""
    given = {"from_log_mel": False, "n_samples": None, **options}
    path = folder / "model.onnx"
    write_onnx(model, path, **given)
    pads = not given["from_log_mel"] and given["n_samples"] is None
    found = measure(
        model, onnx_runner(path), from_log_mel=given["from_log_mel"], n_samples=given["n_samples"], pads=pads
    )
    path.unlink()
    return found


@pytest.mark.parametrize("name", SMALL)
def test_seeded_architecture(name: str, tmp_path: Path) -> None:
    assert max(differences(seeded_model(name), tmp_path)) <= TOLERANCE


@pytest.mark.parametrize("name", NARROW)
def test_narrow_architecture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(differences(narrow_model(name, monkeypatch), tmp_path)) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(published_classes()) - set(SMALL)))
def test_every_seeded_architecture(name: str, tmp_path: Path) -> None:
    assert max(differences(seeded_model(name), tmp_path)) <= TOLERANCE


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("stride", [1, 2])
def test_residual_blocks(block: Any, stride: int, tmp_path: Path) -> None:
    """ResNets are wide; their blocks, narrow, are not."""
    from onnx import TensorProto, helper

    from pannsx.export.layers import add_part

    torch.manual_seed(0)
    part = lively(block(8, 8, stride))  # type: ignore[arg-type]
    graph = Graph()
    graph.rename(add_part(graph, part, "x"), "y")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in "xy"]
    path = tmp_path / "block.onnx"
    path.write_bytes(graph.model("block", ends[:1], ends[1:], {}).SerializeToString())
    x = torch.randn(2, 8, 13, 10)
    with torch.inference_mode():
        np.testing.assert_allclose(onnx_runner(path)(x.numpy())[0], part(x).numpy(), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "hop", "n_mels"),
    [(32000, 1024, 320, 64), (16000, 512, 160, 64), (8000, 256, 80, 64), (48000, 2048, 4096, 32),
     (22050, 64, 33, 4)],
)  # fmt: skip
def test_log_mel_of_any_settings(sample_rate: int, n_fft: int, hop: int, n_mels: int, tmp_path: Path) -> None:
    """Even and odd powers of two, hops that divide nothing, and hops longer than the window."""
    from onnx import TensorProto, helper

    front = FrontEnd(
        sample_rate=sample_rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, fmin=50, fmax=sample_rate / 2
    )
    graph = Graph()
    graph.rename(add_log_mel(graph, "x", front), "y")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * n) for name, n in (("x", 2), ("y", 3))
    ]
    path = tmp_path / "log_mel.onnx"
    path.write_bytes(graph.model("log_mel", ends[:1], ends[1:], {}).SerializeToString())
    run = onnx_runner(path)
    for n_samples in (n_fft, 5 * hop + n_fft, 5 * hop + n_fft - 1):
        waveform = broadband(n_samples, 2)
        needed = np.stack([reference_log_mel(each, front) for each in waveform])
        np.testing.assert_allclose(run(waveform)[0], needed, atol=DECIBELS)


def test_log_mel_as_input(bundled: LoadedCheckpoint, tmp_path: Path) -> None:
    assert max(differences(bundled.model, tmp_path, from_log_mel=True)) <= TOLERANCE


def test_contract(exported: Exported, bundled: LoadedCheckpoint) -> None:
    contract = json.loads(exported.contract_path.read_text("utf-8"))
    assert exported.path.name == contract["file"] == "MobileNetV1_distilled.onnx"
    assert contract["size_bytes"] == exported.path.stat().st_size
    assert contract["weights_digest"] == f"sha256 {bundled.record.sha256}"
    assert contract["sample_rate"] == 32000
    assert contract["shortest"] == bundled.model.min_samples
    assert [each["name"] for each in contract["labels"]] == list(labels.audioset())
    assert [each["mid"] for each in contract["labels"]] == list(labels.audioset().ids or ())
    assert contract["measured"]["probabilities"] <= TOLERANCE
    page = exported.page_path.read_text("utf-8")
    for text in ("32,000 Hz", "9,920 samples", "| 0 | Speech | /m/09x0r |", str(bundled.record.sha256)):
        assert text in page


def test_the_file_is_what_the_contract_says(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("waveform", "tensor(float)", ["batch", "samples"])
    assert [each.name for each in session.get_outputs()] == list(OUTPUTS)
    assert [each.shape for each in session.get_outputs()] == [
        list(each.shape) for each in exported.contract.outputs
    ]
    stored = session.get_modelmeta().custom_metadata_map
    assert stored["labels"].split("\n") == list(labels.audioset())
    model = onnx.load(str(exported.path), load_external_data=False)
    assert "Cast" not in {node.op_type for node in model.graph.node}
    frames = session.run(["frame_probabilities"], {"waveform": broadband(64000, 1)})[0]
    assert frames.shape[1] == load().model.n_frames(64000)


def test_fixed_window(bundled: LoadedCheckpoint, tmp_path: Path) -> None:
    found = export(bundled, tmp_path, window_s=1)
    assert found.path.name == "MobileNetV1_distilled_1s.onnx"
    session = onnxruntime.InferenceSession(str(found.path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 32000]
    assert session.get_outputs()[2].shape == ["batch", 3, 527]
    assert "32,000 samples, neither more nor less" in found.page_path.read_text("utf-8")


def test_float16(bundled: LoadedCheckpoint, tmp_path: Path, exported: Exported) -> None:
    found = export(bundled, tmp_path, float16=True)
    assert found.path.stat().st_size < 0.6 * exported.path.stat().st_size
    assert TOLERANCE < found.contract.measured.probabilities < FLOAT16
    session = onnxruntime.InferenceSession(str(found.path), providers=["CPUExecutionProvider"])
    assert {each.type for each in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float)"}


def test_a_file_that_answers_otherwise_is_not_kept(
    bundled: LoadedCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_writing, "measure", lambda *_, **__: Differences(1e-3, 0.0, 0.0))
    with pytest.raises(WeightsError, match=r"differs from the network in torch by 1\.0e-03"):
        export(bundled, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_measuring_sees_a_wrong_constant(bundled: LoadedCheckpoint) -> None:
    def run(waveform: np.ndarray) -> Any:
        with torch.inference_mode():
            output = bundled.model(torch.from_numpy(waveform * np.float32(1.01)))
        return (
            output.logits.sigmoid().numpy(),
            output.embedding.numpy(),
            output.frame_logits.sigmoid().numpy(),
        )

    found = measure(bundled.model, run, from_log_mel=False, n_samples=32000, pads=False)
    assert min(found) > TOLERANCE


def test_log_mel_given_is_torchs(bundled: LoadedCheckpoint) -> None:
    waveform = broadband(16000, 1)
    assert bundled.model.frontend is not None
    needed = reference_log_mel(waveform[0], bundled.model.frontend)
    np.testing.assert_allclose(log_mel_of(bundled.model, waveform)[0], needed, atol=DECIBELS)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "MobileNetV1_distilled", "-o", str(tmp_path / "new"), "--input", "log_mel"]) == 0
    printed = capsys.readouterr()
    path = Path(printed.out.strip())
    assert path.name == "MobileNetV1_distilled_log_mel.onnx"
    assert {each.name for each in path.parent.iterdir()} == {
        path.name,
        f"{path.name}.json",
        f"{path.name}.md",
    }
    assert "largest difference of a probability from torch" in printed.err


WITHOUT_TORCH = """
import runpy, sys
for name in ("torch", "pannsx", "scipy", "numba"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def tag_example(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``examples/onnx/tag.py`` in a process that has neither torch nor pannsx."""
    command = [sys.executable, "-c", WITHOUT_TORCH, str(TAG), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("rate", [32000, 44100])
def test_tag_example(exported: Exported, rate: int, tmp_path: Path) -> None:
    """Without torch it prints the tags of AudioTagger, from a file of any rate."""
    path = tmp_path / "scene.wav"
    soundfile.write(path, audio.load(SCENE, sample_rate=rate).waveform, rate, subtype="FLOAT")
    done = tag_example(exported.path, path)
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head == "from 0.0 s"
    found = dict(reversed(row.strip().split("  ", 1)) for row in rows)
    expected = {tag.label: tag.probability for tag in AudioTagger(device="cpu").inference(SCENE).top(5)}
    assert list(found) == list(expected)
    assert [float(each) for each in found.values()] == pytest.approx(list(expected.values()), abs=RESAMPLED)


def test_tag_example_explains(exported: Exported, tmp_path: Path) -> None:
    assert "usage" in tag_example(exported.path).stderr
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), 32000)
    assert "holds no sound" in tag_example(exported.path, path).stderr

"""The teacher against its published keys, log-mel and logits, and the ways its file may be wrong."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import local_hub
from torch import nn

from pannsx.errors import WeightsError
from pannsx.weights.record import Digest
from train.teacher import MN04_AS, Teacher, fetch_teacher, load_network, load_teacher
from train.teacher.frontend import MIN_SAMPLES, LogMel
from train.teacher.network import MobileNetV3

GOLDEN = Path(__file__).parent / "golden"
DATA = Path(os.environ.get("PANNSX_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
WEIGHTS = DATA.parent / "teacher" / MN04_AS.filename

LOGITS_TOLERANCE = 1e-3  # asked of a second implementation; measured 1.1e-5
LOG_MEL_TOLERANCE = 1e-4  # float32 STFT and logarithm of near-empty bands; measured 1.7e-5
FOLD_TOLERANCE = 1e-4  # rounding of folded weights over 47 layers; measured 3e-6


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    with np.load(GOLDEN / "inputs.npz") as file:
        sound = file["w32000"] / 32768
    return torch.from_numpy(np.stack([sound[:96000], 0.5 * sound[32000:128000][::-1]])).float()


def golden(name: str) -> np.ndarray:
    with np.load(GOLDEN / "teacher.npz") as file:
        return file[name]


def untrained() -> MobileNetV3:
    """A network whose batch norms do something, as if trained."""
    torch.manual_seed(4)
    network = MobileNetV3(MN04_AS.width).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
    return network


def test_keys_and_shapes_are_those_published() -> None:
    expected = json.loads((GOLDEN / "teacher_shapes.json").read_text("utf-8"))
    got = {key: list(value.shape) for key, value in MobileNetV3(MN04_AS.width).state_dict().items()}
    assert list(got.items()) == list(expected.items())


def test_width_one_is_the_papers() -> None:
    network = MobileNetV3()
    assert network.features[-1][0].out_channels == 960
    assert network.classifier[0].out_features == 1280


def test_log_mel(waveform: torch.Tensor) -> None:
    log_mel = LogMel()(waveform)
    assert log_mel.shape == (2, 1, 128, 300)
    np.testing.assert_allclose(log_mel[:, 0, :, ::10], golden("log_mel"), rtol=0, atol=LOG_MEL_TOLERANCE)


def test_logits(waveform: torch.Tensor) -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"the teacher's weights are not at {WEIGHTS} (set PANNSX_TEST_DATA)")
    network = load_network(WEIGHTS, MN04_AS)
    with torch.inference_mode():
        as_published = network(LogMel()(waveform))
    np.testing.assert_allclose(as_published, golden("logits"), rtol=0, atol=LOGITS_TOLERANCE)
    teacher = load_teacher(WEIGHTS)
    np.testing.assert_allclose(teacher(waveform), golden("logits"), rtol=0, atol=LOGITS_TOLERANCE)


def test_folded_batch_norms_compute_the_same() -> None:
    network, log_mel = untrained(), torch.randn(2, 1, 128, 100)
    with torch.inference_mode():
        before = network(log_mel)
        network.fold_batch_norms()
        after = network(log_mel)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert before.std() > 100 * FOLD_TOLERANCE, "logits that hardly differ would agree anyway"
    torch.testing.assert_close(after, before, rtol=0, atol=FOLD_TOLERANCE)


def test_pieces_of_a_batch_are_the_clips_by_themselves() -> None:
    teacher = Teacher(MN04_AS, untrained())
    clips = 0.1 * torch.randn(9, 6400)
    alone = torch.cat([teacher(clip[None]) for clip in clips])
    torch.testing.assert_close(teacher(clips), alone, rtol=0, atol=FOLD_TOLERANCE)


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(32000), torch.zeros(1, 32000, dtype=torch.float64), torch.zeros(1, MIN_SAMPLES - 1)],
)
def test_wrong_waveforms_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"waveform \(B, S\) of float32"):
        Teacher(MN04_AS, untrained())(wrong)


def test_shortest_waveform() -> None:
    assert Teacher(MN04_AS, untrained())(torch.zeros(1, MIN_SAMPLES)).shape == (1, 527)


def write_weights(path: Path, state: dict[str, torch.Tensor]) -> Digest:
    torch.save(state, path)
    return Digest("sha256", hashlib.sha256(path.read_bytes()).hexdigest())


def test_weights_come_by_url_and_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    digest = write_weights(tmp_path / "made.pt", untrained().state_dict())
    content = (tmp_path / "made.pt").read_bytes()
    with local_hub() as server:
        server.put("/made.pt", content)
        record = replace(
            MN04_AS,
            url=server.url + "/made.pt",
            filename="made.pt",
            size_bytes=len(content),
            digest=digest,
        )
        monkeypatch.setenv("PANNSX_HOME", str(tmp_path / "cache"))
        assert load_teacher(None, record)(torch.zeros(1, 3200)).shape == (1, 527)
        load_teacher(None, record)
        assert server.count("GET") == 1, "a right file is not fetched again"
        with pytest.raises(WeightsError, match="digest"):
            fetch_teacher(replace(record, digest=MN04_AS.digest), tmp_path / "other", progress=False)
        assert not (tmp_path / "other" / "made.pt").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / MN04_AS.filename
    with pytest.raises(WeightsError, match="cannot read"):
        load_teacher(path)
    write_weights(path, untrained().state_dict())
    with pytest.raises(WeightsError, match=r"truncated or altered|altered"):
        load_teacher(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    state = untrained().state_dict()
    del state["classifier.5.bias"]
    record = replace(MN04_AS, digest=write_weights(path, state), size_bytes=path.stat().st_size)
    with pytest.raises(WeightsError, match=r"classifier\.5\.bias"):
        load_teacher(path, record)
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot read the weights"):
        load_network(path, record)

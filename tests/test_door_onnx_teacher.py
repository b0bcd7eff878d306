"""Teachers as ONNX files: small networks written by onnx, run by onnxruntime, read by distillation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from packing import noise
from parties import party
from training import N_CLIPS, RATE, make_store

from train.data.mapped_npz import mapped
from train.data.store import Store
from train.loop.distil import open_teacher
from train.teach import main, open_network

onnx = party("onnx", "onnx-teacher")
party("onnxruntime", "onnx-teacher")

LARGEST_ERROR = 1e-5
"""Of logits of probabilities between 0.01 and 0.99 in float32."""


def write(
    path: Path, outputs: dict[str, str], *, n_clips: int | str = "B", rate: int | None = RATE, rank: int = 2
) -> Path:
    """A network of reductions over the samples of a waveform, such as ``{"logits": "ReduceMax"}``."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = [n_clips, "S", *[1] * (rank - 2)]
    nodes = [helper.make_node("Constant", [], ["axes"], value_ints=[1])]
    for name, operation in outputs.items():
        nodes.append(helper.make_node(operation, ["waveform", "axes"], [name], keepdims=1))
    graph = helper.make_graph(
        nodes,
        "reductions",
        [helper.make_tensor_value_info("waveform", kind, shape)],
        [helper.make_tensor_value_info(name, kind, [n_clips, 1]) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if rate is not None:
        helper.set_model_props(model, {"sample_rate": str(rate)})
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("n_clips", ["B", 1, 7])
def test_logits_and_embeddings_by_row(tmp_path: Path, n_clips: int | str) -> None:
    """Also of files that are made for one number of clips."""
    network = write(
        tmp_path / "net.onnx", {"logits": "ReduceMax", "embedding": "ReduceMean"}, n_clips=n_clips
    )
    store = make_store(tmp_path / "store")
    command = [str(tmp_path / "out.npz"), str(store), "--teacher", str(network), "--embeddings"]
    assert main(command) == 0
    logits, embeddings = mapped(tmp_path / "out.npz", ("logits", "embeddings"))
    clips = np.stack([Store(store).read(row) for row in range(N_CLIPS)]) / np.float32(32768)
    np.testing.assert_array_equal(logits[:, 0], clips.max(1))
    np.testing.assert_allclose(embeddings[:, 0], clips.mean(1), rtol=0, atol=1e-6)
    read = open_teacher(tmp_path / "out.npz", list(Store(store).ids), 1)
    np.testing.assert_array_equal(read(np.array([3]))[0], logits[3])
    assert main(command) == 0, "what is finished is finished"


def test_probabilities_become_logits(tmp_path: Path) -> None:
    network = open_network(str(write(tmp_path / "net.onnx", {"clipwise_output": "ReduceMax"})))
    assert network.both is None
    waveform = torch.linspace(0.01, 0.99, 12)[:, None].repeat(1, 5)
    expected = torch.logit(waveform[:, :1].double()).float()
    torch.testing.assert_close(network.logits(waveform), expected, rtol=0, atol=LARGEST_ERROR)
    certain = network.logits(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert bool(certain.isfinite().all())


def test_the_rate_is_given_where_the_file_does_not_say_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = str(write(tmp_path / "net.onnx", {"logits": "ReduceMax"}, rate=None))
    store = str(make_store(tmp_path / "store", 3))
    assert main([str(tmp_path / "a.npy"), store, "--teacher", network]) == 1
    assert "does not say the sample rate of its input; give it: --sample-rate" in capsys.readouterr().err
    assert main([str(tmp_path / "a.npy"), store, "--teacher", network, "--sample-rate", str(RATE)]) == 0
    assert np.load(tmp_path / "a.npy").shape == (3, 1)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(noise(0).tobytes())
    with pytest.raises(ValueError, match=r"cannot open .*net\.onnx as an ONNX network"):
        open_network(str(path))
    with pytest.raises(ValueError, match=r"cannot open .*absent\.onnx"):
        open_network(str(tmp_path / "absent.onnx"))
    with pytest.raises(ValueError, match="has the outputs scores; one of logits, probabilities"):
        open_network(str(write(path, {"scores": "ReduceMax"})))
    with pytest.raises(ValueError, match=r"one float32 waveform \(B, S\) is needed"):
        open_network(str(write(path, {"logits": "ReduceMax"}, rank=3)))

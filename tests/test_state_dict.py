"""State dicts from files of every kind: pickles, safetensors, prefixes, and what is refused."""

from __future__ import annotations

import collections
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_models import same_tensors
from torch import Tensor

from pannsx.errors import WeightsError
from pannsx.weights import (
    read_state_dict,
)
from pannsx.weights.mapped import release
from pannsx.weights.state_dict import read_arrays

STATE = {
    "conv.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
    "bn0.running_var": torch.tensor([1e-6, 794.9]),
    "bn0.num_batches_tracked": torch.tensor(3623),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state},
        lambda state: {"iteration": 600000, "model": collections.OrderedDict(state)},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {"model": {f"module.{key}": tensor for key, tensor in state.items()}},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {}},
        lambda state: {f"_orig_mod.{key}": tensor for key, tensor in state.items()},
        lambda state: {f"module._orig_mod.{key}": tensor for key, tensor in state.items()},
        lambda state: {"state_dict": {f"model.{key}": tensor for key, tensor in state.items()}, "epoch": 3},
        lambda state: {f"model._orig_mod.net.{key}": tensor for key, tensor in state.items()},
        lambda state: {key.replace(".", "._orig_mod.", 1): tensor for key, tensor in state.items()},
        lambda state: {f"_fsdp_wrapped_module.{key}": tensor for key, tensor in state.items()},
        lambda state: {f"{'stem' if key[0] == 'b' else 'trunk'}.{key}": each for key, each in state.items()},
        lambda state: {"weights": state, "epoch": 3},
        lambda state: {"checkpoint": {"net_g": state, "optimizer": {"state": {}, "param_groups": []}}},
    ],
    ids=[
        "bare",
        "model",
        "published",
        "state_dict",
        "parallel",
        "model-parallel",
        "model_state_dict",
        "compiled",
        "compiled-parallel",
        "lightning",
        "lightning-compiled",
        "compiled-part",
        "fsdp",
        "own",
        "unknown-entry",
        "entry-in-entry",
    ],
)
def test_pth_files(tmp_path: Path, wrap: Callable[[dict[str, Tensor]], Any], zipped: bool) -> None:
    torch.save(wrap(STATE), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    got = read_state_dict(tmp_path / "w.pth")
    assert same_tensors(got, STATE)
    assert got["conv.weight"].dtype == torch.float32
    assert got["bn0.num_batches_tracked"].dtype == torch.int64


# Half types keep 11 and 8 bits of a number.
@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float32, 0.0), (torch.float16, 2**-11), (torch.bfloat16, 2**-8)]
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_types(tmp_path: Path, suffix: str, dtype: torch.dtype, rtol: float) -> None:
    state = {
        "conv.weight": STATE["conv.weight"].to(dtype),
        "bn0.num_batches_tracked": STATE["bn0.num_batches_tracked"],
    }
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    got = read_state_dict(path)
    assert got["conv.weight"].dtype == torch.float32
    assert same_tensors(got, {key: STATE[key] for key in got}, rtol)
    assert got["bn0.num_batches_tracked"].item() == 3623


def test_mapped_tensors_are_given_back_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    arrays = read_arrays(path)
    release(arrays.values())
    assert same_tensors({key: torch.from_numpy(array) for key, array in arrays.items()}, STATE)
    arrays["conv.weight"][:] = 0  # private to the reader
    assert same_tensors(read_state_dict(path), STATE)


def test_the_content_says_what_a_file_is(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.pth")
    assert same_tensors(read_state_dict(tmp_path / "w.pth"), STATE)
    torch.save(STATE, tmp_path / "w.safetensors")
    assert same_tensors(read_state_dict(tmp_path / "w.safetensors"), STATE)


def sampler_state() -> dict[str, Any]:
    """Like what stands beside the weights in Cnn14_16k: arrays, scalars and lists of NumPy."""
    return {
        "indexes": np.arange(1000),
        "weights": np.linspace(0, 1, 7),
        "flags": np.array([True, False]),
        "names": np.array(["Ya.wav", "Yb.wav"]),
        "pointer": np.int64(3),
        "seed": [np.float64(0.5), np.float32(0.25)],
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_numpy_beside_the_weights(tmp_path: Path, zipped: bool) -> None:
    torch.save(
        {"model": STATE, "sampler": sampler_state()},
        tmp_path / "w.pth",
        _use_new_zipfile_serialization=zipped,
    )
    assert same_tensors(read_state_dict(tmp_path / "w.pth"), STATE)


@pytest.mark.parametrize("home", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_under_its_old_and_new_name(tmp_path: Path, home: bytes) -> None:
    """Files are as old as the NumPy that wrote them; protocol 2 has the module's name in plain text."""
    torch.save(
        {"model": STATE, "sampler": sampler_state()}, tmp_path / "w.pth", _use_new_zipfile_serialization=False
    )
    content = (tmp_path / "w.pth").read_bytes()
    ours = np.array(0).__reduce__()[0].__module__.encode()
    assert ours in content
    (tmp_path / "w.pth").write_bytes(content.replace(b"c" + ours + b"\n", b"c" + home + b"\n"))
    assert same_tensors(read_state_dict(tmp_path / "w.pth"), STATE)


class Malicious:
    """Runs code of its own when a trusting reader unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_runs_no_code(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "code was run"
    torch.save(
        {"model": STATE, "x": Malicious(marker)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(WeightsError, match=r"its pickle asks for \w+\.mkdir, .*nothing of it was run"):
        read_state_dict(tmp_path / "w.pth")
    assert not marker.exists()


def test_arrays_of_objects_stay_refused(tmp_path: Path) -> None:
    marker = tmp_path / "code was run"
    array = np.array([Malicious(marker)], dtype=object)
    torch.save({"model": STATE, "x": array}, tmp_path / "w.pth")
    with pytest.raises(WeightsError):
        read_state_dict(tmp_path / "w.pth")
    assert not marker.exists()


def test_a_whole_pickled_model_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"asks for torch\.nn\.\S+Linear,.*state_dict\(\)"):
        read_state_dict(tmp_path / "w.pth")


def test_reading_leaves_no_allowance_behind(tmp_path: Path) -> None:
    torch.save({"model": STATE, "sampler": sampler_state()}, tmp_path / "w.pth")
    read_state_dict(tmp_path / "w.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.pth", weights_only=True)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".legacy"])
@pytest.mark.parametrize("cut", [0.02, 0.5, 0.99])
def test_truncated_files(tmp_path: Path, suffix: str, cut: float) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(STATE, path)
    else:
        torch.save({"model": STATE}, path, _use_new_zipfile_serialization=suffix == ".pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(WeightsError, match=path.name):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not a checkpoint"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"RIFF....WAVEfmt ", "is not a checkpoint"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=complaint):
        read_state_dict(tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot read"):
        read_state_dict(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("saved", "complaint"),
    [
        ([1, 2], "holds no state dict but list"),
        ({}, "holds no state dict but dict"),
        ({"model": STATE, "model2": 1, "state_dict": 2}, None),
        (
            {"weights": STATE, "other": STATE},
            "several networks, 'weights', 'other'; choose one with prefix=",
        ),
        ({**STATE, "settings": "x"}, "'settings' is not a tensor"),
        ({"conv.weight": torch.zeros(2, dtype=torch.int8)}, "conv.weight has type torch.int8"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, saved: object, complaint: str | None) -> None:
    torch.save(saved, tmp_path / "w.pth")
    if complaint is None:
        assert same_tensors(read_state_dict(tmp_path / "w.pth"), STATE)
    else:
        with pytest.raises(WeightsError, match=complaint):
            read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_that_are_not_finite(tmp_path: Path, suffix: str, bad: float) -> None:
    state = {**STATE, "bn0.running_var": torch.tensor([1.0, bad, 2.0])}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    with pytest.raises(WeightsError, match=r"bn0\.running_var has 1 values of 3 that are NaN or infinite"):
        read_state_dict(path)


def test_a_key_in_two_layouts(tmp_path: Path) -> None:
    torch.save({**STATE, "trunk.conv.weight": STATE["conv.weight"]}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"holds conv\.weight twice, once as trunk\.conv\.weight"):
        read_state_dict(tmp_path / "w.pth")


NETWORK = {**STATE, "fc_audioset.weight": torch.ones(3, 2)}
OWN_NETWORK = {"trunk.conv.weight": STATE["conv.weight"], "head.fc_audioset.weight": torch.ones(3, 2)}
PUBLISHED_NETWORK = {key.partition(".")[2]: tensor for key, tensor in OWN_NETWORK.items()}


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["encoder.", "a.b.c.", "module.base.", "model.student._orig_mod."])
def test_any_prefix_of_the_only_network_is_removed(prefix: str, tmp_path: Path) -> None:
    for saved, wanted in ((NETWORK, NETWORK), (OWN_NETWORK, PUBLISHED_NETWORK)):
        torch.save({"state_dict": under(prefix, saved)}, tmp_path / "w.pth")
        assert same_tensors(read_state_dict(tmp_path / "w.pth"), wanted)


def test_a_network_among_other_things_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    more = {"classifier.weight": torch.zeros(2)}
    torch.save(under("encoder.", OWN_NETWORK) | more, path)
    with pytest.raises(WeightsError, match=r"a network under 'encoder\.', and 1 other keys \('classifier"):
        read_state_dict(path)
    for prefix in ("encoder.", "encoder"):
        assert same_tensors(read_state_dict(path, prefix=prefix), PUBLISHED_NETWORK)
    with pytest.raises(WeightsError, match=r"no key under the prefix 'decoder'; .* 'encoder', 'classifier'"):
        read_state_dict(path, prefix="decoder")
    torch.save(under("student.", NETWORK) | under("teacher.", OWN_NETWORK), path)
    with pytest.raises(WeightsError, match=r"several networks, under 'student\.', 'teacher\.'; choose one"):
        read_state_dict(path)
    assert same_tensors(read_state_dict(path, prefix="student."), NETWORK)


def test_an_entry_is_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": NETWORK, "ema": under("module.", OWN_NETWORK), "epoch": 3}, path)
    assert same_tensors(read_state_dict(path), NETWORK)
    for prefix in ("ema", "ema.module", "ema.module."):
        assert same_tensors(read_state_dict(path, prefix=prefix), PUBLISHED_NETWORK)
    torch.save({"net_g": NETWORK, "norms": {"mean": torch.zeros(2)}, "epoch": 3}, path)
    assert same_tensors(read_state_dict(path), NETWORK)

"""State dicts from files of every kind, and models from names, files and records."""

from __future__ import annotations

import collections
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pannsx import AudioTagger
from pannsx.errors import WeightsError
from pannsx.events import OperatingPoint, OperatingPoints, write_operating_points
from pannsx.labels import LabelSet, audioset
from pannsx.models.convert import to_published
from pannsx.models.zoo import build
from pannsx.weights import (
    create_model,
    fetch_all,
    load,
    local,
    read_state_dict,
    resolve,
    save,
    save_checkpoint,
    verify,
)
from pannsx.weights.digests import file_digest
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, find, labels_of, read_record
from pannsx.weights.mapped import release
from pannsx.weights.operating_points import points_of
from pannsx.weights.record import Checkpoint
from pannsx.weights.state_dict import read_arrays

STATE = {
    "conv.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
    "bn0.running_var": torch.tensor([1e-6, 794.9]),
    "bn0.num_batches_tracked": torch.tensor(3623),
}
SMALLEST = "LeeNet11"  # 748,367 parameters


def same(got: dict[str, Tensor], want: dict[str, Tensor], rtol: float = 0.0) -> bool:
    return set(got) == set(want) and all(
        torch.allclose(got[k].float(), want[k].float(), rtol=rtol, atol=0) for k in want
    )


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
    assert same(got, STATE)
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
    assert same(got, {key: STATE[key] for key in got}, rtol)
    assert got["bn0.num_batches_tracked"].item() == 3623


def test_mapped_tensors_are_given_back_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    arrays = read_arrays(path)
    release(arrays.values())
    assert same({key: torch.from_numpy(array) for key, array in arrays.items()}, STATE)
    arrays["conv.weight"][:] = 0  # private to the reader
    assert same(read_state_dict(path), STATE)


def test_the_content_says_what_a_file_is(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth"), STATE)
    torch.save(STATE, tmp_path / "w.safetensors")
    assert same(read_state_dict(tmp_path / "w.safetensors"), STATE)


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
    assert same(read_state_dict(tmp_path / "w.pth"), STATE)


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
    assert same(read_state_dict(tmp_path / "w.pth"), STATE)


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
        assert same(read_state_dict(tmp_path / "w.pth"), STATE)
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
        assert same(read_state_dict(tmp_path / "w.pth"), wanted)


def test_a_network_among_other_things_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    more = {"classifier.weight": torch.zeros(2)}
    torch.save(under("encoder.", OWN_NETWORK) | more, path)
    with pytest.raises(WeightsError, match=r"a network under 'encoder\.', and 1 other keys \('classifier"):
        read_state_dict(path)
    for prefix in ("encoder.", "encoder"):
        assert same(read_state_dict(path, prefix=prefix), PUBLISHED_NETWORK)
    with pytest.raises(WeightsError, match=r"no key under the prefix 'decoder'; .* 'encoder', 'classifier'"):
        read_state_dict(path, prefix="decoder")
    torch.save(under("student.", NETWORK) | under("teacher.", OWN_NETWORK), path)
    with pytest.raises(WeightsError, match=r"several networks, under 'student\.', 'teacher\.'; choose one"):
        read_state_dict(path)
    assert same(read_state_dict(path, prefix="student."), NETWORK)


def test_an_entry_is_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": NETWORK, "ema": under("module.", OWN_NETWORK), "epoch": 3}, path)
    assert same(read_state_dict(path), NETWORK)
    for prefix in ("ema", "ema.module", "ema.module."):
        assert same(read_state_dict(path, prefix=prefix), PUBLISHED_NETWORK)
    torch.save({"net_g": NETWORK, "norms": {"mean": torch.zeros(2)}, "epoch": 3}, path)
    assert same(read_state_dict(path), NETWORK)


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """A state dict of the smallest architecture, as it would be published."""
    torch.manual_seed(0)
    record = find(SMALLEST)
    return to_published(build(SMALLEST, record.sample_rate, record.frontend, 527))


@pytest.fixture(scope="module")
def three_classes() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return to_published(build(SMALLEST, 32000, None, 3))


def own_record() -> Checkpoint:
    return Checkpoint(
        name="mine", architecture=SMALLEST, sample_rate=32000, frontend=None, labels="audioset", n_classes=527
    )


def logits(model: torch.nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(torch.linspace(-1, 1, 32000).sin()[None]).logits  # type: ignore[no-any-return]


def test_bundled_is_the_default() -> None:
    loaded = load()
    assert loaded.record is find("MobileNetV1_distilled")
    assert loaded.labels[0] == "Speech"
    assert not loaded.model.training
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert torch.isfinite(logits(loaded.model)).all()


def test_name_and_file(tmp_path: Path, published: dict[str, Tensor]) -> None:
    torch.save({"iteration": 1, "model": published}, tmp_path / "w.pth")
    loaded = load("leenet11", checkpoint=tmp_path / "w.pth")
    assert loaded.record is find(SMALLEST)
    assert same(to_published(loaded.model), published)


def test_our_own_layout(tmp_path: Path, published: dict[str, Tensor]) -> None:
    model = load(SMALLEST, checkpoint=_saved(tmp_path / "a.pth", published)).model
    again = load(SMALLEST, checkpoint=_saved(tmp_path / "b.pth", model.state_dict())).model
    assert same(again.state_dict(), model.state_dict())


def _saved(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


def test_name_and_file_of_other_classes(tmp_path: Path, three_classes: dict[str, Tensor]) -> None:
    torch.save(three_classes, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"has 3 classes and LeeNet11 has 527; .* need a record next to"):
        load(SMALLEST, checkpoint=tmp_path / "w.pth")


def test_name_and_file_of_another_architecture(tmp_path: Path, published: dict[str, Tensor]) -> None:
    torch.save(published, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: .*does not fit Cnn6"):
        load("Cnn6", checkpoint=tmp_path / "w.pth")


def test_unknown_name_and_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'LeeNet11'"):
        load("LeNet11")
    with pytest.raises(WeightsError, match="cannot read"):
        load(SMALLEST, checkpoint=tmp_path / "absent.pth")


def test_own_checkpoint_with_own_labels(tmp_path: Path, three_classes: dict[str, Tensor]) -> None:
    labels = LabelSet(("dog", "cat", "rain"))
    path = tmp_path / "mine.safetensors"
    written = save_checkpoint(path, three_classes, own_record(), labels=labels)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "mine.json",
        "mine.labels.txt",
        "mine.safetensors",
    ]
    assert written == read_record(tmp_path / "mine.json")
    assert written.sha256 == file_digest(path, "sha256")
    for way in (path, tmp_path / "mine.json", tmp_path, str(path)):
        loaded = load(checkpoint=way)
        assert loaded.labels == labels
        assert loaded.record == written
        assert same(to_published(loaded.model), three_classes)
        assert logits(loaded.model).shape == (1, 3)


def test_a_checkpoint_folder_can_be_moved(tmp_path: Path, three_classes: dict[str, Tensor]) -> None:
    (tmp_path / "a").mkdir()
    save_checkpoint(
        tmp_path / "a" / "mine.safetensors", three_classes, own_record(), labels=LabelSet(("a", "b", "c"))
    )
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert load(checkpoint=tmp_path / "b").labels.names == ("a", "b", "c")


def test_an_altered_own_checkpoint_is_refused(tmp_path: Path, published: dict[str, Tensor]) -> None:
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, published, own_record())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is altered: its digest is sha256"):
        load(checkpoint=path)


def test_a_hand_written_record_needs_no_digest(tmp_path: Path, published: dict[str, Tensor]) -> None:
    torch.save(published, tmp_path / "w.pth")
    record = {
        "name": "by hand",
        "architecture": SMALLEST,
        "sample_rate": 32000,
        "frontend": None,
        "labels": "audioset",
        "n_classes": 527,
        "filename": "w.pth",
    }
    (tmp_path / "w.json").write_text(json.dumps(record), encoding="utf-8")
    assert load(checkpoint=tmp_path / "w.pth").record.name == "by hand"
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"holds 2 \.json files"):
        load(checkpoint=tmp_path)
    shutil.copy(tmp_path / "w.pth", tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"is of 'w\.pth', not of 'w\.pt'"):
        load(checkpoint=tmp_path / "w.pt")


def test_a_file_without_a_record(tmp_path: Path, published: dict[str, Tensor]) -> None:
    torch.save(published, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"there is no record .*w\.json .*give the model's name as well"):
        load(checkpoint=tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"there is no file .*v\.pth; check the path"):
        load(checkpoint=tmp_path / "v.pth")


def test_a_wrong_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text('{"name": "x"}', encoding="utf-8")
    with pytest.raises(WeightsError, match=r"cannot use the record .*w\.json: .*missing architecture"):
        load(checkpoint=tmp_path / "w.json")


def test_saving_refuses_what_it_cannot_do(tmp_path: Path, published: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"written as \.safetensors"):
        save_checkpoint(tmp_path / "w.pth", published, own_record())
    with pytest.raises(ValueError, match="give the labels"):
        save_checkpoint(tmp_path / "w.safetensors", published, replace(own_record(), labels="my.txt"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "w.safetensors", published, own_record())


@pytest.mark.parametrize("kind", ["model", "compiled", "parallel", "loaded", "tagger"])
def test_a_model_is_saved_in_one_call(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(SMALLEST, 32000, None, 2)
    path = tmp_path / "doors.safetensors"
    network: Any = {"model": model, "parallel": torch.nn.DataParallel(model)}.get(kind)
    if kind == "compiled":
        network = torch.nn.Module()  # as torch.compile makes it, whose import takes seconds
        network._orig_mod = model
    labels: Any = ["creak", "slam, loud"]
    if network is None:
        first = save(model, tmp_path / "first.safetensors", labels=labels, description="Doors")
        # Of these weights as a file; as another file they have another digest.
        points = OperatingPoints({"creak": OperatingPoint(0.3)}, model="first", weights_sha256=first.sha256)
        write_operating_points(points, tmp_path / "first.operating_points.json")
        if kind == "loaded":
            network = load(checkpoint=tmp_path / "first.safetensors")
        else:
            network = AudioTagger(checkpoint=tmp_path / "first.safetensors")
        labels = None
    before = {key: tensor.clone() for key, tensor in to_published(model).items()}
    written = save(network, path, labels=labels)
    assert (written.name, written.n_classes, written.architecture) == ("doors", 2, SMALLEST)
    loaded = load(checkpoint=path)
    assert loaded.record == written
    assert loaded.labels.names == ("creak", "slam, loud")
    assert same(to_published(loaded.model), before)
    tagger = AudioTagger(checkpoint=path)
    assert tagger.labels == ("creak", "slam, loud")
    if kind == "tagger":
        assert tagger.record.description == "Doors"
        assert tagger.operating_points is not None
        assert tagger.operating_points.thresholds() == {"creak": 0.3}
        assert tagger.operating_points.weights_sha256 == written.sha256


def test_saved_labels_are_kept_exactly(tmp_path: Path) -> None:
    model = build(SMALLEST, 32000, None, 2)
    path = tmp_path / "w.safetensors"
    for labels in (
        LabelSet(("dog", "cat"), ("/m/0bt9lr", "/m/01yrx")),
        LabelSet((" dog", "cat\nand dog")),
        LabelSet(("Hund\u2028e", "Kätzchen")),
        LabelSet(("dog", "cat")),
    ):
        save(model, path, labels=labels)
        assert load(checkpoint=path).labels == labels
    save(build(SMALLEST, 32000, None, 527), path)
    assert load(checkpoint=path).labels == audioset()
    assert load(checkpoint=path).record.labels == "audioset"


def test_a_model_that_cannot_be_saved(tmp_path: Path) -> None:
    model = build(SMALLEST, 32000, None, 2)
    path = tmp_path / "w.safetensors"
    with pytest.raises(ValueError, match="2 classes of unknown names; give them as labels="):
        save(model, path)
    with pytest.raises(ValueError, match="2 classes, and there are 3 labels"):
        save(model, path, labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="the text 'ab'"):
        save(model, path, labels="ab")
    with pytest.raises(ValueError, match=r"name it 'w\.safetensors'"):
        save(model, tmp_path / "w.pth", labels=["a", "b"])
    with pytest.raises(ValueError, match="got Linear; a model of create_model"):
        save(torch.nn.Linear(2, 2), path)
    with torch.no_grad():
        model.head.fc_audioset.bias[0] = float("nan")
    with pytest.raises(WeightsError, match=r"the model: fc_audioset\.bias has 1 values of 2 that are NaN"):
        save(model, path, labels=["a", "b"])
    assert list(tmp_path.iterdir()) == []


def test_the_published_layout_of_our_own_model_and_a_prefix(
    tmp_path: Path, published: dict[str, Tensor]
) -> None:
    path = tmp_path / "w.pth"
    torch.save(create_model(SMALLEST).state_dict(), path)
    assert load(SMALLEST, checkpoint=path).record.name == SMALLEST
    torch.save(under("encoder.", published) | {"loss.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"prefix='encoder\.'"):
        AudioTagger(SMALLEST, checkpoint=path)
    tagger = AudioTagger(SMALLEST, checkpoint=path, prefix="encoder.")
    assert same(to_published(tagger._pipeline.engine.model), published)
    with pytest.raises(ValueError, match="give checkpoint= as well"):
        load(SMALLEST, prefix="encoder.")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PANNSX_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("no_network")
def test_fetch_all_says_what_it_cannot_get_and_why(tmp_path: Path) -> None:
    outcomes = {outcome.name: outcome for outcome in fetch_all(tmp_path / "to", progress=False)}
    assert len(outcomes) == 30
    assert outcomes["MobileNetV1_distilled"].path is not None
    assert "no weights were ever released" in (outcomes["Cnn14_mel128"].problem or "")
    assert "allow_unverified" in (outcomes["Cnn14_8k"].problem or "")
    assert "HF_HUB_OFFLINE" in (outcomes["Cnn14"].problem or "")
    with pytest.raises(ValueError, match="unknown model"):
        fetch_all(tmp_path / "to", ["Cnn13"])


@pytest.mark.usefixtures("no_network")
def test_a_folder_with_an_unverifiable_file(tmp_path: Path, published: dict[str, Tensor]) -> None:
    """A file put there by hand, of which no digest was ever published."""
    record = find("MobileNetV2")
    assert record.filename is not None
    torch.save(published, tmp_path / record.filename)
    with pytest.raises(WeightsError, match="allow_unverified"):
        load("MobileNetV2", cache_dir=tmp_path)
    assert verify(record, cache_dir=tmp_path).ok is None
    assert fetch_all(tmp_path, ["MobileNetV2"], allow_unverified=True)[0].path == tmp_path / record.filename
    assert verify(record, cache_dir=tmp_path).ok is True
    assert fetch_all(tmp_path, ["MobileNetV2"])[0].problem is None
    torch.save({**published, "x": torch.zeros(1)}, tmp_path / record.filename)
    assert "is altered" in (fetch_all(tmp_path, ["MobileNetV2"])[0].problem or "")
    assert verify(record, cache_dir=tmp_path).ok is False


@pytest.mark.usefixtures("no_network")
def test_verify() -> None:
    report = verify(find("MobileNetV1_distilled"))
    assert report.ok is True
    assert report.digest == report.expected_digest
    with pytest.raises(WeightsError, match="no file of Cnn14 is on this computer"):
        verify(find("Cnn14"))
    with pytest.raises(WeightsError, match="no weights were ever released"):
        verify(find("Cnn14_mel32"))


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_user_without_a_home_has_the_bundled_checkpoint(
    has_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container for a user whom the system does not know: ``~`` stays as it is."""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr(local, "private_folder", lambda: tmp_path if has_folder else None)
    for name in ("PANNSX_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert local.cache_home().is_absolute()
    assert (tmp_path in local.cache_home().parents) == has_folder
    record = find(DEFAULT_CHECKPOINT)
    assert local.find(record) == resolve(record, progress=False)
    assert points_of(record, labels_of(record).names) is not None
    assert local.find(find("Cnn14")) is None

"""Adapters: what is trained, what a delta holds, and the network that base and delta make."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from narrow_checkpoint import narrow_file
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from small_sounds import LABELS, RATE, sounds
from torch import nn

from pannsx import AudioClassifier, AudioTagger, FeatureExtractor, StreamTagger, WeightsError, save, weights
from pannsx.cli import main
from pannsx.models.structure import ArrayModel
from pannsx.models.zoo import build_empty
from pannsx.transfer.adapters import DEFAULT_RANK, Adapt, LowRank, large_layers, merge, prepare
from pannsx.transfer.method import Method
from pannsx.transfer.own_sounds import read_own
from pannsx.transfer.study import carry_out
from pannsx.transfer.watching import Watcher
from pannsx.weights import manifest
from pannsx.weights.base import base_of
from pannsx.weights.delta import Factors, apply_delta, difference, merged
from pannsx.weights.digests import file_digest
from pannsx.weights.loading import open_checkpoint
from pannsx.weights.saving import save_delta

MB = 1_000_000
SAME = 1e-5
"""Between a layer with its factors beside it and with their product in its weight: another order of sums."""

SAME_NETWORK = 2e-5
"""Of probabilities: one network, computed in batches of another size, its head inside or outside of it."""

CLASSIFIER = {"fc_audioset.weight", "fc_audioset.bias"}


base = narrow_file


@cache
def learned(base: Path, adapt: Adapt) -> AudioClassifier:
    classifier = AudioClassifier(
        checkpoint=base, device="cpu", adapt=adapt, epochs=3, batch_size=3, learning_rate=0.02
    )
    return classifier.fit(sounds(), LABELS)


@pytest.mark.parametrize("adapt", ["head", "norms", "low-rank"])
def test_a_delta_holds_the_difference_alone_and_makes_the_trained_network(base: Path, adapt: Adapt) -> None:
    classifier = learned(base, adapt)
    path = base.with_name(f"{adapt}.safetensors")
    record = classifier.save(path)
    assert record.base == base_of(weights.load(checkpoint=base).record, weights.load(checkpoint=base).origin)  # type: ignore[arg-type]
    assert record.base is not None
    assert (record.base.name, record.base.sha256) == ("narrow", file_digest(base, "sha256"))
    before, held = load_file(base), load_file(path)
    norms = {key for key in before if "bn" in key and key.endswith(("weight", "bias"))}
    layers = {key for key in before if "conv" in key and before[key].ndim == 4} | {"fc1.weight"}
    large = layers - {"conv_block1.conv1.weight"}  # one input channel: its factors would not be smaller
    factors = {key.removesuffix("weight") + end for key in large for end in ("lora_A", "lora_B")}
    wanted = {"head": set(), "norms": norms | {"fc1.bias"}, "low-rank": factors}[adapt]
    assert set(held) == CLASSIFIER | wanted

    opened = open_checkpoint(checkpoint=path)
    assert isinstance(opened.model, ArrayModel), "which needs no torch"
    trained = classifier._fitted.base.model.state_dict()  # type: ignore[union-attr]
    loaded = weights.load(checkpoint=path).model.state_dict()
    moved = 0
    for key, tensor in trained.items():
        if "fc_audioset" not in key:
            assert torch.equal(tensor, loaded[key]), key
            own = before.get(key.removeprefix("trunk.").removeprefix("head.").removeprefix("stem."))
            moved += own is not None and not np.array_equal(own, tensor.numpy())
    assert moved == {"head": 0, "norms": len(norms) + 1, "low-rank": len(large)}[adapt]

    tagger = AudioTagger(checkpoint=path, device="cpu")
    clipwise = tagger.inference(sounds()).clipwise
    expected = classifier.predict_proba(sounds())
    np.testing.assert_allclose(clipwise / clipwise.sum(axis=1, keepdims=True), expected, atol=SAME_NETWORK)
    module = AudioTagger(checkpoint=path, device="cpu", low_memory=True).inference(sounds())
    np.testing.assert_allclose(module.clipwise, clipwise, atol=SAME_NETWORK)
    assert tagger.labels == StreamTagger(tagger).labels == ("clicks", "noise", "tone")
    embedding = FeatureExtractor(checkpoint=path, device="cpu").extract(sounds()[0])
    np.testing.assert_allclose(embedding[0], tagger.inference(sounds()[0]).embedding, atol=SAME_NETWORK)


@pytest.mark.parametrize("adapt", ["head", "norms"])
def test_kept_classes_come_back_with_the_delta(base: Path, adapt: Adapt) -> None:
    classifier = AudioClassifier(
        checkpoint=base,
        device="cpu",
        adapt=adapt,
        epochs=2,
        batch_size=3,
        learning_rate=0.02,
        keep_audioset=True,
    ).fit(sounds(), LABELS)
    path = base.with_name(f"kept_{adapt}.safetensors")
    assert classifier.save(path).base is not None
    before, after = (AudioTagger(checkpoint=each, device="cpu") for each in (base, path))
    assert after.labels == (*before.labels, "clicks", "noise", "tone")
    n_kept = len(before.labels)
    kept, new = np.split(after.inference(sounds()).clipwise, [n_kept], axis=1)
    expected = classifier.predict_proba(sounds())
    np.testing.assert_allclose(new / new.sum(axis=1, keepdims=True), expected, atol=SAME_NETWORK)
    change = np.abs(kept - before.inference(sounds()).clipwise).max()
    assert change < SAME_NETWORK if adapt == "head" else change > SAME_NETWORK


def test_a_delta_of_a_published_checkpoint_finds_it(tmp_path: Path) -> None:
    """Below 1 MB, and in a folder without its base, which is in the package here."""
    classifier = AudioClassifier(device="cpu", adapt="head", epochs=1).fit(sounds(), LABELS)
    record = classifier.save(tmp_path / "mine.safetensors")
    known = manifest.find(manifest.DEFAULT_CHECKPOINT)
    assert record.base is not None
    assert (record.base.name, record.base.filename, record.base.sha256, record.base.sources) == (
        known.name, known.filename, known.sha256, (),
    )  # fmt: skip
    assert (tmp_path / "mine.safetensors").stat().st_size < 0.05 * MB
    tagger = AudioTagger(checkpoint=tmp_path, device="cpu")
    np.testing.assert_allclose(
        tagger.inference(sounds()[0]).embedding,
        AudioTagger(device="cpu").inference(sounds()[0]).embedding,
        rtol=SAME_NETWORK,
    )


@pytest.mark.parametrize(
    ("architecture", "least_mb"), [("Cnn14", 0.5), ("ResNet38", 0.4), ("Wavegram_Logmel_Cnn14", 0.5)]
)
def test_the_usual_rank_stays_below_one_megabyte(architecture: str, least_mb: float) -> None:
    record = next(each for each in manifest.load_manifest().values() if each.architecture == architecture)
    model = build_empty(architecture, record.sample_rate, record.frontend, 10)
    sides = [
        len(layer.weight) + layer.weight[0].numel() for layer in large_layers(model, DEFAULT_RANK).values()
    ]
    classifier = 10 * (model.embedding_size + 1)
    size = 4 * (DEFAULT_RANK * sum(sides) + classifier)
    assert least_mb * MB < size < MB
    norms = sum(
        parameter.numel() for name, parameter in model.named_parameters()
        if parameter.ndim == 1 and "fc_audioset" not in name
    )  # fmt: skip
    assert 4 * (norms + classifier) < MB


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(30, 20),
        nn.Conv2d(6, 8, 3, padding=1, bias=False),
        nn.Conv2d(6, 8, (5, 3), stride=(2, 1), padding=(2, 1)),
        nn.Conv1d(6, 8, 3, stride=2, padding=2, dilation=2),
    ],
    ids=["dense", "plain", "strided", "dilated"],
)
def test_factors_beside_a_layer_are_a_change_of_its_weight(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
    torch.manual_seed(0)
    x = torch.randn({2: (4, 30), 3: (4, 6, 17), 4: (4, 6, 17, 9)}[layer.weight.ndim])
    low = LowRank(layer, 3)
    with torch.no_grad():
        assert torch.equal(low(x), layer(x)), "the change begins at zero"
        nn.init.normal_(low.up.weight)
        with_factors = low(x)
        weight = merged(layer.weight.numpy(), low.factors())
        assert np.linalg.matrix_rank((weight - layer.weight.numpy()).reshape(len(weight), -1), tol=1e-4) == 3
        layer.weight.copy_(torch.from_numpy(weight))
        torch.testing.assert_close(layer(x), with_factors, atol=SAME, rtol=SAME)


def test_layers_get_factors_and_lose_them_again() -> None:
    """Of every kind of trunk and stem; the depthwise convolutions and the classifier stay as they are."""
    for architecture in ("MobileNetV2", "LeeNet24", "Wavegram_Logmel_Cnn14"):
        record = manifest.find(architecture)
        model = build_empty(architecture, record.sample_rate, record.frontend, 3)
        keys = list(model.state_dict())
        names = large_layers(model, 2)
        assert names
        assert not any("fc_audioset" in name for name in names)
        assert all(getattr(layer, "groups", 1) == 1 for layer in names.values())
    with pytest.raises(
        ValueError, match="no layer of Wavegram_Logmel_Cnn14 is large enough for a rank of 9999"
    ):
        prepare(model, "low-rank", 9999, seed=0)
    assert list(model.state_dict()) == keys


def test_merging_restores_the_layout(base: Path) -> None:
    model = weights.load(checkpoint=base).model
    keys = list(model.state_dict())
    prepare(model, "low-rank", 2, seed=0)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in model.state_dict() if ".down." in name or ".up." in name}
    again = weights.load(checkpoint=base).model
    prepare(again, "low-rank", 2, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    factors = merge(model)
    assert set(factors) == {name.partition(".")[2] + ".weight" for name in large_layers(model, 2)}
    assert list(model.state_dict()) == keys


def test_apply_is_the_inverse_of_difference() -> None:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    base = {
        "conv.weight": normal(70, 3, 3, 3), "bn.weight": normal(6), "bn.bias": normal(6).astype(np.float16),
        "hidden.0.weight": normal(4, 5), "fc_audioset.weight": normal(7, 4),
        "logmel_extractor.melW": normal(3),
    }  # fmt: skip
    factors = Factors(normal(2, 27), normal(70, 2))
    state = {
        "conv.weight": merged(base["conv.weight"], factors), "bn.weight": base["bn.weight"] + 1,
        "bn.bias": base["bn.bias"].astype(np.float32), "fc_audioset.weight": normal(2, 5),
        "logmel_extractor.melW": base["logmel_extractor.melW"],
    }  # fmt: skip
    np.testing.assert_allclose(
        state["conv.weight"],
        base["conv.weight"] + (factors.up @ factors.down).reshape(70, 3, 3, 3),
        atol=SAME,
    )
    delta = difference(base, state, {"conv.weight": factors})
    assert set(delta) == {"conv.lora_A", "conv.lora_B", "bn.weight", "fc_audioset.weight"}
    found = apply_delta(base, delta, "mine")
    assert set(found) == set(state)
    assert all(np.array_equal(found[key], state[key]) for key in state)
    with pytest.raises(ValueError, match=r"conv\.weight is not that of the base"):
        difference(base, {**state, "conv.weight": base["conv.weight"]}, {"conv.weight": factors})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc1.lora_B": None}, r"changes fc1\.weight at low rank, but it has no fc1\.lora_B"),
        ({"fc1.lora_A": np.zeros((2, 7), np.float32)}, r"factors \(24, 2\) and \(2, 7\) do not fit a weight"),
        (
            {"fc9.lora_A": np.zeros((2, 7)), "fc9.lora_B": np.zeros((7, 2))},
            r"but its base has no fc9\.weight",
        ),
        ({"fc_audioset.weight": None}, r"missing: fc_audioset\.weight"),
        ({"other": np.zeros(3, np.float32)}, "not of this architecture: other"),
    ],
)
def test_damaged_deltas_are_refused(
    base: Path, change: dict[str, NDArray[np.float32] | None], message: str
) -> None:
    path = base.with_name("damaged.safetensors")
    learned(base, "low-rank").save(path)
    tensors = {**load_file(path), **change}
    save_file({key: each for key, each in tensors.items() if each is not None}, path)
    record = json.loads(path.with_suffix(".json").read_text("utf-8"))
    path.with_suffix(".json").write_text(json.dumps({**record, "sha256": None, "size_bytes": None}), "utf-8")
    with pytest.raises(WeightsError, match=message):
        AudioTagger(checkpoint=path, device="cpu", allow_unverified=True)


def test_the_base_is_found_and_checked(base: Path, tmp_path: Path) -> None:
    classifier = learned(base, "norms")
    path = tmp_path / "mine.safetensors"
    record = classifier.save(path)
    assert record.base is not None
    with pytest.raises(WeightsError) as absent:
        AudioTagger(checkpoint=path)
    assert f"mine is a delta on narrow, of which it needs the file {base.name} with the" in str(absent.value)
    assert "put the file beside the delta, or give its folder as cache_dir=" in str(absent.value)
    expected = AudioTagger(checkpoint=path, cache_dir=base.parent).inference(sounds()[0]).clipwise
    (tmp_path / base.name).write_bytes(base.read_bytes())
    np.testing.assert_array_equal(AudioTagger(checkpoint=path).inference(sounds()[0]).clipwise, expected)

    tensors = load_file(base)
    save_file({**tensors, "bn0.weight": tensors["bn0.weight"] + 1}, tmp_path / base.name)
    with pytest.raises(WeightsError, match=f"with the sha256 {record.base.sha256}.* is altered"):
        AudioTagger(checkpoint=path)


def test_a_published_base_of_another_version_is_named(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    learned(base, "head").save(path)
    known = manifest.find(manifest.DEFAULT_CHECKPOINT)
    record = json.loads(path.with_suffix(".json").read_text("utf-8"))
    record["base"] |= {"name": known.name, "filename": known.filename}
    path.with_suffix(".json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(
        WeightsError, match=f"{known.name} is sha256 {known.sha256} in this version of pannsx"
    ):
        AudioTagger(checkpoint=path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "12"}, r"base: sha256 is '12'; 64 lower-case"),
        ({"filename": "../narrow.safetensors"}, r"base: filename is '\.\./narrow"),
        ({"digest": "12"}, "base: unknown key digest"),
        ({"sources": [{"type": "ftp"}]}, "base, source 0: type is 'ftp'"),
    ],
)
def test_records_of_bases_are_strict(base: Path, change: dict[str, object], message: str) -> None:
    path = base.with_name("strict.safetensors")
    learned(base, "head").save(path)
    record = json.loads(path.with_suffix(".json").read_text("utf-8"))
    path.with_suffix(".json").write_text(json.dumps({**record, "base": record["base"] | change}), "utf-8")
    with pytest.raises(WeightsError, match=message):
        AudioTagger(checkpoint=path)


def test_a_delta_is_saved_whole(base: Path) -> None:
    delta, whole = base.with_name("delta.safetensors"), base.with_name("whole.safetensors")
    learned(base, "low-rank").save(delta)
    tagger = AudioTagger(checkpoint=delta, device="cpu")
    record = save(tagger, whole)
    assert record.base is None
    assert "base" not in json.loads(whole.with_suffix(".json").read_text("utf-8"))
    alone = AudioTagger(checkpoint=whole, device="cpu").inference(sounds()[0])
    np.testing.assert_array_equal(alone.clipwise, tagger.inference(sounds()[0]).clipwise)


def test_the_usual_rank_is_one_number() -> None:
    """Stated by the class too, which loads no torch, and by the help."""
    assert AudioClassifier().rank == DEFAULT_RANK


def test_what_cannot_be_a_base_is_refused_before_the_work(base: Path) -> None:
    path = base.with_name("first.safetensors")
    learned(base, "head").save(path)
    with pytest.raises(ValueError, match="first is a delta on narrow, and a delta is on a whole network"):
        learned(path, "norms")
    with pytest.raises(ValueError, match=r"would have the name of its base, 'narrow\.safetensors'"):
        learned(base, "head").save(base.parent / "other" / base.name)
    made_here = weights.load(checkpoint=base)._replace(origin=None)
    with pytest.raises(ValueError, match="narrow was not read from a file"):
        save_delta(path, {}, made_here.record, made_here)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapt": "norm"}, "adapt is 'norm'; did you mean 'norms'"),
        ({"adapt": "norms", "tune": True}, "tune trains the whole network, and adapt='norms' a part"),
        ({"adapt": "low-rank", "rank": 0}, "rank is 0; at least 1 is needed"),
        ({"adapt": "low-rank", "rank": 500}, "no layer of Cnn10 is large enough for a rank of 500"),
    ],
)
def test_settings_are_checked(base: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AudioClassifier(checkpoint=base, device="cpu", **settings).fit(sounds(), LABELS)  # type: ignore[arg-type]


def test_the_command_writes_a_delta(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (label, waveform) in enumerate(zip(LABELS, sounds(), strict=True)):
        folder = tmp_path / "clips" / ("test" if number < 3 else "train") / label
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{number}.wav", waveform, RATE)
    clips, path = str(tmp_path / "clips"), base.with_name("command.safetensors")
    own = ["finetune", clips, "--checkpoint", str(base), "--save", str(path), "--epochs", "1"]
    assert main([*own, "--rank", "3"]) == 2
    assert "--rank needs --adapt low-rank; give that, or leave --rank out" in capsys.readouterr().err
    assert main([*own, "--adapt", "head", "--no-augment"]) == 2
    assert "--no-augment needs --tune, --adapt norms or --adapt low-rank" in capsys.readouterr().err
    assert main([*own, "--adapt", "low-rank", "--rank", "3", "-q"]) == 0
    held = load_file(path)
    assert held["conv_block4.conv2.lora_A"].shape == (3, 9 * 16)
    assert (
        "(adapted at rank 3, seed 0)"
        in json.loads(path.with_suffix(".json").read_text("utf-8"))["trained_on"]
    )
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    assert f"narrow, {base.name}, sha256 {file_digest(base, 'sha256')}" in " ".join(
        capsys.readouterr().out.split()
    )
    assert (
        main(["tag", str(tmp_path / "clips" / "test" / "tone" / "2.wav"), "--checkpoint", str(path), "-q"])
        == 0
    )
    assert "tone" in capsys.readouterr().out
    own[5] = str(tmp_path / base.name)
    assert main([*own, "--adapt", "head"]) == 1
    assert "would have the name of its base" in capsys.readouterr().err


class _Killed(Watcher):
    """Ends a run after some steps."""

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_left = n_steps

    def step(self) -> None:
        self.n_left -= 1
        if self.n_left < 0:
            raise KeyboardInterrupt


def test_a_killed_run_goes_on_with_the_same_delta(base: Path, tmp_path: Path) -> None:
    rows = ["file,label,split"]
    for number, (label, waveform) in enumerate(zip(LABELS, sounds(), strict=True)):
        soundfile.write(tmp_path / f"{number}.wav", waveform, RATE)
        rows.append(f"{number}.wav,{label},{'test' if number < 3 else 'train'}")
    (tmp_path / "own.csv").write_text("\n".join(rows), "utf-8")
    data, _ = read_own(tmp_path / "own.csv")
    method = Method(adapt="low-rank", epochs=3, batch_size=3)
    loaded = weights.load(checkpoint=base)
    whole, killed = tmp_path / "whole" / "mine.safetensors", tmp_path / "killed" / "mine.safetensors"
    carry_out(data, loaded, method, whole)
    with pytest.raises(KeyboardInterrupt):
        carry_out(data, loaded, method, killed, watch=_Killed(3))
    assert killed.with_suffix(".progress").is_dir()
    with pytest.raises(KeyboardInterrupt):  # four steps are left: one epoch was finished
        carry_out(data, loaded, method, killed, watch=_Killed(3))
    carry_out(data, loaded, method, killed, watch=_Killed(2))
    assert killed.read_bytes() == whole.read_bytes()

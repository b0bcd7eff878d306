"""Products in 8 bits: the steps of their inputs in records and models, calibration, and rounded weights."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from narrow_mobilenet import STEPS, narrow_mobilenet, with_steps
from seeded_models import FRONT_END
from small_models import noise
from torch import Tensor

import pannsx
from pannsx import create_model, save
from pannsx.errors import WeightsError
from pannsx.inference.cpu.folding import Tensors, rounded_filters
from pannsx.inference.quantisation import int8_steps, rounded_module, rounded_weights
from pannsx.models.convert import to_published
from pannsx.weights.loading import load, open_checkpoint
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, find, read_record
from pannsx.weights.record_json import record_to_json

narrow = narrow_mobilenet


def test_steps_go_from_the_record_to_both_forms_of_the_network(narrow: Path) -> None:
    assert open_checkpoint(checkpoint=narrow).model.int8_steps == STEPS
    loaded = load(checkpoint=narrow)
    assert loaded.record.int8_steps == loaded.model.int8_steps == STEPS
    record = read_record(narrow.with_suffix(".json"))
    assert record_to_json(record)["int8_steps"] == STEPS
    for copied in (copy.deepcopy(loaded.model), pickle.loads(pickle.dumps(loaded.model))):
        assert copied.int8_steps == STEPS
    assert create_model(DEFAULT_CHECKPOINT).int8_steps == {}, "weights that were not calibrated"


def test_steps_are_lost_where_they_may_not_hold(narrow: Path, tmp_path: Path) -> None:
    model = load(checkpoint=narrow).model
    assert model.eval().int8_steps == STEPS
    assert model.train().int8_steps == {}, "its ranges are about to change"
    other = replace(FRONT_END, hop_length=480)
    with pytest.warns(UserWarning, match="other spectra"):
        loaded = load(checkpoint=narrow, frontend=other, ignore_front_end=True)
    assert loaded.record.int8_steps is None
    assert loaded.model.int8_steps == {}
    record = save(load(checkpoint=narrow), tmp_path / "saved.safetensors")
    assert record.int8_steps is None
    assert "int8_steps" not in json.loads((tmp_path / "saved.json").read_text("utf-8"))


def test_a_file_for_a_named_model_has_the_steps_of_its_own_weights_alone(tmp_path: Path) -> None:
    same, other = tmp_path / "same.safetensors", tmp_path / "other.safetensors"
    data = Path(pannsx.__file__).parent / "data" / f"{DEFAULT_CHECKPOINT}.safetensors"
    shutil.copy(data, same)
    content = bytearray(data.read_bytes())
    content[-1000] ^= 1
    other.write_bytes(content)
    steps = find(DEFAULT_CHECKPOINT).int8_steps
    assert steps
    assert open_checkpoint(DEFAULT_CHECKPOINT).model.int8_steps == steps
    assert open_checkpoint(DEFAULT_CHECKPOINT, checkpoint=same).model.int8_steps == steps
    opened = open_checkpoint(DEFAULT_CHECKPOINT, checkpoint=other)
    assert opened.model.int8_steps == {}
    assert opened.record.int8_steps is None


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ({"features.1.4": 0}, r"int8_steps\.features\.1\.4 is 0\.0; a finite number above 0"),
        ({"features.1.4": float("inf")}, "is inf; a finite number above 0"),
        ({"features.1.4": float("nan")}, "is nan; a finite number above 0"),
        ({"features.1.4": "0.1"}, r"int8_steps\.features\.1\.4 is '0\.1'; a number is needed"),
        ({"features.1.4": True}, "a number is needed"),
        ({}, "int8_steps is empty"),
        ([0.1], "int8_steps is"),
        ({"features.1.4": 0.02}, "needs 2 layers, and features.2.4 is missing"),
        ({**STEPS, "features.0.0": 1.0}, "features.0.0 is missing or not among them"),
    ],
)
def test_wrong_steps_are_named(narrow: Path, steps: Any, complaint: str) -> None:
    with pytest.raises(WeightsError, match=complaint):
        load(checkpoint=with_steps(narrow, steps))


def test_steps_of_a_network_that_has_no_such_products(tmp_path: Path) -> None:
    model = create_model("MobileNetV2", n_classes=2)
    path = tmp_path / "v2.safetensors"
    save(model, path, labels=["a", "b"])
    with pytest.raises(WeightsError, match="does not fit MobileNetV2: it needs 0 layers"):
        load(checkpoint=with_steps(path, {"features.1.conv.4": 0.1}))


def test_steps_are_the_largest_inputs_of_the_clips(narrow: Path) -> None:
    model = load(checkpoint=narrow).model
    clips = [noise(12000), noise(30000, seed=1) * 0.1]
    inputs: dict[str, list[np.ndarray]] = {layer: [] for layer in STEPS}
    for layer, found in inputs.items():
        convolution = model.trunk.get_submodule(layer)
        handle = convolution.register_forward_pre_hook(lambda _, x, found=found: found.append(x[0].numpy()))
        with torch.inference_mode():
            for clip in clips:
                model(torch.from_numpy(clip)[None])
        handle.remove()
    steps = int8_steps(model, iter(clips))
    assert list(steps) == list(STEPS)
    for layer, found in inputs.items():
        assert steps[layer] * 255 == max(np.percentile(each, 99.99) for each in found)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_calibration_says_what_it_needs(narrow: Path) -> None:
    model = load(checkpoint=narrow).model
    with pytest.raises(ValueError, match="no clip to calibrate on"):
        int8_steps(model, [])
    with pytest.raises(ValueError, match=r"clip 0 has shape \(1, 9\); \(S,\) samples"):
        int8_steps(model, [np.zeros((1, 9))])
    with torch.no_grad():
        model.trunk.get_submodule("features.2.2").bias.fill_(-100)  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"the input of features\.2\.4 is 0 in every clip, of 1"):
        int8_steps(model, [noise(9000)])
    with pytest.raises(ValueError, match="training mode"):
        int8_steps(model.train(), [noise(9000)])
    for other in ("MobileNetV2", "LeeNet11"):
        with pytest.raises(ValueError, match=f"{other} cannot be computed in 8 bits"):
            int8_steps(create_model(other, n_classes=2), [noise(9000)])
        with pytest.raises(ValueError, match=f"{other} cannot be computed in 8 bits"):
            rounded_module(create_model(other, n_classes=2), {})


# A weight moves by half a step at most, 127 of which are its channel's largest; the quotient is rounded, too.
HALF_A_STEP = 0.5 * (1 + 1e-5)


def test_rounded_weights_round_to_the_same_numbers_again(narrow: Path) -> None:
    model = load(checkpoint=narrow).model
    arrays = {key: tensor.numpy() for key, tensor in to_published(model).items()}
    arrays["features.1.5.weight"][0] = 0  # its channel is constant
    arrays["features.2.4.weight"][1] = 0
    layers = {"features.1.4": "features.1.5", "features.2.4": "features.2.5"}
    found = rounded_weights(arrays, layers)
    restored = dict(arrays)
    for layer, (whole, scale) in found.items():
        weight = arrays[f"{layer}.weight"]
        assert whole.dtype == np.int8
        assert np.abs(whole).max() == 127
        assert (scale > 0).all()
        back = whole * scale[:, None, None, None]
        assert (np.abs(back - weight) <= HALF_A_STEP * scale[:, None, None, None]).all()
        restored[f"{layer}.weight"] = back
    again = rounded_weights(restored, layers)
    signs = np.sign(arrays["features.2.5.weight"])
    assert -1 in signs, "a norm turns some channels over"
    for layer, (whole, _) in found.items():
        assert np.array_equal(again[layer][0], whole)
        for each in (arrays, restored):  # as products with the norm's scales, too
            folded, _ = Tensors(each).folded(layer, layers[layer])
            sign = np.sign(arrays[f"{layers[layer]}.weight"])[:, None, None, None]
            used = sign.ravel() != 0
            assert np.array_equal(rounded_filters(folded)[0][used], (whole * sign)[used])


def test_the_rounded_module_computes_in_whole_numbers(narrow: Path) -> None:
    model = load(checkpoint=narrow).model
    clip = torch.from_numpy(noise(12000))[None]
    steps = int8_steps(model, [clip[0].numpy()])
    copied = rounded_module(model, steps)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for layer in steps:
        copied.trunk.get_submodule(layer).register_forward_hook(
            lambda _, x, y, layer=layer: seen.update({layer: (x[0], y)})
        )
    with torch.inference_mode():
        exact, got = model(clip).logits, copied(clip).logits
    arrays = {key: tensor.numpy() for key, tensor in to_published(model).items()}
    found = rounded_weights(arrays, {layer: layer[:-1] + "5" for layer in steps})
    for layer, (inputs, outputs) in seen.items():
        units = inputs.double().numpy() / steps[layer]
        assert np.abs(units - units.round()).max() < 1e-4  # float32 has seven digits, and units three
        units = units.round()
        assert units.min() == 0
        assert units.max() == 255, "the largest inputs are cut off"
        whole, scale = found[layer]
        sums = np.einsum("oi,bitf->botf", whole[:, :, 0, 0].astype(np.int64), units.astype(np.int64))
        want = sums * scale[:, None, None].astype(np.float64) * steps[layer]
        assert np.abs(outputs.numpy() - want).max() < 1e-5 * np.abs(want).max()
    change = float((got - exact).abs().max())
    assert 0 < change < 0.1 * float(exact.abs().max()), "of the size of rounding, and no more"
    with pytest.raises(ValueError, match=r"steps are of no layer; features\.1\.4, features\.2\.4 are needed"):
        rounded_module(model, {})


def test_halves_are_rounded_up_and_large_inputs_cut_off(narrow: Path) -> None:
    model = load(checkpoint=narrow).model
    copied = rounded_module(model, {"features.1.4": 0.5, "features.2.4": 1.0})
    convolution = copied.trunk.get_submodule("features.1.4")
    (hook,) = convolution._forward_pre_hooks.values()
    (got,) = hook(convolution, (torch.tensor([0.0, 0.2, 0.25, 0.75, 1.0, 127.5, 500.0]),))
    assert got.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0, 127.5, 127.5]

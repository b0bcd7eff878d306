"""Published classes with the golden data's seeded weights, for the tests of models."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from memory import give_much_memory_back
from torch import Tensor

from pannsx.frontend.settings import FrontEnd
from pannsx.models import ARCHITECTURES, Output, Pann
from pannsx.models.convert import load_published
from pannsx.models.layout import published_key
from pannsx.models.settings import MobileNetSettings, ResNetSettings
from pannsx.models.structure import Architecture
from pannsx.models.zoo import build_empty
from pannsx.weights import manifest

FRONT_END = FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14000)
"""Of every published checkpoint at 32 kHz with 64 bands."""

HOPS_AND_OFFSETS = {
    "Cnn6": (5120, 2400.0), "Cnn10": (5120, 2400.0), "Cnn14": (10240, 4960.0),
    "ResNet22": (10240, 4960.0), "ResNet38": (10240, 4960.0), "ResNet54": (10240, 4960.0),
    "MobileNetV1": (10240, 4960.0), "MobileNetV2": (10240, 4960.0),
    "Wavegram_Cnn14": (10240, 5117.5), "Wavegram_Logmel_Cnn14": (10240, 4960.0),
    "Res1dNet31": (20480, 10237.5), "Res1dNet51": (20480, 10237.5), "DaiNet19": (256, 165.5),
    "LeeNet11": (19683, 0.0), "LeeNet24": (6561, 0.0),
}  # fmt: skip
"""Frame hop and centre of frame 0 in samples at 32 kHz, one name for each trunk with its stem."""

# A deeper network of the same blocks teaches nothing new about times and batches.
DISTINCT = [name for name in HOPS_AND_OFFSETS if name not in {"Cnn10", "ResNet38", "Res1dNet51"}]

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


def golden_path(name: str) -> Path:
    """A golden file; without it nothing is tested, so its absence is a failure."""
    path = GOLDEN / name
    if not path.is_file():
        raise AssertionError(f"{path} is missing: copy the golden data with tools/copy_golden.py")
    return path


@cache
def golden_json(name: str) -> Any:
    return json.loads(golden_path(name).read_text(encoding="utf-8"))


@cache
def golden_arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(golden_path(name)) as arrays:
        return dict(arrays)


def published_classes() -> list[str]:
    return list(golden_json("state_dict_shapes.json"))


def golden_waveform(sample_rate: int) -> Tensor:
    """``(1, S)``: the five seconds of synthetic sound that the golden outputs were computed from."""
    samples = golden_arrays("inputs.npz")[f"w{sample_rate}"]
    return torch.from_numpy(samples.astype(np.float32) / 32768)[None]


@cache
def _seeded_weights() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seeded_weights", golden_path("seeded_weights.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_Draw = tuple[str, tuple[int, ...], bool, bool]  # what a tensor is drawn from: arguments of seeded_tensor
_drawn: dict[_Draw, Tensor] = {}
"""Of the class drawn last. Classes that follow one another share most of their tensors; those of all classes
would take over a gigabyte."""


_N_DRAWN = 2**18
"""Numbers of a tensor that :func:`lively_model` draws; the others repeat them."""


def forget_seeded_tensors() -> None:
    """Free the memory of the class drawn last (up to 430 MB)."""
    _drawn.clear()


def seeded_state(name: str) -> dict[str, Tensor]:
    """The seeded weights of a published class in the published layout, front-end constants left out.

    The tensors are shared between calls: clone what is to be changed.
    """
    draws = _draws_of(name)
    if others := set(_drawn) - set(draws.values()):
        for draw in others:
            del _drawn[draw]
        give_much_memory_back()
    for draw in draws.values():
        if draw not in _drawn:
            _drawn[draw] = torch.from_numpy(np.asarray(_seeded_weights().seeded_tensor(*draw)))
    return {key: _drawn[draw] for key, draw in draws.items()}


def _draws_of(name: str) -> dict[str, _Draw]:
    shapes = golden_json("state_dict_shapes.json")[name]
    return _draws(shapes, any(key.startswith("logmel_extractor.") for key in shapes))


def _draws(shapes: Mapping[str, Sequence[int]], has_logmel: bool) -> dict[str, _Draw]:
    norms = {key.removesuffix(".running_var") for key in shapes if key.endswith(".running_var")}
    return {
        key: (key, tuple(shape), key.rpartition(".")[0] in norms, has_logmel)
        for key, shape in shapes.items()
        if not key.startswith(_seeded_weights().FRONTEND_PREFIXES)
    }


def _repeated(draw: _Draw) -> Tensor:
    """Weights like those of a draw. A large tensor repeats its first rows, each time moved by one place."""
    key, shape, *kinds = draw
    if math.prod(shape) <= _N_DRAWN:
        return torch.from_numpy(np.asarray(_seeded_weights().seeded_tensor(*draw)))
    n_rows = max(2, _N_DRAWN // math.prod(shape[1:]))
    drawn = _seeded_weights().seeded_tensor(key, (n_rows, *shape[1:]), *kinds)
    return torch.from_numpy(np.resize(drawn.reshape(-1)[:-1], shape))


def empty_model(name: str) -> Pann:
    record = manifest.find(name)
    return build_empty(record.architecture, record.sample_rate, record.frontend, record.n_classes)


def seeded_model(name: str) -> Pann:
    """A published class with its seeded weights, in evaluation mode."""
    model = empty_model(name)
    load_published(model, seeded_state(name))
    return model


def lively_model(name: str) -> Pann:
    """A published class with weights like the seeded ones, which take a tenth of the time to draw.

    For all that needs no golden numbers.
    """
    model = empty_model(name)
    load_published(model, {key: _repeated(draw) for key, draw in _draws_of(name).items()})
    return model


NARROWER = 4
"""Channels of a published class for one of a narrow class."""


def narrow_row(row: Architecture) -> Architecture:
    """The same layers with a quarter of the channels; MobileNets, which are small, as they are."""
    trunk = row.trunk
    if isinstance(trunk, MobileNetSettings):
        return row
    sizes: dict[str, Any] = {"widths": tuple(width // NARROWER for width in trunk.widths)}
    if isinstance(trunk, ResNetSettings):
        sizes["out_channels"] = trunk.out_channels // NARROWER
    return replace(row, trunk=replace(trunk, **sizes), embedding=row.embedding // NARROWER)


def narrow_empty_model(name: str) -> Pann:
    """A published class with a quarter of its channels, without weights.

    For all in which the number of channels has no part, such as times.
    """
    architecture = manifest.find(name).architecture
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, architecture, narrow_row(ARCHITECTURES[architecture]))
        return empty_model(name)


def narrow_model(name: str) -> Pann:
    """The same with weights like those of :func:`lively_model`: 30 MB of the largest, instead of 400 MB."""
    model = narrow_empty_model(name)
    shapes = {published_key(key): tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    draws = _draws(shapes, model.frontend is not None)
    load_published(model, {key: _repeated(draw) for key, draw in draws.items()})
    return model


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Noise of a tenth of full scale, the same for the same shape and seed."""
    samples = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(0.1 * samples)


def run(model: Pann, waveform: Tensor) -> Output:
    """The model's answer, without gradients."""
    with torch.inference_mode():
        return Output(*model(waveform))

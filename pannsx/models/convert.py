"""Conversion between our state dicts and the key layout of published checkpoints.

Inside a part, modules have their published names, so that conversion only removes the names of parts:
``trunk.conv_block3.bn1.weight`` is published as ``conv_block3.bn1.weight``. Published checkpoints also
hold front-end constants, here derived from the settings, and a few tensors unused by the published code,
which are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from pannsx.errors import WeightsError
from pannsx.frontend.definition import hann_window, mel_filters
from pannsx.frontend.settings import FrontEnd
from pannsx.models.pann import Pann
from pannsx.models.zoo import ARCHITECTURES

_PARTS = ("stem", "trunk", "head", "log_mel", "wavegram")
_REAL = "spectrogram_extractor.stft.conv_real.weight"
_IMAG = "spectrogram_extractor.stft.conv_imag.weight"
_MEL = "logmel_extractor.melW"
_MEL_TOLERANCE = 1e-3
"""As a share of the largest filter weight: far above float16 rounding, far below other settings' effect."""


def load_published(model: Pann, published: Mapping[str, Tensor]) -> None:
    """Load a published state dict into ``model``, strictly.

    Parameters without storage (:func:`pannsx.models.zoo.build_empty`) take over the tensors themselves,
    so the caller must not change them afterwards; others copy them. In both cases the model keeps its
    dtypes: float16 weights are widened.

    Raises:
        WeightsError: as :func:`from_published`.
    """
    own = model.state_dict()
    renamed = from_published(model, published)
    state = {key: tensor.to(own[key].dtype).contiguous() for key, tensor in renamed.items()}
    model.load_state_dict(state, assign=any(tensor.is_meta for tensor in own.values()))


def from_published(model: Pann, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict -> ``model``'s own layout, the same tensors under its keys.

    Raises:
        WeightsError: a key is missing or unexplained, a shape differs from the model's, or the front-end
            constants do not match the model's settings.
    """
    own = model.state_dict()
    our_key = {published_key(key): key for key in own}
    constants = _constant_shapes(model.frontend)
    unused = ARCHITECTURES[model.architecture].unused
    missing = [key for key in our_key if key not in published]
    unexplained = [
        key for key in published if key not in our_key and key not in constants and not key.startswith(unused)
    ]
    wrong = [
        f"{key} is {tuple(published[key].shape)}, {tuple(shape)} is needed"
        for key, shape in [*((key, own[our_key[key]].shape) for key in our_key), *constants.items()]
        if key in published and tuple(published[key].shape) != tuple(shape)
    ]
    problems = [
        *(["missing: " + _some(missing)] if missing else []),
        *(["not of this architecture: " + _some(unexplained)] if unexplained else []),
        *(["wrong shape: " + _some(wrong)] if wrong else []),
    ]
    if problems:
        prefix = _prefix_of(missing[0], unexplained) if missing else ""
        remedy = (
            f"The network is under the prefix {prefix!r}: give prefix={prefix!r}, or save only its keys"
            if prefix
            else "Check that the model's name, front end and number of classes are the checkpoint's"
        )
        raise WeightsError(
            f"the checkpoint does not fit {_described(model)}. {'. '.join(problems)}. {remedy}"
        )
    _check_mel_filters(model, published)
    return {ours: published[key] for key, ours in our_key.items()}


def to_published(model: Pann) -> dict[str, Tensor]:
    """``model``'s state dict in the published layout, front-end constants included.

    The inverse of :func:`from_published`; tensors unused by the published code are not restored.
    """
    state = {published_key(key): tensor for key, tensor in model.state_dict().items()}
    return {**(_constants(model.frontend) if model.frontend else {}), **state}


def published_key(key: str) -> str:
    """A key of our state dict without the names of parts."""
    names = key.split(".")
    while names[0] in _PARTS:
        del names[0]
    return ".".join(names)


def _prefix_of(key: str, candidates: Iterable[str]) -> str:
    """The prefix of a key in a larger module's state dict, such as ``"encoder."``, or an empty string."""
    return next((each.removesuffix(key) for each in candidates if each.endswith("." + key)), "")


def _constant_shapes(frontend: FrontEnd | None) -> dict[str, tuple[int, ...]]:
    if frontend is None:
        return {}
    n_bins = frontend.n_fft // 2 + 1
    transform = (n_bins, 1, frontend.n_fft)
    return {_REAL: transform, _IMAG: transform, _MEL: (n_bins, frontend.n_mels)}


def _constants(frontend: FrontEnd) -> dict[str, Tensor]:
    """The windowed Fourier transform as the kernels of two convolutions, and the mel filters."""
    n_fft = frontend.n_fft
    # Exact phases: the product of bin and sample is reduced modulo n_fft as an integer.
    cycles = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) % n_fft
    kernels = hann_window(n_fft) * np.exp(-2j * np.pi * cycles / n_fft)
    arrays = {_REAL: kernels.real[:, None], _IMAG: kernels.imag[:, None], _MEL: mel_filters(frontend)}
    return {key: torch.tensor(array, dtype=torch.float32, device="cpu") for key, array in arrays.items()}


def _check_mel_filters(model: Pann, published: Mapping[str, Tensor]) -> None:
    """WeightsError if the mel filters differ: fmin, fmax and sample rate do not show in shapes."""
    if model.frontend is None or _MEL not in published:
        return
    needed = torch.tensor(mel_filters(model.frontend), dtype=torch.float32, device="cpu")
    error = (published[_MEL].detach().float().cpu() - needed).abs().max() / needed.max()
    if not error <= _MEL_TOLERANCE:
        raise WeightsError(
            f"{_MEL} of the checkpoint differs from the mel filters of {_described(model)} by "
            f"{error:.0%} of the largest: it was trained with another front end; give its settings"
        )


def _described(model: Pann) -> str:
    settings = f" with {model.frontend}" if model.frontend else ""
    return f"{model.architecture} for {model.n_classes} classes{settings}"


def _some(items: Iterable[str], shown: int = 8) -> str:
    """The first items, and the number of the others."""
    items = list(items)
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more

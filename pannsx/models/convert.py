"""Conversion between the state dicts of our torch modules and the key layout of published checkpoints.

See :mod:`pannsx.models.layout`, which defines that layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pannsx.frontend.definition import hann_window, mel_filters
from pannsx.frontend.settings import FrontEnd
from pannsx.models.layout import IMAG, MEL, REAL, check_layout, published_key
from pannsx.models.pann import Pann
from pannsx.models.structure import Arrays
from pannsx.models.zoo import build_empty


def module_of_arrays(
    published: Arrays,
    architecture: str,
    sample_rate: int,
    frontend: FrontEnd | None,
    n_classes: int,
    hidden: Sequence[int] = (),
) -> Pann:
    """A torch module in float32 with a published state dict of NumPy arrays, which it may take over.

    Raises:
        ValueError: as :func:`pannsx.models.zoo.build_empty`.
        WeightsError: as :func:`from_published`.
    """
    model = build_empty(architecture, sample_rate, frontend, n_classes, hidden=hidden)
    load_published(model, {key: torch.from_numpy(array) for key, array in published.items()})
    return model.float().eval()


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
    check_layout(
        model,
        {published_key(key): tuple(tensor.shape) for key, tensor in own.items()},
        {key: tuple(tensor.shape) for key, tensor in published.items()},
        lambda key: published[key].detach().float().cpu().numpy(),
    )
    return {key: published[published_key(key)] for key in own}


def to_published(model: Pann) -> dict[str, Tensor]:
    """``model``'s state dict in the published layout, front-end constants included.

    The inverse of :func:`from_published`; tensors unused by the published code are not restored.
    """
    state = {published_key(key): tensor for key, tensor in model.state_dict().items()}
    return {**(_constants(model.frontend) if model.frontend else {}), **state}


def _constants(frontend: FrontEnd) -> dict[str, Tensor]:
    """The windowed Fourier transform as the kernels of two convolutions, and the mel filters."""
    n_fft = frontend.n_fft
    # Exact phases: the product of bin and sample is reduced modulo n_fft as an integer.
    cycles = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) % n_fft
    kernels = hann_window(n_fft) * np.exp(-2j * np.pi * cycles / n_fft)
    arrays = {REAL: kernels.real[:, None], IMAG: kernels.imag[:, None], MEL: mel_filters(frontend)}
    return {key: torch.tensor(array, dtype=torch.float32, device="cpu") for key, array in arrays.items()}

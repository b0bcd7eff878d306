"""The key layout of published checkpoints, and checks of state dicts in it, without torch.

Inside a part, modules have their published names, so that a published key is ours without the names of parts:
``trunk.conv_block3.bn1.weight`` is published as ``conv_block3.bn1.weight``. Published checkpoints also hold
front-end constants, here derived from the settings, and a few tensors unused by the published code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pannsx.errors import WeightsError
from pannsx.frontend.definition import mel_filters
from pannsx.frontend.settings import FrontEnd
from pannsx.models.settings import Shape
from pannsx.models.structure import ArrayModel, Network, Structure
from pannsx.models.zoo import ARCHITECTURES
from pannsx.types import FloatArray

_PARTS = ("stem", "trunk", "head", "log_mel", "wavegram")
REAL = "spectrogram_extractor.stft.conv_real.weight"
IMAG = "spectrogram_extractor.stft.conv_imag.weight"
MEL = "logmel_extractor.melW"
_MEL_TOLERANCE = 1e-3
"""As a share of the largest filter weight: far above float16 rounding, far below other settings' effect."""


def published_key(key: str) -> str:
    """A key of our state dict without the names of parts."""
    names = key.split(".")
    while names[0] in _PARTS:
        del names[0]
    return ".".join(names)


def array_model(structure: Structure, published: Mapping[str, npt.NDArray[Any]]) -> ArrayModel:
    """A network made of a published state dict, strictly; the arrays are not copied.

    Raises:
        WeightsError: as :func:`check_layout`.
    """
    shapes = structure.shapes()
    given = {key: array.shape for key, array in published.items()}
    check_layout(structure, shapes, given, lambda key: np.asarray(published[key], np.float32))
    return ArrayModel(structure, {key: published[key] for key in shapes})


def check_layout(
    network: Network,
    needed: Mapping[str, Shape],
    given: Mapping[str, Shape],
    read: Callable[[str], FloatArray],
) -> None:
    """Check that a published state dict fits a network.

    Args:
        network: the network.
        needed: shapes of its tensors by published key.
        given: shapes of the tensors that there are.
        read: a tensor by its key.

    Raises:
        WeightsError: a key is missing or unexplained, a shape differs from the model's, or the front-end
            constants do not match the model's settings.
    """
    constants = _constant_shapes(network.frontend)
    unused = ARCHITECTURES[network.architecture].unused
    missing = [key for key in needed if key not in given]
    unexplained = [
        key for key in given if key not in needed and key not in constants and not key.startswith(unused)
    ]
    wrong = [
        f"{key} is {given[key]}, {shape} is needed"
        for key, shape in [*needed.items(), *constants.items()]
        if key in given and given[key] != shape
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
            f"the checkpoint does not fit {_described(network)}. {'. '.join(problems)}. {remedy}"
        )
    if MEL in given and network.frontend is not None:
        _check_mel_filters(network, network.frontend, read(MEL))


def _prefix_of(key: str, candidates: Iterable[str]) -> str:
    """The prefix of a key in a larger module's state dict, such as ``"encoder."``, or an empty string."""
    return next((each.removesuffix(key) for each in candidates if each.endswith("." + key)), "")


def _constant_shapes(frontend: FrontEnd | None) -> dict[str, Shape]:
    if frontend is None:
        return {}
    n_bins = frontend.n_fft // 2 + 1
    transform = (n_bins, 1, frontend.n_fft)
    return {REAL: transform, IMAG: transform, MEL: (n_bins, frontend.n_mels)}


def _check_mel_filters(network: Network, frontend: FrontEnd, published: FloatArray) -> None:
    """WeightsError if the mel filters differ: fmin, fmax and sample rate do not show in shapes."""
    error = _mel_error(frontend, published)
    if not error <= _MEL_TOLERANCE:
        raise WeightsError(
            f"{MEL} of the checkpoint differs from the mel filters of {_described(network)} by "
            f"{error:.0%} of the largest: it was trained with another front end; give its settings"
        )


def _mel_error(frontend: FrontEnd, filters: FloatArray) -> float:
    """Largest difference of ``(n_bins, F)`` mel filters from those of the settings, as a share."""
    needed = mel_filters(frontend)
    return float(np.abs(filters - needed).max() / needed.max())


def front_end_mismatch(frontend: FrontEnd, published: Mapping[str, npt.NDArray[Any]]) -> str | None:
    """The difference of a state dict's front-end constants from the settings, in words.

    None: they agree, or there are no constants. The hop between frames is none of them.
    """
    for key, shape in _constant_shapes(frontend).items():
        if key in published and published[key].shape != shape:
            return f"{key} of its file is {published[key].shape}, and {shape} here"
    if MEL not in published:
        return None
    error = _mel_error(frontend, np.asarray(published[MEL], np.float32))
    return None if error <= _MEL_TOLERANCE else f"{MEL} of its file differs by {error:.0%} of the largest"


def _described(network: Network) -> str:
    settings = f" with {network.frontend}" if network.frontend else ""
    return f"{network.architecture} for {network.n_classes} classes{settings}"


def _some(items: Iterable[str], shown: int = 8) -> str:
    """The first items, and the number of the others."""
    items = list(items)
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more

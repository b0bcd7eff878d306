"""Reading a state dict in the published key layout, without ever running a pickle's code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.weights.eight_bits import restored
from pannsx.weights.mapped import read_safetensors
from pannsx.weights.prefixes import published_keys, under

if TYPE_CHECKING:
    from torch import Tensor

FRONT_END_PREFIXES = ("spectrogram_extractor.", "logmel_extractor.")
"""Published keys of front-end constants, not weights."""


def read_state_dict(path: PathLike, *, prefix: str | None = None) -> dict[str, Tensor]:
    """Tensors of a ``.pth`` or safetensors file by published key, on the CPU, floating ones as float32.

    The state dict is the whole file, or its entry ``model``, ``state_dict``, ``model_state_dict``,
    ``module``, ``network`` or ``net``, or else the only entry with a state dict.  A prefix of all keys, of
    whatever depth, is removed, and so are the names of ``torch.compile`` (``_orig_mod``) and FSDP.  The keys
    of our own ``state_dict()`` become the published ones.  The format is detected by content, not by name.

    Args:
        path: the file.
        prefix: the network's place in a file with other parts: an entry such as ``"ema"``, or the prefix of
            its keys, such as ``"audio_branch."``; everything else is left out. A leading ``module.`` of
            ``DataParallel`` and the like may be omitted.

    Raises:
        WeightsError: unreadable, damaged, neither format, a pickle that would run code, not a state dict,
            several networks or a network and more without ``prefix``, a prefix that no key has, weights in 8
            bits without their scales, or weights that are NaN or infinite.
    """
    import torch

    arrays = read_arrays(path, prefix=prefix)
    return {key: torch.from_numpy(_as_float32(array)) for key, array in arrays.items()}


def read_arrays(path: PathLike, *, prefix: str | None = None) -> dict[str, npt.NDArray[Any]]:
    """As :func:`read_state_dict`, in NumPy and in the file's types; only ``.pth`` files need torch.

    Tensors of safetensors files are mapped into memory, and read when they are used, except for weights in 8
    bits, which are given back in float32.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    rest = None if prefix is None else prefix.strip(".")
    state: dict[str, Any]
    as_array: Callable[[str, Any], npt.NDArray[Any]]
    if start[8:9] == b"{":  # safetensors: eight bytes of header length, then its JSON
        state = read_safetensors(path)
        if not state:
            raise WeightsError(f"{path} holds no tensors")
        as_array = _itself
    elif start.startswith((b"PK\x03\x04", b"\x80")):  # a zip archive, or a pickle as torch wrote before 1.6
        from pannsx.weights import pickled

        state, rest = pickled.read_pickle(path, rest)
        as_array = partial(pickled.as_array, path=path)
    else:
        raise WeightsError(
            f"{path} is not a checkpoint: it starts with {start!r}, which is neither torch nor safetensors"
            + ("; it is a web page, saved in place of the file" if start.lstrip()[:1] == b"<" else "")
        )
    if rest:
        state = under(rest, state, path)
    found: dict[str, npt.NDArray[Any]] = {}
    for (key, value), name in zip(state.items(), published_keys(state, path), strict=True):
        array = as_array(key, value)
        if name in found:
            raise WeightsError(f"{path} holds {name} twice, once as {key}; save one network's state_dict()")
        check_finite(key, array, path)
        found[name] = array
    return restored(found, path)


def _itself(_: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array


def _as_float32(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Floating types as float32; batch norms count their batches in an int64, which float32 would round."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):  # beyond float32: becomes infinite, which is reported with its key
        return array.astype(np.float32, copy=False)


def check_finite(key: str, array: npt.NDArray[Any], where: PathLike) -> None:
    """WeightsError for NaN or infinite values, which would make every probability NaN."""
    if array.dtype.kind != "f" or not array.size:
        return
    array = _as_float32(array)  # halves take several times longer
    # The extremes show NaN and infinity without a copy of the tensor.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        n_bad = int((~np.isfinite(array)).sum())
        raise WeightsError(
            f"{where}: {key} has {n_bad} values of {array.size} that are NaN or infinite; the training "
            "diverged or the file was altered: use an earlier checkpoint, or fetch the file again"
        )

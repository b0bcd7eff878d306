"""State dicts in torch's own files (``.pth``), without ever running a pickle's code. This needs torch."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pannsx.errors import WeightsError
from pannsx.weights.prefixes import ANCHORS, ends_in

if TYPE_CHECKING:
    from torch import Tensor

_ENTRIES = ("model", "state_dict", "model_state_dict", "module", "network", "net")
"""Entries that hold the state dict in the files of training programs."""

_SAFE_RELEASE = (2, 6)  # the first torch with a safe weights_only=True
_DTYPES = ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64",
           "Float16", "Float32", "Float64", "Bytes", "Str")  # fmt: skip


def _harmless_numpy() -> list[Callable[..., object] | tuple[Callable[..., object], str]]:
    """The functions in pickles of NumPy arrays or scalars of plain numbers or text, under old and new names.

    ``Cnn14_16k`` was published together with the state of its sampler, which contains such arrays.  Arrays
    of Python objects are still refused.
    """
    multiarray = np.array(0).__reduce__()[0].__module__  # numpy._core.multiarray, numpy.core before 2.0
    reconstruct, scalar = np.array(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    homes = {multiarray, "numpy.core.multiarray", "numpy._core.multiarray"}
    return [
        np.dtype,
        np.ndarray,
        *(getattr(np.dtypes, f"{name}DType") for name in _DTYPES),
        *((reconstruct, f"{home}._reconstruct") for home in sorted(homes)),
        *((scalar, f"{home}.scalar") for home in sorted(homes)),
    ]


def read_pickle(path: Path, prefix: str | None) -> tuple[dict[str, Tensor], str | None]:
    """The state dict in a file, and the rest of ``prefix`` after the entries that it names.

    Raises:
        WeightsError: as :func:`pannsx.weights.read_state_dict`.
    """
    return _find_state_dict(_load(path), path, prefix)


def as_array(key: str, tensor: Tensor, path: Path) -> npt.NDArray[Any]:
    """A tensor of a floating type as float32; a counter, which float32 would round, as it is."""
    import torch

    if tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        found: npt.NDArray[Any] = tensor.detach().to(torch.float32).numpy()
        return found
    if tensor.dtype != torch.int64:
        raise WeightsError(f"{path}: {key} has type {tensor.dtype}; a floating type is needed")
    return np.asarray(tensor.numpy())


def _load(path: Path) -> object:
    import torch

    release = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if release < _SAFE_RELEASE:
        raise WeightsError(
            f"{path} is a pickle, and torch {torch.__version__} cannot read one safely (CVE-2025-32434); "
            "use torch 2.6 or later, or convert the file to safetensors there"
        )
    try:
        # An open file: with a path, torch would choose the format by the extension.
        with torch.serialization.safe_globals(_harmless_numpy()), path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise WeightsError(
                f"{path} is not a plain state dict: its pickle asks for {wanted[1]}, which could run any "
                "code; nothing of it was run. Save model.state_dict() alone, or convert to safetensors"
            ) from error
        # torch's own words advise to read the file without this protection.
        raise WeightsError(f"{path} is damaged, or holds more than tensors and plain values") from error
    except Exception as error:  # a damaged pickle can fail at any of its steps, in any way
        raise WeightsError(f"{path} is damaged: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _find_state_dict(entries: object, path: Path, prefix: str | None) -> tuple[dict[str, Tensor], str | None]:
    wanted = None if prefix is None else prefix.strip(".")
    while isinstance(entries, dict):
        if wanted and (entry := _entry_of(wanted, entries)) is not None:
            entries, wanted = entries[entry], wanted[len(entry) + 1 :]
            continue
        inner = next((entries[key] for key in _ENTRIES if isinstance(entries.get(key), dict)), None)
        if inner is None:
            inner = _only_state_dict(entries, path)
        if inner is None:
            break
        entries = inner
    if not isinstance(entries, dict) or not entries:
        raise WeightsError(f"{path} holds no state dict but {type(entries).__name__}")
    strangers = [key for key, value in entries.items() if not (isinstance(key, str) and _is_tensor(value))]
    if strangers:
        raise WeightsError(
            f"{path} holds no state dict: {strangers[0]!r} is not a tensor ({len(strangers)} such entries); "
            "the state dict is needed at the top level or under one of " + ", ".join(map(repr, _ENTRIES))
        )
    return entries, wanted


def _entry_of(prefix: str, entries: dict[Any, Any]) -> str | None:
    """The entry with a dictionary that a prefix names or begins with."""
    names = prefix.split(".")
    starts = (".".join(names[:n]) for n in range(len(names), 0, -1))
    return next((start for start in starts if isinstance(entries.get(start), dict)), None)


def _only_state_dict(entries: dict[Any, Any], path: Path) -> object:
    """The only state dict in the entries, at any depth, or None where the entries themselves are one."""
    if _has_classifier(entries):
        return None
    found = dict(_state_dicts(entries))
    found = {key: state for key, state in found.items() if _has_classifier(state)} or found
    if len(found) > 1:
        raise WeightsError(
            f"{path} holds several networks, {', '.join(map(repr, found))}; choose one with prefix="
        )
    return next(iter(found.values()), None)


def _state_dicts(entries: dict[Any, Any], before: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every state dict below the entries, with the path of its keys."""
    for key, value in entries.items():
        if isinstance(key, str) and isinstance(value, dict):
            if _is_state_dict(value):
                yield before + key, value
            else:
                yield from _state_dicts(value, f"{before}{key}.")


def _has_classifier(entries: dict[Any, Any]) -> bool:
    return any(ends_in(key, anchor) for key in entries if isinstance(key, str) for anchor in ANCHORS)


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(key, str) and _is_tensor(tensor) for key, tensor in value.items())
    )


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.layout == torch.strided

"""Reading a state dict in the published key layout, without ever running a pickle's code."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pannsx.errors import WeightsError
from pannsx.models.convert import published_key
from pannsx.types import PathLike

FRONT_END_PREFIXES = ("spectrogram_extractor.", "logmel_extractor.")
"""Published keys of front-end constants, not weights."""

_ENTRIES = ("model", "state_dict", "model_state_dict", "module", "network", "net")
"""Entries that hold the state dict in the files of training programs."""

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Names that torch.compile, FSDP and activation checkpointing put into a key, at any place."""

_OUTER = ("module", "model", "network", "net")
"""Attributes that hold the network in DataParallel, in Lightning and in other training programs."""

_ANCHORS = ("fc_audioset.weight", "att_block.cla.weight")
"""The classifier's key, one of which every network has: what stands before it is the network's prefix."""

_SHOWN = 8  # beginnings of keys in an error
_SAFE_RELEASE = (2, 6)  # the first torch with a safe weights_only=True
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
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


def read_state_dict(path: PathLike, *, prefix: str | None = None) -> dict[str, Tensor]:
    """Tensors of a ``.pth`` or safetensors file by published key, on the CPU, floating ones as float32.

    The state dict is the whole file, or its entry ``model``, ``state_dict``, ``model_state_dict``,
    ``module``, ``network`` or ``net``, or else the only entry with a state dict.  A prefix of all keys, of
    whatever depth, is removed, and so are the names of ``torch.compile`` (``_orig_mod``) and FSDP.  The keys
    of our own ``state_dict()`` become the published ones.  The format is detected by content, not by name.

    Args:
        path: the file.
        prefix: the network's place in a file that holds more than it: an entry such as ``"ema"``, or what
            stands before its keys, such as ``"encoder."``; everything else is left out.

    Raises:
        WeightsError: unreadable, damaged, neither format, a pickle that would run code, not a state dict,
            several networks or a network and more without ``prefix``, a prefix that no key has, or weights
            that are NaN or infinite.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    if start[8:9] == b"{":  # safetensors: eight bytes of header length, then its JSON
        entries = _read_safetensors(path)
    elif start.startswith((b"PK\x03\x04", b"\x80")):  # a zip archive, or a pickle as torch wrote before 1.6
        entries = _read_pickle(path)
    else:
        raise WeightsError(
            f"{path} is not a checkpoint: it starts with {start!r}, which is neither torch nor safetensors"
            + ("; it is a web page, saved in place of the file" if start.lstrip()[:1] == b"<" else "")
        )
    return _normalised(_find_state_dict(entries, path, prefix), path)


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # Mapped, not copied: what is read is what is used, when it is used. The file must not be cut
        # short meanwhile; one that is replaced, as this package replaces files, stays mapped as it was.
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} is a damaged safetensors file: {error}") from error


def _read_pickle(path: Path) -> object:
    release = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if release < _SAFE_RELEASE:
        raise WeightsError(
            f"{path} is a pickle, and torch {torch.__version__} cannot read one safely (CVE-2025-32434); "
            "use torch 2.6 or later, or convert the file to safetensors there"
        )
    try:
        # An open file: from a path, torch would take the ending's word for what is in it.
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


def _find_state_dict(entries: object, path: Path, prefix: str | None) -> dict[str, Tensor]:
    """The tensors of one network, under keys without the names of wrappers and without a common prefix."""
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
    return _under(wanted, entries, path) if wanted else entries


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
    return any(_ends_in(key, anchor) for key in entries if isinstance(key, str) for anchor in _ANCHORS)


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(key, str) and _is_tensor(tensor) for key, tensor in value.items())
    )


def _under(prefix: str, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    start = _unwrapped(prefix) + "."
    found = {
        _unwrapped(key).removeprefix(start): tensor
        for key, tensor in state.items()
        if _unwrapped(key).startswith(start)
    }
    if not found:
        firsts = dict.fromkeys(key.split(".")[0] for key in map(_unwrapped, state))
        raise WeightsError(
            f"{path} has no key under the prefix {prefix!r}; its keys begin with "
            f"{', '.join(map(repr, list(firsts)[:_SHOWN]))}"
        )
    return found


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def _normalised(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The state dict by published key, floating tensors as float32, all of them finite."""
    normalised: dict[str, Tensor] = {}
    for (key, tensor), name in zip(state.items(), _published_keys(state, path), strict=True):
        if tensor.dtype not in _FLOATS and not _is_counter(tensor):
            raise WeightsError(f"{path}: {key} has type {tensor.dtype}; a floating type is needed")
        if name in normalised:
            raise WeightsError(f"{path} holds {name} twice, once as {key}; save one network's state_dict()")
        tensor = tensor.detach()
        normalised[name] = tensor.to(torch.float32) if tensor.dtype in _FLOATS else tensor
        check_finite(key, normalised[name], path)
    return normalised


def _published_keys(state: Iterable[str], path: Path) -> list[str]:
    keys = [_unwrapped(key) for key in state]
    while outer := next((name for name in _OUTER if all(key.startswith(f"{name}.") for key in keys)), None):
        keys = [key.removeprefix(f"{outer}.") for key in keys]
    prefix = _prefix_of_network(keys, path)
    return [published_key(key.removeprefix(prefix)) for key in keys]


def _prefix_of_network(keys: list[str], path: Path) -> str:
    """What stands before all keys of the only network; WeightsError if there are several, or other keys.

    A network at the top level has the prefix ``""``, whatever else there is: its keys are compared with the
    model's afterwards.
    """
    prefixes = {_prefix_before(key, anchor) for key in keys for anchor in _ANCHORS if _ends_in(key, anchor)}
    if "" in prefixes or not prefixes:
        return ""
    if len(prefixes) > 1:
        shown = ", ".join(map(repr, sorted(prefixes)))
        raise WeightsError(f"{path} holds several networks, under {shown}; choose one with prefix=")
    (prefix,) = prefixes
    others = [key for key in keys if not key.startswith(prefix)]
    if others:
        raise WeightsError(
            f"{path} holds a network under {prefix!r}, and {len(others)} other keys ({others[0]!r}, ...); "
            f"give prefix={prefix!r} to load the network without them"
        )
    return prefix


def _ends_in(key: str, anchor: str) -> bool:
    return key == anchor or key.endswith(f".{anchor}")


def _prefix_before(key: str, anchor: str) -> str:
    """The prefix of a classifier's key, without our own names of parts."""
    names = key.removesuffix(anchor).rstrip(".").split(".")
    while names and published_key(f"{names[-1]}.x") == "x":
        del names[-1]
    return "".join(f"{name}." for name in names if name)


def _unwrapped(key: str) -> str:
    return ".".join(name for name in key.split(".") if name not in _WRAPPERS)


def check_finite(key: str, tensor: Tensor, where: PathLike) -> None:
    """WeightsError for NaN or infinite values, which would make every probability NaN."""
    if tensor.dtype not in _FLOATS or not tensor.numel():
        return
    # The extremes show NaN and infinity without a copy of the tensor.
    if not all(map(math.isfinite, (float(extreme) for extreme in torch.aminmax(tensor)))):
        n_bad = int((~torch.isfinite(tensor)).sum())
        raise WeightsError(
            f"{where}: {key} has {n_bad} values of {tensor.numel()} that are NaN or infinite; the training "
            "diverged or the file was altered: use an earlier checkpoint, or fetch the file again"
        )


def _is_counter(tensor: Tensor) -> bool:
    """Batch norms count their batches in an int64, which float32 would round."""
    return tensor.dtype == torch.int64

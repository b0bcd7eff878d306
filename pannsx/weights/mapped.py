"""Tensors of a safetensors file as NumPy arrays, mapped into memory."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pannsx.errors import WeightsError

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I8": "i1"}
_LENGTH_BYTES = 8  # of the header's length, before the header


def read_safetensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a file by key, in the file's types; bfloat16 is widened to float32.

    Mapped, not copied: only the pages that are used are read. The file must not be cut short meanwhile; if it
    is replaced, as this package replaces files, the old content stays mapped.

    Raises:
        WeightsError: the file is damaged, or has a tensor of another type.
    """
    from safetensors import SafetensorError, safe_open

    try:
        # The library checks the header: lengths, overlaps, the end of the file.
        with safe_open(path, framework="np"), path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header: dict[str, Any] = json.loads(file.read(length))
            # Of the private kind: the arrays can be written to, and the file stays as it is.
            content = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        content = content[_LENGTH_BYTES + length :]
        return {
            key: _array(content, key, entry, path) for key, entry in header.items() if key != "__metadata__"
        }
    except (SafetensorError, OSError, ValueError, KeyError) as error:  # of which JSON's errors are some
        raise WeightsError(f"{path} is a damaged safetensors file: {error}") from error


def release(arrays: Iterable[npt.NDArray[Any]]) -> None:
    """Give back the memory that mapped arrays take once they were read; a later reader reads the file again.

    Only for arrays of :func:`read_safetensors` that nobody has written to; others are left alone.
    """
    mappings: dict[int, mmap.mmap] = {}
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, memoryview):
            base = base.obj
        if isinstance(base, mmap.mmap):
            mappings[id(base)] = base
    for mapping in mappings.values():
        if hasattr(mapping, "madvise"):  # not on Windows
            mapping.madvise(mmap.MADV_DONTNEED)


def _array(content: npt.NDArray[np.uint8], key: str, entry: dict[str, Any], path: Path) -> npt.NDArray[Any]:
    if entry["dtype"] not in _TYPES:
        raise WeightsError(f"{path}: {key} has type {entry['dtype']}; a floating type is needed")
    begin, end = entry["data_offsets"]
    found: npt.NDArray[Any] = content[begin:end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        widened: npt.NDArray[Any] = (found.astype("<u4") << 16).view("<f4")
        return widened
    return np.require(found, requirements="A")

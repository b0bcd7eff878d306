"""Arrays of an ``.npz`` file mapped into memory, as NumPy itself maps only ``.npy`` files."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_LOCAL_HEADER = struct.Struct(
    "<4s22xHH"
)  # signature, lengths of name and extra field (APPNOTE 6.3.10, 4.3.7)


def mapped(path: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    """The named arrays of an uncompressed ``.npz``, read-only, shared by all processes that map it.

    Raises:
        ValueError: not such a file, an array is missing or holds objects, or the file is compressed.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not an .npz file: {error}") from error
    return [_array(path, members.get(f"{name}.npy"), name) for name in names]


def _array(path: Path, member: zipfile.ZipInfo | None, name: str) -> NDArray[Any]:
    if member is None:
        raise ValueError(f"{path} has no array {name!r}")
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(
            f"{path} is compressed, and every process would load it whole; save it by numpy.savez instead of "
            "numpy.savez_compressed"
        )
    with path.open("rb") as file:
        file.seek(member.header_offset)
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise ValueError(f"{path} is damaged: array {name!r} is not where its directory says")
        start = file.seek(name_bytes + extra_bytes, 1)
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{path}: array {name!r} is of NumPy's format {version}; 1.0 or 2.0 is needed")
        shape, in_fortran_order, dtype = read_header(file)
        begin = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{path}: array {name!r} holds Python objects; save plain numbers or text")
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if begin - start + size > member.file_size:
        raise ValueError(f"{path} is damaged: array {name!r} is shorter than its header says")
    if size == 0:
        return np.empty(shape, dtype)
    order: Literal["C", "F"] = "F" if in_fortran_order else "C"
    array: NDArray[Any] = np.memmap(path, dtype, mode="r", offset=begin, shape=shape, order=order)
    return array

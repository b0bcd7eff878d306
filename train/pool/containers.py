"""Audio files inside other files: zip archives, Qt resources, OpenClonk's groups, blobs of WAVE files.

Contents are read into memory and named ``<path of the container>/<name inside>``; no name is used as a path
on the disk.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

from train.pool.errors import PoolError

AUDIO = re.compile(r"\.(ogg|oga|wav|flac|opus|mp3|aiff?|gsm)$", re.I)
"""Names of audio files."""

_ZIP = re.compile(r"\.(zip|wz|pk3)$", re.I)
_BLOB = re.compile(r"\.cat$", re.I)
_QT_RESOURCES = re.compile(r"\.rcc$", re.I)
_CLONK_SOUNDS = "/Sound.ocg"

_MAX_BYTES = 1 << 30  # of one file, decompressed
_MAX_DEPTH = 8


def is_wanted(path: str) -> bool:
    """Whether a file is audio, or may contain some."""
    return any(pattern.search(path) for pattern in (AUDIO, _ZIP, _BLOB, _QT_RESOURCES)) or path.endswith(
        _CLONK_SOUNDS
    )


def audio_in(path: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of the audio files in a file: itself, or its contents.

    Raises:
        PoolError: a container is damaged.
    """
    if AUDIO.search(path):
        yield path, data
        return
    try:
        if _BLOB.search(path):
            for number, wave in enumerate(_waves(data)):
                yield f"{path}#{number:03}", wave
            return
        if _QT_RESOURCES.search(path):
            contents = _qt_resources(data)
        elif path.endswith(_CLONK_SOUNDS):
            contents = _clonk_group(data)
        elif _ZIP.search(path) and data[:2] == b"PK":
            contents = _zip(data)
        else:
            return
        for name, body in contents:
            if AUDIO.search(name):
                yield f"{path}/{name}", body
    except (zipfile.BadZipFile, zlib.error, struct.error, UnicodeDecodeError, RuntimeError) as error:
        raise PoolError(f"{path} is damaged: {error}") from error


def _zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if AUDIO.search(entry.filename):
                if entry.file_size > _MAX_BYTES:
                    raise PoolError(f"{entry.filename} claims {entry.file_size:,} bytes")
                yield entry.filename, archive.read(entry)


def _waves(data: bytes) -> Iterator[bytes]:
    """The WAVE files in a blob."""
    at = data.find(b"RIFF")
    while at >= 0:
        is_wave = data[at + 8 : at + 12] == b"WAVE"
        size = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if is_wave:
            yield data[at : at + size]
        at = data.find(b"RIFF", at + (size if is_wave else 4))


def _clonk_group(data: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Files of an OpenClonk group: gzip with another magic, a scrambled header, a table of names."""
    if depth > _MAX_DEPTH:
        raise PoolError(f"groups are nested more than {_MAX_DEPTH} deep")
    if data[:2] == b"\x1e\x8c":
        data = zlib.decompressobj(31).decompress(b"\x1f\x8b" + data[2:], _MAX_BYTES)
    header = bytearray(data[:204])
    header[0:202:3], header[2:204:3] = header[2:204:3], header[0:202:3]
    n_files = int.from_bytes(bytes(byte ^ 237 for byte in header[36:40]), "little")
    table_end = 204 + 316 * n_files
    if table_end > len(data):
        raise PoolError(f"its table claims {n_files} files, more than fit into {len(data)} bytes")
    for place in range(204, table_end, 316):
        name = data[place : place + 260].split(b"\0")[0].decode("latin-1")
        _, is_group, size, _, offset = struct.unpack_from("<5i", data, place + 260)
        body = data[table_end + offset : table_end + offset + size]
        if is_group:
            for inner, file in _clonk_group(body, depth + 1):
                yield f"{name}/{inner}", file
        else:
            yield name, body


def _qt_resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Files of a Qt binary resource: tables of nodes, names and data, big-endian."""
    if data[:4] != b"qres":
        return
    version, tree, blobs, names = struct.unpack(">4I", data[4:20])
    node_bytes = 22 if version >= 2 else 14

    def walk(node: int, parent: str, depth: int) -> Iterator[tuple[str, bytes]]:
        if depth > _MAX_DEPTH * 4:
            raise PoolError("its folders are nested too deep")
        at = tree + node * node_bytes
        name, flags = struct.unpack(">IH", data[at : at + 6])
        path = parent
        if node:
            (n_letters,) = struct.unpack(">H", data[names + name : names + name + 2])
            letters = data[names + name + 6 : names + name + 6 + 2 * n_letters].decode("utf-16-be")
            path = f"{parent}/{letters}" if parent else letters
        if flags & 2:
            n_children, first = struct.unpack(">2I", data[at + 6 : at + 14])
            for child in range(first, first + n_children):
                yield from walk(child, path, depth + 1)
            return
        (place,) = struct.unpack(">I", data[at + 10 : at + 14])
        (size,) = struct.unpack(">I", data[blobs + place : blobs + place + 4])
        body = data[blobs + place + 4 : blobs + place + 4 + size]
        if flags & 1:
            body = zlib.decompressobj().decompress(body[4:], _MAX_BYTES)
        if not flags & 4:  # Zstandard: not used for audio, as it does not shrink
            yield path, body

    yield from walk(0, "", 0)

"""Debian packages and other containers, built by hand for the tests of the pool."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 32000


def tone(frequency: float, duration_s: float = 1.0, rate: int = RATE) -> NDArray[np.float32]:
    """``(S,)``: a sine of half full scale."""
    times = np.arange(round(duration_s * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def wav(waveform: NDArray[np.float32], rate: int = RATE) -> bytes:
    """A 16-bit WAVE file."""
    stream = io.BytesIO()
    soundfile.write(stream, waveform, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed tar, with times and owners fixed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def make_deb(
    folder: Path, name: str, files: Mapping[str, bytes], *, version: str = "1.0-1", suffix: str = "xz"
) -> tuple[Path, str]:
    """A package of files by their names in the tar (``./usr/...``); its path and SHA-256."""
    compress = {"xz": lzma.compress, "gz": lambda data: gzip.compress(data, mtime=0), "": bytes}[suffix]
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\n".encode()
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": gzip.compress(tar_of({"./control": control}), mtime=0),
        "data.tar" + (f".{suffix}" if suffix else ""): compress(tar_of(files)),
    }
    content = b"!<arch>\n"
    for member, data in members.items():
        content += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        content += data + b"\n" * (len(data) % 2)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{version}_all.deb"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def clonk_group(files: Mapping[str, bytes | Mapping[str, bytes]], *, compressed: bool = True) -> bytes:
    """An OpenClonk group; a mapping becomes a group within it."""
    bodies = {
        name: clonk_group(body, compressed=False) if isinstance(body, Mapping) else body
        for name, body in files.items()
    }
    header = bytearray(204)
    header[36:40] = struct.pack("<i", len(files))
    header = bytearray(byte ^ 237 for byte in header)
    header[0:202:3], header[2:204:3] = header[2:204:3], header[0:202:3]
    table, content = b"", b""
    for name, data in bodies.items():
        is_group = isinstance(files[name], Mapping)
        entry = name.encode("latin-1").ljust(260, b"\0")
        entry += struct.pack("<5i", 1, int(is_group), len(data), 0, len(content))
        table += entry.ljust(316, b"\0")
        content += data
    packed = bytes(header) + table + content
    return b"\x1e\x8c" + gzip.compress(packed, mtime=0)[2:] if compressed else packed


def qt_resources(files: Mapping[str, bytes]) -> bytes:
    """A Qt binary resource of version 1: a folder ``sounds`` of files, every second one compressed."""
    names, blobs = b"", b""
    nodes = [
        struct.pack(">IHII", 0, 2, 1, 1)
    ]  # the root: a folder of one child, the first of which is node 1

    def name_at(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    nodes.append(struct.pack(">IHII", name_at("sounds"), 2, len(files), 2))
    for number, (name, data) in enumerate(files.items()):
        is_compressed = number % 2
        body = struct.pack(">I", len(data)) + zlib.compress(data) if is_compressed else data
        nodes.append(struct.pack(">IHHHI", name_at(name), is_compressed, 0, 0, len(blobs)))
        blobs += struct.pack(">I", len(body)) + body
    tree = b"".join(nodes)
    begin = 20
    header = struct.pack(">4I", 1, begin, begin + len(tree), begin + len(tree) + len(blobs))
    return b"qres" + header + tree + blobs + names

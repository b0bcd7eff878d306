"""Verification of files: size, SHA-256 or MD5, and digests recorded next to them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pannsx.atomic import replacing
from pannsx.errors import WeightsError
from pannsx.weights.record import Digest

_BLOCK_BYTES = 1 << 20


# Files already verified in this process, by path, size, modification time and digest: hashing 330 MB takes
# about a second, which loading a checkpoint again need not repeat.
_checked: set[tuple[Path, int, int, Digest]] = set()


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file's bytes."""
    digest = hashlib.new(algorithm, usedforsecurity=False)  # MD5 is refused otherwise on FIPS systems
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def check_file(path: Path, *, size_bytes: int | None, digest: Digest | None) -> None:
    """Compare a file with its known size and digest; with a digest, the whole file is read.

    Raises:
        WeightsError: the size or digest differs, or the file cannot be read.
    """
    try:
        status = path.stat()
        if size_bytes is not None and status.st_size != size_bytes:
            raise WeightsError(
                f"{path} is truncated or altered: it has {status.st_size:,} bytes, "
                f"the record says {size_bytes:,}"
            )
        if digest is None:
            return
        got = Digest(digest.algorithm, file_digest(path, digest.algorithm))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    if got != digest:
        raise WeightsError(f"{path} is altered: its digest is {got}, the record says {digest}")
    _checked.add((path.absolute(), status.st_size, status.st_mtime_ns, digest))


def check_file_once(path: Path, *, size_bytes: int | None, digest: Digest | None) -> None:
    """`check_file`, with the digest of an unchanged file computed only once per process."""
    if digest is not None:
        try:
            status = path.stat()
        except OSError as error:
            raise WeightsError(f"cannot read {path}: {error}") from error
        if (path.absolute(), status.st_size, status.st_mtime_ns, digest) in _checked:
            digest = None  # the size is still to be compared
    check_file(path, size_bytes=size_bytes, digest=digest)


def sidecar_path(path: Path) -> Path:
    """The file with the recorded digest of a file that has no published one."""
    return path.with_name(path.name + ".sha256")


def read_sidecar(path: Path) -> Digest | None:
    """The digest recorded next to ``path``, or None; WeightsError if it is unreadable."""
    sidecar = sidecar_path(path)
    try:
        text = sidecar.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"cannot read the digest recorded in {sidecar}: {error}") from error
    hexdigest = text.split()[0] if text.split() else ""
    if len(hexdigest) != 64 or set(hexdigest) - set("0123456789abcdef"):
        raise WeightsError(
            f"{sidecar} holds {text[:80]!r}, not a SHA-256 digest; remove it to record a new one"
        )
    return Digest("sha256", hexdigest)


def write_sidecar(path: Path, digest: Digest) -> None:
    """Record a digest next to ``path``, in the format of the ``sha256sum`` command."""
    sidecar = sidecar_path(path)
    try:
        with replacing(sidecar) as temporary:
            temporary.write_text(f"{digest.hexdigest}  {path.name}\n", encoding="ascii")
    except OSError as error:
        raise WeightsError(f"cannot record the digest of {path.name} in {sidecar}: {error}") from error

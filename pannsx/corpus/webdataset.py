"""Archives of recordings, as WebDataset makes them: their members are found, never extracted."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pannsx.audio.formats import AUDIO_SUFFIXES
from pannsx.corpus.rows import Row, named

_REST = "the rest of the archive"
_BLOCK_BYTES = 1 << 20


def members_of(path: str) -> Iterator[Row]:
    """The recordings in a tar archive: files named as audio, hidden ones left out.

    An archive that breaks off has a last row that says so when it is read.

    Raises:
        OSError: the archive cannot be read.
        ValueError: the file is not an uncompressed tar archive, or goes on behind its end.
    """
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115
    except tarfile.ReadError as error:
        raise ValueError(
            f"{path} is not an uncompressed tar archive ({error}); members are read where they lie: unpack a "
            ".tar.gz with gunzip first"
        ) from error
    with archive:
        size = Path(path).stat().st_size
        while True:
            try:
                member = archive.next()
            except tarfile.TarError:
                yield _unreadable(path, size)
                return
            if member is None:
                if not _is_ended(path, archive.offset):
                    yield _unreadable(path, size)
                return
            archive.members.clear()  # type: ignore[attr-defined]  # else all are kept
            name = PurePosixPath(member.name)
            if not member.isreg() or name.suffix.lower() not in AUDIO_SUFFIXES or name.name.startswith("."):
                continue
            if member.sparse is not None:
                raise ValueError(f"{path} has the sparse member {member.name!r}; make the archive without")
            row = Row("", path, member=member.name, byte_offset=member.offset_data, n_bytes=member.size)
            yield row._replace(id=named(row))


def _is_ended(path: str, offset: int) -> bool:
    """Whether the archive has its end mark, a block of zeros, behind its last member.

    Raises:
        ValueError: something else than zeros follows, which no reader of archives would see.
    """
    with Path(path).open("rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            return False
        while block := file.read(_BLOCK_BYTES):
            if block.count(0) != len(block):
                raise ValueError(
                    f"{path} goes on behind its end, as archives do that are joined by cat; give them one by "
                    "one, or join them by tar --concatenate"
                )
    return True


def _unreadable(path: str, size: int) -> Row:
    """A row that fails as truncated."""
    row = Row("", path, member=_REST, byte_offset=size, n_bytes=1)
    return row._replace(id=named(row))

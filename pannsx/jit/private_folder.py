"""A temporary folder of this user alone, for machine code, and for downloads of a user without a home.

A cache of machine code runs whatever its files hold, and recorded digests are trusted. So a folder counts
only if no other user can have written to it or put it there: it belongs to this user, nobody else may enter
it, and nobody else may rename a folder on the way to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TEMPORARY = ("/tmp", "/var/tmp")
_ROOT = 0
_PERMISSIONS = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO


def private_folder() -> Path | None:
    """``pannsx-UID`` in the first temporary folder where it is safe, created if missing; None: nowhere.

    On Windows there is none: its temporary folder lies in the user's own, which Numba's cache needs as well.
    """
    if not hasattr(os, "getuid"):
        return None
    for parent in _temporary_folders():
        folder = parent / f"pannsx-{os.getuid()}"
        try:
            if _others_cannot_rename_in(parent) and _is_made_private(folder):
                return folder
        except OSError:  # missing, read-only, full
            continue
    return None


def _temporary_folders() -> Iterator[Path]:
    """Absolute paths without links, TMPDIR's first."""
    given = os.environ.get("TMPDIR", "")
    for name in (given, *_TEMPORARY):
        if Path(name).is_absolute():
            yield Path(os.path.realpath(name))


def _others_cannot_rename_in(folder: Path) -> bool:
    """Whether only this user and root can replace what this user puts into ``folder``, and it itself."""
    for each in (folder, *folder.parents):
        found = each.stat()
        if found.st_uid not in (_ROOT, os.getuid()):
            return False
        written_by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if written_by_others and not found.st_mode & stat.S_ISVTX:
            return False
    return True


def _is_made_private(folder: Path) -> bool:
    """Whether ``folder`` is this user's, closed to all others, and can be written to."""
    with suppress(FileExistsError):
        folder.mkdir(mode=stat.S_IRWXU)
    found = folder.lstat()  # not of what a link leads to
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and found.st_mode & _PERMISSIONS == stat.S_IRWXU
        and os.access(folder, os.W_OK)
    )

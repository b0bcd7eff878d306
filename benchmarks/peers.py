"""Optional peers: either ready to be called, or absent with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.results import Absent

Call = Callable[[], Any]


def gather(makers: Iterable[tuple[str, Callable[[], Call]]], absent: list[Absent]) -> dict[str, Call]:
    """Prepare all available peers; the others go to ``absent``, once for each reason.

    A peer may fail in any way, most likely by not being installed, without affecting the others' results.
    """
    made: dict[str, Call] = {}
    for name, make in makers:
        try:
            call = make()
            call()
        except ImportError as error:
            missing = Absent(name, without_folders(f"not installed ({error})"))
        except Exception as error:  # code of others
            missing = Absent(name, without_folders(f"{type(error).__name__}: {error}"))
        else:
            made[name] = call
            continue
        if missing not in absent:
            absent.append(missing)
    return made


def without_folders(message: str) -> str:
    """An error's message for a public page: file names without their folders."""
    return re.sub(r"(?:[A-Za-z]:)?(?:[/\\][\w.+~-]+)+[/\\](?=[\w.])", "", message)

"""Clips that cannot be used, found together before the work: missing, unreadable or silent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np

from pannsx import audio
from pannsx.errors import AudioError
from pannsx.transfer.data_set import Recording

Kind = Literal["missing", "unreadable", "silent"]

SILENT_PEAK = 3 / 32768
"""Largest sample of a silent clip: dither only."""

_SHOWN = 5  # of each kind, in a message
_KINDS: tuple[Kind, ...] = ("missing", "unreadable", "silent")


class Fault(NamedTuple):
    """A clip that cannot be used.

    Attributes:
        recording: the clip.
        kind: the kind of fault.
        detail: the error of an unreadable clip, else empty.
    """

    recording: Recording
    kind: Kind
    detail: str = ""


class FaultyClipsError(ValueError):
    """Some clips cannot be used; the message lists them by kind.

    Attributes:
        faults: all of them.
    """

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        super().__init__(f"{name}: {listed(faults)}")
        self.faults = tuple(faults)


def find_faults(
    recordings: Sequence[Recording],
    *,
    allow_silent: bool = False,
    on_clip: Callable[[], object] = lambda: None,
) -> list[Fault]:
    """All clips that cannot be used, in order. Every clip is decoded once, at its own rate, in blocks.

    Args:
        recordings: the clips.
        allow_silent: silence is a sound to learn.
        on_clip: called after each clip.
    """
    missing = {path for path in {each.path for each in recordings} if not path.is_file()}

    def fault_of(recording: Recording) -> Fault | None:
        if recording.path in missing:
            return Fault(recording, "missing")
        try:
            peak = _peak(recording)
        except (AudioError, OSError) as error:
            return Fault(recording, "unreadable", str(error))
        return Fault(recording, "silent") if peak <= SILENT_PEAK and not allow_silent else None

    found = []
    # Decoding releases the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            for fault in pool.map(fault_of, recordings):
                on_clip()
                if fault is not None:
                    found.append(fault)
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def listed(faults: Iterable[Fault]) -> str:
    """The faults by kind: the first of each kind, and how many there are."""
    said = []
    by_kind: dict[Kind, list[Fault]] = {kind: [] for kind in _KINDS}
    for fault in faults:
        by_kind[fault.kind].append(fault)
    for kind, found in by_kind.items():
        if found:
            first = ", ".join(_named(fault) for fault in found[:_SHOWN])
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            said.append(f"{len(found)} {'clip is' if len(found) == 1 else 'clips are'} {kind}: {first}{more}")
    return "; ".join(said)


def _named(fault: Fault) -> str:
    place = str(fault.recording.path)
    if fault.recording.start_s:
        place += f" from {fault.recording.start_s:g} s"
    detail = fault.detail.replace("\n", " ")
    # Most errors of audio begin with the file.
    return detail if fault.recording.path.name in detail else f"{place} ({detail})" if detail else place


def _peak(recording: Recording) -> float:
    """The largest sample of a clip, of either sign."""
    peak = 0.0
    with audio.open_blocks(
        recording.path, start_s=recording.start_s, duration_s=recording.duration_s
    ) as blocks:
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
    return peak

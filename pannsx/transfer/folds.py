"""Folds of data sets that have none: stratified by every label, with no group on two sides.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): the rarest label is dealt out first, each
time to the fold that lacks it most. It serves clips with one label and with several. The units that are dealt
out are groups: all parts of a recording, or all clips of a speaker or a place.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from pannsx.transfer.data_set import MADE_UP_FOLDS, Recording


def make_folds(recordings: Sequence[Recording], n_folds: int = MADE_UP_FOLDS) -> list[Recording]:
    """The clips with folds ``1`` to ``n_folds``, or fewer if there are fewer groups.

    A clip's fold depends on the names of files and groups, not on their order or folder.

    Raises:
        ValueError: all clips are of one group, so that none can be held out.
    """
    members = defaultdict[str, list[Recording]](list)
    for recording in recordings:
        members[recording.group or str(recording.path)].append(recording)
    names = {unit: _name(unit, clips) for unit, clips in members.items()}
    n_folds = min(n_folds, len(members))
    if n_folds < 2:
        raise ValueError(
            f"the {len(recordings)} clips are of {len(members)} recording or group; two are needed at least, "
            "so that one can be held out"
        )
    fold_of = _dealt(members, names, n_folds)
    placed = [
        recording._replace(fold=str(fold_of[unit] + 1))
        for unit, clips in members.items()
        for recording in clips
    ]
    return sorted(placed, key=lambda recording: (recording.path, recording.start_s))


def _dealt(
    members: dict[str, list[Recording]], names: dict[str, tuple[bytes, str]], n_folds: int
) -> dict[str, int]:
    """The fold of each unit."""
    counts = {
        unit: Counter(label for clip in clips for label in clip.labels) for unit, clips in members.items()
    }
    sizes = {unit: len(clips) for unit, clips in members.items()}
    totals = sum(counts.values(), Counter[int]())
    lacking = [{label: total / n_folds for label, total in totals.items()} for _ in range(n_folds)]
    room = [sum(sizes.values()) / n_folds] * n_folds
    n_units, most_units = [0] * n_folds, -(-len(members) // n_folds)
    waiting = dict.fromkeys(members)
    fold_of: dict[str, int] = {}

    def deal(unit: str, label: int | None) -> None:
        # A fold with its share of groups gets no more while another has none.
        empty = [fold for fold in range(n_folds) if not n_units[fold]]
        must = len(empty) >= len(waiting)
        folds = empty if must else range(n_folds)
        fold = max(
            folds,
            key=lambda fold: (
                0.0 if label is None else lacking[fold][label],
                sum(count * lacking[fold][other] / totals[other] for other, count in counts[unit].items()),
                room[fold], most_units - n_units[fold], -fold,
            ),
        )  # fmt: skip
        del waiting[unit]
        fold_of[unit] = fold
        n_units[fold] += 1
        room[fold] -= sizes[unit]
        for its_label, count in counts[unit].items():
            lacking[fold][its_label] -= count

    while waiting:
        left = Counter[int]()
        for unit in waiting:
            left.update(counts[unit])
        rarest = min(left, key=lambda label: (left[label], label)) if left else None
        # Large groups first: small ones can still even out what they leave.
        units = [unit for unit in waiting if rarest is None or counts[unit][rarest]]
        for unit in sorted(units, key=lambda unit: (-sizes[unit], *names[unit], unit)):
            deal(unit, rarest)
    return fold_of


def _name(unit: str, clips: Sequence[Recording]) -> tuple[bytes, str]:
    """A hash of a group's name without folders, which decides the order, and the name."""
    name = unit if clips[0].group else clips[0].path.name
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), name

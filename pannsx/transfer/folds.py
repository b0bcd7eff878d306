"""Folds of data sets that have none: stratified by every label, with no group on two sides.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): the rarest label is dealt out first, each
time to the fold that lacks it most. It serves clips with one label and with several. Small sets are then
evened out by exchanges. The units that are dealt out are groups: all parts of a recording, or all clips of a
speaker or a place.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pannsx.transfer.data_set import MADE_UP_FOLDS, Recording

_MOST_EVENED = 1000
"""Largest number of units for exchanges between folds; the number of exchanges grows with its square."""

_MOST_ROUNDS = 20
_NOTHING = 1e-9  # a change that rounding can make


def make_folds(recordings: Sequence[Recording], n_folds: int = MADE_UP_FOLDS) -> list[Recording]:
    """The clips with folds ``1`` to ``n_folds``, or fewer if there are fewer groups.

    A clip's fold depends on the names of files and groups, not on their order or folder.

    Raises:
        ValueError: all clips are of one group, so that none can be held out.
    """
    units = _units(recordings)
    n_folds = min(n_folds, len(units))
    if n_folds < 2:
        raise ValueError(
            f"the {len(recordings)} clips are of {len(units)} recording or group; two are needed at least, "
            "so that one can be held out"
        )
    placed = [
        recordings[row]._replace(fold=str(fold + 1))
        for unit, fold in zip(units, _folds_of(units, [1 / n_folds] * n_folds), strict=True)
        for row in unit.rows
    ]
    return sorted(placed, key=lambda recording: (recording.path, recording.start_s))


def held_apart(
    recordings: Sequence[Recording], rows: Sequence[int], share: float
) -> tuple[list[int], list[int]]:
    """Some rows in two parts, about ``1 - share`` and ``share`` of them: whole groups, labels in proportion.

    Raises:
        ValueError: the share is not between 0 and 1, or the clips are of one group.
    """
    if not 0 < share < 1:
        raise ValueError(f"the validation part is {share}; a share between 0 and 1 is needed")
    units = _units([recordings[row] for row in rows])
    if len(units) < 2:
        raise ValueError(
            f"the {len(rows)} clips to train on are of one recording or group; two are needed at least for a "
            "validation part"
        )
    parts: tuple[list[int], list[int]] = [], []
    for unit, part in zip(units, _folds_of(units, [1 - share, share]), strict=True):
        parts[part].extend(rows[row] for row in unit.rows)
    return sorted(parts[0]), sorted(parts[1])


class _Unit(NamedTuple):
    """Clips that stay together."""

    order: tuple[bytes, str, str]
    rows: list[int]
    labels: Counter[int]


def _units(recordings: Sequence[Recording]) -> list[_Unit]:
    """Groups, and files without one; in an order that depends on their names alone."""
    members = defaultdict[str, list[int]](list)
    for row, recording in enumerate(recordings):
        members[recording.group or str(recording.path)].append(row)
    units = [
        _Unit(
            _order(name, recordings[rows[0]]),
            rows,
            Counter(label for row in rows for label in recordings[row].labels),
        )
        for name, rows in members.items()
    ]
    return sorted(units, key=lambda unit: unit.order)


def _order(name: str, first: Recording) -> tuple[bytes, str, str]:
    """A hash of a group's name without folders, which decides the order, and the name."""
    short = name if first.group else first.path.name
    return hashlib.blake2b(short.encode("utf-8", "surrogateescape"), digest_size=8).digest(), short, name


def _folds_of(units: Sequence[_Unit], shares: Sequence[float]) -> list[int]:
    """The fold of each unit, the folds having these shares of the clips."""
    folds = _dealt(units, shares)
    return _evened(units, folds, shares) if len(units) <= _MOST_EVENED else folds


def _dealt(units: Sequence[_Unit], shares: Sequence[float]) -> list[int]:
    """The fold of each unit by iterative stratification."""
    totals = sum((unit.labels for unit in units), Counter[int]())
    n_folds, n_clips = len(shares), sum(len(unit.rows) for unit in units)
    lacking = [{label: total * share for label, total in totals.items()} for share in shares]
    room = [n_clips * share for share in shares]
    unit_room = [len(units) * share for share in shares]
    n_units = [0] * n_folds
    waiting = dict.fromkeys(range(len(units)))
    fold_of = [0] * len(units)

    def deal(number: int, label: int | None) -> None:
        # A fold with its share of groups gets no more while another has none.
        counts = units[number].labels
        empty = [fold for fold in range(n_folds) if not n_units[fold]]
        must = len(empty) >= len(waiting)
        folds = empty if must else range(n_folds)
        fold = max(
            folds,
            key=lambda fold: (
                0.0 if label is None else lacking[fold][label],
                sum(count * lacking[fold][other] / totals[other] for other, count in counts.items()),
                room[fold], unit_room[fold] - n_units[fold], -fold,
            ),
        )  # fmt: skip
        del waiting[number]
        fold_of[number] = fold
        n_units[fold] += 1
        room[fold] -= len(units[number].rows)
        for its_label, count in counts.items():
            lacking[fold][its_label] -= count

    left = totals.copy()
    while waiting:
        rarest = min(left, key=lambda label: (left[label], label)) if left else None
        # Large groups first: small ones can still even out what they leave.
        chosen = [number for number in waiting if rarest is None or units[number].labels[rarest]]
        for number in sorted(chosen, key=lambda number: (-len(units[number].rows), number)):
            deal(number, rarest)
            left = +(left - units[number].labels)
    return fold_of


def _evened(units: Sequence[_Unit], folds: Sequence[int], shares: Sequence[float]) -> list[int]:
    """The folds after moves and exchanges of units, each of which makes labels, then sizes, more even.

    Iterative stratification never takes back: with many labels a clip, the last ones fall where no fold lacks
    them. The exchanges minimise the sum of squared distances of each label's count, and of each fold's size,
    from its share. With one label a clip, the size has a weight too small to unbalance a label.
    """
    labels = sorted({label for unit in units for label in unit.labels})
    columns = {label: column for column, label in enumerate(labels)}
    counts = np.zeros((len(units), len(labels) + 1))
    for row, unit in zip(counts, units, strict=True):
        for label, count in unit.labels.items():
            row[columns[label]] = count
        row[-1] = len(unit.rows)
    weights = np.ones(len(labels) + 1)
    if all(unit.labels.total() == len(unit.rows) for unit in units):
        weights[-1] = 1 / (len(labels) + 1)
    fold_of = np.array(folds)
    excess = np.stack([counts[fold_of == fold].sum(axis=0) for fold in range(len(shares))])
    excess -= np.outer(shares, counts.sum(axis=0))
    for _ in range(_MOST_ROUNDS):
        is_even = True
        for number in range(len(units)):
            here = fold_of[number]
            # To each fold, in exchange for nothing or for any unit of it.
            others = np.flatnonzero(fold_of != here)
            moved = np.vstack(
                [np.broadcast_to(counts[number], excess.shape), counts[number] - counts[others]]
            )
            to = np.concatenate([np.arange(len(shares)), fold_of[others]])
            change = (moved * (excess[to] - excess[here] + moved)) @ weights
            change[here] = 0.0
            if (fold_of == here).sum() == 1:
                change[: len(shares)] = 0.0  # no fold is left empty
            best = int(np.argmin(change))
            if change[best] < -_NOTHING:
                is_even = False
                excess[here] -= moved[best]
                excess[to[best]] += moved[best]
                if best >= len(shares):
                    fold_of[others[best - len(shares)]] = here
                fold_of[number] = to[best]
        if is_even:
            break
    return [int(fold) for fold in fold_of]

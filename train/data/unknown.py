"""Labels of clips that nobody has checked: neither present nor absent, so that no loss may use them.

A CSV with the columns ``id`` and ``unknown``: names or ids of labels, separated by ``;``, or ``*`` for every
label that the clip does not have (only present ones were annotated). Other clips have no unknown labels.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pannsx.labels import LabelSet
from train.data.targets import Targets

ALL_ABSENT = "*"
_COLUMNS = ("id", "unknown")
_BITS = 8


def read_unknown(path: str | Path, ids: Sequence[str], labels: LabelSet, targets: Targets) -> Targets:
    """``(N, K)``: whether a clip's label is unknown, as bits.

    Args:
        path: the CSV.
        ids: ``N`` ids of the clips.
        labels: ``K`` labels.
        targets: ``(N, K)``, the labels that the clips have.

    Raises:
        ValueError: the file cannot be read, names none of the clips, an unknown label, or one that the clip
            has.
    """
    row_of = {clip_id: row for row, clip_id in enumerate(ids[:])}
    bits = np.zeros((len(ids), (len(labels) + _BITS - 1) // _BITS), np.uint8)
    n_rows = 0
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not set(_COLUMNS) <= set(reader.fieldnames or ()):
                raise ValueError(f"{path} has the columns {reader.fieldnames}; id and unknown are needed")
            for entry in reader:
                row = row_of.get(entry["id"])
                if row is None:
                    continue  # of clips that are not trained on
                n_rows += 1
                where = f"{path}, line {reader.line_num}"
                bits[row] |= _bits_of(entry["unknown"] or "", labels, targets[row], where)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read the unknown labels {path}: {error}") from error
    if not n_rows:
        raise ValueError(f"{path} names none of the {len(ids)} clips; check their ids")
    return Targets([(bits, None)], len(labels))


def _bits_of(text: str, labels: LabelSet, present: NDArray[np.bool_], where: str) -> NDArray[np.uint8]:
    if text.strip() == ALL_ABSENT:
        unknown = ~present
    else:
        unknown = np.zeros(len(labels), np.bool_)
        try:
            unknown[[labels.index(name.strip()) for name in text.split(";") if name.strip()]] = True
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        both = np.flatnonzero(unknown & present)
        if len(both):
            raise ValueError(
                f"{where}: {labels.names[both[0]]!r} is a label of the clip, so it is not unknown"
            )
    return np.packbits(unknown, bitorder="little")

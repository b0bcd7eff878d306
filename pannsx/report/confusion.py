"""Right and wrong decisions as an SVG picture: a confusion matrix, or counts of each class."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

_GREEN, _RED = 150, 15  # hues
_DECISIONS = ("right", "missed", "wrong", "rightly not")
_CELL, _CHARACTER, _GAP, _LONGEST = 34, 7, 8, 28
_STYLE = """\
text{font:12px sans-serif;fill:#222}.n{text-anchor:middle}.r{text-anchor:end}rect{stroke:#ccc}
@media(prefers-color-scheme:dark){svg{background:#1b1b1b}text{fill:#ddd}rect{stroke:#444}}"""


def confusion_svg(confusion: NDArray[np.int64], labels: Sequence[str], *, title: str) -> str:
    """``(K, K)`` clips by true class (row) and given class (column) -> SVG text.

    A cell's colour is its share of the row, so that classes of any size compare.

    Raises:
        ValueError: the matrix is not that of these labels.
    """
    if confusion.shape != (len(labels), len(labels)):
        raise ValueError(f"the matrix is {confusion.shape} and there are {len(labels)} labels")
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    hues = np.where(np.eye(len(labels), dtype=np.bool_), _GREEN, _RED)
    return _picture(confusion, shares, hues, labels, labels, "{row} given as {column}: {count}", title)


def decisions_svg(counts: NDArray[np.int64], labels: Sequence[str], *, title: str) -> str:
    """``(K, 4)`` clips of each class: right, missed, wrong, rightly not given -> SVG text.

    For clips with several classes, which have no matrix of true and given class. A cell's colour is its share
    of the clips that have the class (right, missed) or do not have it (wrong, rightly not).

    Raises:
        ValueError: the counts are not those of these labels.
    """
    if counts.shape != (len(labels), len(_DECISIONS)):
        raise ValueError(f"the counts are {counts.shape} and there are {len(labels)} labels")
    has = counts[:, :2].sum(axis=1, keepdims=True)
    has_not = counts[:, 2:].sum(axis=1, keepdims=True)
    shares = counts / np.maximum(1, np.hstack([has, has, has_not, has_not]))
    hues = np.broadcast_to([_GREEN, _RED, _RED, _GREEN], counts.shape)
    return _picture(counts, shares, hues, labels, _DECISIONS, "{row}, {column}: {count}", title)


def _picture(
    counts: NDArray[np.int64],
    shares: NDArray[np.float64],
    hues: NDArray[np.int64],
    rows: Sequence[str],
    columns: Sequence[str],
    words: str,
    title: str,
) -> str:
    names, heads = ([_short(label) for label in labels] for labels in (rows, columns))
    left, high = (max(map(len, some)) * _CHARACTER + 2 * _GAP for some in (names, heads))
    top = high + 2 * _CELL
    right = max(left + len(heads) * _CELL + high // 2, len(title) * _CHARACTER + 2 * _GAP)
    width, height = right, top + len(names) * _CELL + _CELL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img"><title>{escape(title)}</title><style>{_STYLE}</style>',
        f'<text x="{_GAP}" y="{_CELL // 2}">{escape(title)}</text>',
    ]
    for place, name in enumerate(names):
        middle = place * _CELL + _CELL // 2
        parts.append(f'<text class="r" x="{left - _GAP}" y="{top + middle + 4}">{escape(name)}</text>')
    for place, name in enumerate(heads):
        x, y = left + place * _CELL + _CELL // 2 + 4, top - _GAP
        parts.append(f'<text x="{x}" y="{y}" transform="rotate(-60 {x} {y})">{escape(name)}</text>')
    for row, column in np.ndindex(counts.shape):
        count, share = int(counts[row, column]), float(shares[row, column])
        colour = f"hsl({hues[row, column]} 60% {round(96 - 56 * share)}%)"
        x, y = left + column * _CELL, top + row * _CELL
        shown = "#fff" if share > 0.6 else "#222"  # the cells are light in both themes
        said = words.format(row=rows[row], column=columns[column], count=count)
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" style="fill:{colour}">'
            f"<title>{escape(said)}</title></rect>"
        )
        if count:
            middle = _CELL // 2
            parts.append(
                f'<text class="n" x="{x + middle}" y="{y + middle + 4}" style="fill:{shown}">{count}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"

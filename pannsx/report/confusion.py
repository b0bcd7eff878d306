"""A confusion matrix as an SVG picture: true classes in rows, given classes in columns."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

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
    names = [label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…" for label in labels]
    left = max(map(len, names)) * _CHARACTER + 2 * _GAP
    top = left + 2 * _CELL
    width, height = left + len(names) * _CELL + left // 2, top + len(names) * _CELL + _CELL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img"><title>{escape(title)}</title><style>{_STYLE}</style>',
        f'<text x="{_GAP}" y="{_CELL // 2}">{escape(title)}</text>',
    ]
    for place, name in enumerate(names):
        middle = place * _CELL + _CELL // 2
        parts.append(f'<text class="r" x="{left - _GAP}" y="{top + middle + 4}">{escape(name)}</text>')
        x, y = left + middle + 4, top - _GAP
        parts.append(f'<text x="{x}" y="{y}" transform="rotate(-60 {x} {y})">{escape(name)}</text>')
    for row, counts in enumerate(confusion.tolist()):
        total = max(1, sum(counts))
        for column, count in enumerate(counts):
            share = count / total
            colour = f"hsl({150 if row == column else 15} 60% {round(96 - 56 * share)}%)"
            x, y = left + column * _CELL, top + row * _CELL
            shown = "#fff" if share > 0.6 else "#222"  # the cells are light in both themes
            parts.append(
                f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" style="fill:{colour}">'
                f"<title>{escape(labels[row])} given as {escape(labels[column])}: {count}</title></rect>"
            )
            if count:
                middle = _CELL // 2
                parts.append(
                    f'<text class="n" x="{x + middle}" y="{y + middle + 4}" style="fill:{shown}">'
                    f"{count}</text>"
                )
    return "\n".join([*parts, "</svg>\n"])

"""A result in Jupyter: its most probable tags, with their probability over time."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from pannsx.report.picture import data_uri, levels, png
from pannsx.types import FloatArray

if TYPE_CHECKING:
    import numpy.typing as npt

    from pannsx.report.result import Result

N_TAGS = 5
_MOST_COLUMNS = 600


def html_of(result: Result) -> str:
    """A table with a row per tag: label, probability, and a strip of the probability over time."""
    rows = [_row(result, label, probability) for label, probability in result.top(N_TAGS)]
    over_time = "" if result.framewise is None else f"<th>0 to {result.duration_s:.1f} s</th>"
    return (
        f"<table><thead><tr><th>Tag</th><th>Probability</th>{over_time}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(result: Result, label: str, probability: float) -> str:
    strip = ""
    if result.framewise is not None:
        image = _strip(result.framewise[:, result.labels.index(label)])
        strip = (
            f'<td><img src="{data_uri(png(image), "image/png")}" alt="probability over time" '
            'style="width: 24em; height: 1.2em; max-width: none; image-rendering: pixelated"></td>'
        )
    return (
        f'<tr><th scope="row" style="text-align: left">{html.escape(label)}</th>'
        f"<td>{probability:.3f}</td>{strip}</tr>"
    )


def _strip(probabilities: FloatArray) -> npt.NDArray[np.uint8]:
    """``(T',)`` -> ``(1, W)`` levels, each the greatest of the frames in its column."""
    size = -(-len(probabilities) // _MOST_COLUMNS)
    return levels(np.maximum.reduceat(probabilities, np.arange(0, len(probabilities), size)))[None]

"""Plots of ratios, written directly as SVG: a row for each candidate, a dot for each run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from xml.sax.saxutils import escape

from benchmarks.runs import Row, Table

WIDTH, RIGHT, LINE, HEAD = 380, 150, 22, 34
LETTER = 6.6  # mean width of a letter, slightly overestimated
INK, FAINT, SLOWER, QUICKER = "#1f2430", "#d8dde6", "#0b6e99", "#c2410c"
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
FINE_TICKS = (0.6, 0.8, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5)
NARROW = 5  # a range up to this uses the fine ticks


def plotted(tables: Iterable[Table]) -> list[tuple[str, list[tuple[str, Row]]]]:
    """Panels of the tables with other candidates: a heading, and rows with their labels.

    Tables of one group share a panel, with their titles as labels of the rows.
    """
    panels: dict[str, list[tuple[str, Row]]] = {}
    for table in tables:
        if not table.rows[0].name.startswith("pannsx"):
            continue
        others = table.rows[1:]
        for row in others:
            heading, label = table.title, row.name
            if table.group:
                alone = len(others) == 1
                heading = f"{table.group}: {row.name}" if alone else table.group
                label = table.title if alone else f"{table.title}, {row.name}"
            panels.setdefault(heading, []).append((label, row))
    return list(panels.items())


def picture(panels: Sequence[tuple[str, list[tuple[str, Row]]]], described: str) -> str:
    """An SVG of all panels on one logarithmic axis; ``described`` is the text for screen readers."""
    values = [value for _, rows in panels for _, row in rows for value in row.ratios if value]
    low, high = min(0.8, *values) / 1.15, max(2.0, *values) * 1.15

    left = 24 + LETTER * max(len(label) for _, rows in panels for label, _ in rows)

    def x(ratio: float) -> float:
        return left + WIDTH * math.log(ratio / low) / math.log(high / low)

    height = 16 + sum(HEAD + LINE * len(rows) for _, rows in panels) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + WIDTH + RIGHT:.0f} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img" '
        f'aria-label="{_attribute(described)}">',
        f'<rect width="100%" height="100%" fill="#ffffff"/><g fill="{INK}">',
    ]
    bottom = height - 40
    for tick in FINE_TICKS if high < NARROW else TICKS:
        if low <= tick <= high:
            stroke = INK if tick == 1 else FAINT
            parts.append(
                f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="16" y2="{bottom}" stroke="{stroke}"/>'
            )
            parts.append(_text(x(tick), bottom + 16, f"{tick:g}", "middle"))
    parts.append(
        _text(left + WIDTH / 2, bottom + 32, "time over ours: 1 is pannsx, to the right is slower", "middle")
    )
    y = 16
    for heading, rows in panels:
        y += HEAD
        parts.append(_text(8, y - 12, heading, "start", bold=True))
        for label, row in rows:
            parts += _row(label, row, y, left, x)
            y += LINE
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _row(label: str, row: Row, y: float, left: float, x: Callable[[float], float]) -> list[str]:
    ratios = [ratio for ratio in row.ratios if ratio]
    middle = y + LINE / 2 - 4
    latest = ratios[-1]
    colour = SLOWER if latest >= 1 else QUICKER
    parts = [
        _text(left - 12, middle + 4, label, "end"),
        f'<line x1="{x(1):.1f}" x2="{x(latest):.1f}" y1="{middle}" y2="{middle}" '
        f'stroke="{colour}" stroke-width="3"/>',
    ]
    parts += [
        f'<circle cx="{x(ratio):.1f}" cy="{middle}" r="4.5" fill="{colour}" fill-opacity="0.7"/>'
        for ratio in ratios
    ]
    parts.append(
        _text(left + WIDTH + 10, middle + 4, f"{latest:.3g} ({1000 * row.median_s:.3g} ms)", "start")
    )
    return parts


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})

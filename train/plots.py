"""The paper's plots of training runs, as SVG: mAP over iterations, and AP of each class over its size.

python -m train.plots FOLDER RUN...

Writes ``FOLDER/mAP.svg``, with one line per run, and ``FOLDER/classes.svg``, for the first run's last
evaluation.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from pannsx.atomic import replacing
from train.loop import checkpoints, log

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 56, 44, 16, 170
INK, FAINT = "#1f2430", "#d8dde6"
COLOURS = ("#0b6e99", "#c2410c", "#3f7d20", "#7c3aed", "#a16207", "#be185d")

Points = Sequence[tuple[float, float]]
Scale = Callable[[float], float]


def learning_curves(curves: Mapping[str, Points]) -> str:
    """An SVG of mAP over iterations, from points ``(step, mAP)`` of each run, by name.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not any(curves.values()):
        raise ValueError("no run has been evaluated yet; there is nothing to draw")
    last = max(step for points in curves.values() for step, _ in points)
    best = max(value for points in curves.values() for _, value in points)
    x, ticks = _linear(0.0, last, LEFT, WIDTH - RIGHT), _round_steps(0.0, last)
    y, marks = _linear(0.0, best, HEIGHT - BOTTOM, TOP), _round_steps(0.0, best)
    parts = _axes("Iterations", "mAP", x, ticks, y, marks)
    for number, (name, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        height = TOP + 14 + 18 * number
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{height}" fill="{colour}">{escape(name)}</text>')
    return _picture(parts, f"mAP over iterations of {', '.join(curves)}")


def class_scatter(sizes: Sequence[int], average_precision: Sequence[float | None]) -> str:
    """An SVG of the AP of each class over its number of training clips, on a logarithmic axis.

    Classes without clips or without AP are omitted.

    Raises:
        ValueError: there is nothing to draw.
    """
    points = [
        (size, ap) for size, ap in zip(sizes, average_precision, strict=True) if size and ap is not None
    ]
    if not points:
        raise ValueError(
            "no class has both training clips and an average precision; there is nothing to draw"
        )
    low, high = (
        10.0 ** math.floor(math.log10(min(size for size, _ in points))),
        max(size for size, _ in points),
    )
    log_x = _linear(math.log10(low), math.log10(max(high, 10 * low)), LEFT, WIDTH - 20)
    ticks = [low * 10**power for power in range(int(math.log10(max(high, 10 * low) / low)) + 1)]
    y = _linear(0.0, 1.0, HEIGHT - BOTTOM, TOP)

    def x(size: float) -> float:
        return log_x(math.log10(size))

    parts = _axes("Training clips of the class", "Average precision", x, ticks, y, _round_steps(0.0, 1.0))
    parts += [
        f'<circle cx="{x(size):.1f}" cy="{y(ap):.1f}" r="2.2" fill="{COLOURS[0]}" fill-opacity="0.6"/>'
        for size, ap in points
    ]
    return _picture(parts, f"average precision of {len(points)} classes over their number of training clips")


def _axes(
    x_name: str, y_name: str, x: Scale, x_ticks: Sequence[float], y: Scale, y_ticks: Sequence[float]
) -> list[str]:
    bottom, left = HEIGHT - BOTTOM, LEFT
    right = max(x(tick) for tick in x_ticks)
    parts = []
    for tick in y_ticks:
        parts.append(f'<path d="M{left} {y(tick):.1f}H{right:.1f}" stroke="{FAINT}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        parts.append(f'<path d="M{x(tick):.1f} {bottom}v4" stroke="{INK}"/>')
        label = f"{tick:,.0f}" if tick >= 1 else f"{tick:g}"
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 17}" text-anchor="middle">{label}</text>')
    parts.append(f'<path d="M{left} {TOP}V{bottom}H{right:.1f}" stroke="{INK}" fill="none"/>')
    parts.append(f'<text x="{(left + right) / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{x_name}</text>')
    middle = (TOP + bottom) / 2
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{y_name}</text>')
    return parts


def _picture(parts: Sequence[str], described: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" aria-label={quoteattr(described)}>'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _linear(low: float, high: float, begin: float, end: float) -> Scale:
    span = high - low or 1.0
    return lambda value: begin + (end - begin) * (value - low) / span


def _round_steps(low: float, high: float) -> list[float]:
    """Four to eight round numbers from ``low`` to ``high``."""
    rough = (high - low or 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [low + step * number for number in range(int((high - low) / step + 1e-9) + 1)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.plots", description="Draw the paper's plots of runs.")
    parser.add_argument("folder", type=Path, help="output folder")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    given = parser.parse_args(arguments)
    try:
        evaluations = {
            run.name: [entry for entry in log.read(run) if entry["kind"] == "evaluate"] for run in given.runs
        }
        curves = {
            name: [(entry["step"], entry["mAP"]) for entry in entries if entry["mAP"] is not None]
            for name, entries in evaluations.items()
        }
        _write(given.folder / "mAP.svg", learning_curves(curves))
        state = checkpoints.newest(given.runs[0])
        last = next(iter(evaluations.values()))[-1:]
        if state is not None and last:
            sizes = state["data"]["clips_per_class"]
            _write(given.folder / "classes.svg", class_scatter(sizes, last[0]["average_precision"]))
    except (checkpoints.CheckpointError, OSError, ValueError) as error:
        print(f"train.plots: {error}", file=sys.stderr)
        return 1
    return 0


def _write(path: Path, picture: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(picture, encoding="utf-8", newline="\n")
    print(path)


if __name__ == "__main__":
    sys.exit(main())

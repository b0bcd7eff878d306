"""A result as a figure: waveform, log-mel, the most probable classes over time, events.  Needs matplotlib.

Hue carries no meaning: lightness shows values, and rows show classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pannsx.report.overview import Overview, band_of, overview_of
from pannsx.report.picture import HEAT
from pannsx.types import FloatArray, Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pannsx.events import Event
    from pannsx.report.result import Result


_MOST_EVENT_ROWS = 12
_SHOWN_DB = 70.0
_WAVE, _EVENT = "#3f6f8f", "#0b62a8"
_FREQUENCIES_HZ = (100, 500, 1000, 2000, 5000, 10_000)


def figure_of(
    result: Result,
    framewise: FloatArray,
    events: Sequence[Event],
    audio: Source | None,
    source_rate: int | None,
    *,
    title: str | None,
    n_classes: int,
) -> Figure:
    """A figure with every panel that has data; ``framewise`` ``(T', K)`` is the result's.

    Raises:
        AudioError: the audio cannot be used.
        ImportError: matplotlib is not installed.
        ValueError: ``n_classes`` is below 1.
    """
    if n_classes < 1:
        raise ValueError(f"n_classes is {n_classes}; at least 1 is needed")
    figure_class = _figure_class()
    labels = _rows_of_events(events)
    panels: list[tuple[float, Any]] = []
    if audio is not None:
        seen = overview_of(audio, source_rate)
        panels += [(1.0, lambda axes: _waveform(axes, seen)), (2.0, lambda axes: _log_mel(axes, seen))]
    panels.append((0.3 * n_classes + 0.4, lambda axes: _classes(axes, result, framewise, n_classes)))
    if labels:
        panels.append((0.3 * len(labels) + 0.4, lambda axes: _events(axes, events, labels)))
    heights = [height for height, _ in panels]
    figure = figure_class(figsize=(11, sum(heights) + 1.2), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, (_, draw) in zip(grid[:, 0], panels, strict=True):
        draw(axes)
        axes.set_xlim(0, result.duration_s)
    grid[-1, 0].set_xlabel("time (s)")
    if title:
        figure.suptitle(title)
    return figure


def _figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "a plot needs matplotlib, which is not installed: pip install 'pannsx[plot]'"
        ) from error
    return Figure


def _heat() -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap(HEAT / 255)


def _waveform(axes: Axes, seen: Overview) -> None:
    times = seen.column_s * np.arange(len(seen.peaks))
    axes.fill_between(times, seen.peaks[:, 0], seen.peaks[:, 1], color=_WAVE, linewidth=0.3)
    loudest = max(float(np.abs(seen.peaks).max()), 1e-4)
    axes.set_ylim(-1.05 * loudest, 1.05 * loudest)
    axes.set_ylabel("waveform")


def _log_mel(axes: Axes, seen: Overview) -> None:
    loudest, n_bands = float(seen.log_mel.max()), seen.log_mel.shape[1]
    stop_s = seen.column_s * len(seen.log_mel)
    axes.imshow(
        seen.log_mel.T,
        origin="lower",
        aspect="auto",
        extent=(0, stop_s, 0, n_bands),
        cmap=_heat(),
        vmin=loudest - _SHOWN_DB,
        vmax=loudest,
    )
    axes.set_yticks([band_of(hz) for hz in _FREQUENCIES_HZ])
    axes.set_yticklabels([f"{hz / 1000:g}" for hz in _FREQUENCIES_HZ])
    axes.set_ylabel("frequency (kHz)")


def _classes(axes: Axes, result: Result, framewise: FloatArray, n_classes: int) -> None:
    """The classes with the greatest probability in any frame, the most probable at the top."""
    order = np.argsort(-framewise.max(axis=0), kind="stable")[:n_classes]
    edges = result.offset_s - result.hop_s / 2 + result.hop_s * np.array([0, len(framewise)])
    picture = axes.imshow(
        framewise[:, order].T,
        aspect="auto",
        interpolation="nearest",
        extent=(edges[0], edges[1], len(order) - 0.5, -0.5),
        cmap=_heat(),
        vmin=0,
        vmax=1,
    )
    axes.set_yticks(range(len(order)), [result.labels[k] for k in order])
    figure = axes.get_figure()
    if figure is not None:
        figure.colorbar(picture, ax=axes, label="probability", pad=0.01)


def _rows_of_events(events: Sequence[Event]) -> list[str]:
    """The labels to show, longest total duration first."""
    lengths: dict[str, float] = {}
    for event in events:
        lengths[event.label] = lengths.get(event.label, 0.0) + event.offset_s - event.onset_s
    return sorted(lengths, key=lambda label: (-lengths[label], label))[:_MOST_EVENT_ROWS]


def _events(axes: Axes, events: Sequence[Event], labels: list[str]) -> None:
    for row, label in enumerate(labels):
        bars = [(e.onset_s, e.offset_s - e.onset_s) for e in events if e.label == label]
        axes.broken_barh(bars, (row - 0.35, 0.7), facecolors=_EVENT, edgecolor="white", linewidth=0.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)
    axes.set_title("events", loc="left", fontsize="medium")

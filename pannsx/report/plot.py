"""A result as a figure: waveform, log-mel, the most probable classes over time, events.  Needs matplotlib.

Hue carries no meaning: lightness shows values, and rows show classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pannsx.atomic import replacing
from pannsx.events import Event, EventDetector, EventSettings, OperatingPoints, frame_edges
from pannsx.readable import clock
from pannsx.report.columns import Columns
from pannsx.report.overview import FREQUENCIES_HZ, Overview, band_of, overview_of
from pannsx.report.picture import HEAT, SHOWN_DB
from pannsx.report.result import Grid, Result
from pannsx.report.sound import Sound
from pannsx.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_MOST_EVENT_ROWS = 12
_WAVE, _EVENT = "#3f6f8f", "#0b62a8"
_LONG_S = 60.0  # from here on, times are m:ss
_LEAST_BAR = 1 / 500  # of the width: a shorter event is drawn this wide, so that it can be seen
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800)
_MOST_TICKS = 10
_DPI = 150


class FigureMaker:
    """Makes the figure of one recording from its frames, block by block; memory grows slowly with its length.

    Args:
        grid: times and labels of the frames.
        settings: settings of the events.
        points: operating points of the checkpoint, the default of the thresholds.
        n_classes: number of classes to draw.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: a file of thresholds cannot be read.
        ValueError: ``n_classes`` is below 1, or an invalid setting.
    """

    def __init__(
        self, grid: Grid, settings: EventSettings, points: OperatingPoints | None, *, n_classes: int
    ) -> None:
        if n_classes < 1:
            raise ValueError(f"n_classes is {n_classes}; at least 1 is needed")
        _figure_class()
        if settings.threshold is None:
            settings = replace(settings, threshold=points)
        self._grid, self._n_classes = grid, n_classes
        self._detector = EventDetector(grid.labels, grid.hop_s, settings, offset_s=grid.offset_s)
        self._events: list[Event] = []
        self._columns = Columns(len(grid.labels))

    def push(self, framewise: FloatArray) -> None:
        """``(n, K)`` probabilities of the next frames."""
        self._columns.push(framewise)
        self._events += self._detector.push(framewise)

    def figure(self, result: Result, sound: Sound | None, *, title: str | None) -> Figure:
        """The figure of the frames pushed so far, with every panel that has data; call it once.

        Raises:
            AudioError: the audio cannot be used.
        """
        events = self._detector.in_order([*self._events, *self._detector.close(result.duration_s)])
        labels = _rows_of_events(events)
        panels: list[tuple[float, Any]] = []
        if sound is not None:
            seen = overview_of(sound)
            panels += [(1.0, lambda axes: _waveform(axes, seen)), (2.0, lambda axes: _log_mel(axes, seen))]
        panels.append((0.3 * self._n_classes + 0.4, lambda axes: self._draw_classes(axes, result.duration_s)))
        if labels:
            panels.append(
                (0.3 * len(labels) + 0.4, lambda axes: _events(axes, events, labels, result.duration_s))
            )
        heights = [height for height, _ in panels]
        figure = _figure_class()(figsize=(11, sum(heights) + 1.2), layout="constrained")
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
        for axes, (_, draw) in zip(grid[:, 0], panels, strict=True):
            draw(axes)
            axes.set_xlim(0, result.duration_s)
        _time_axis(grid[-1, 0], result.duration_s)
        if title:
            figure.suptitle(_plain(title))
        return figure

    def write(self, result: Result, path: Path, sound: Sound | None, *, title: str) -> None:
        """Write the figure; the extension selects the format.

        Raises:
            AudioError: the audio cannot be used.
            OSError: the file cannot be written.
            ValueError: an unknown extension.
        """
        check_extension(path)
        save(self.figure(result, sound, title=title), path)

    def _draw_classes(self, axes: Axes, duration_s: float) -> None:
        """The classes with the greatest probability in any frame, the most probable at the top."""
        values, frames_in_column = self._columns.values()
        order = np.argsort(-values.max(axis=0), kind="stable")[: self._n_classes]
        grid = self._grid
        edges = frame_edges(self._columns.n_frames, grid.hop_s, offset_s=grid.offset_s, duration_s=duration_s)
        # The first and last frame extend to the ends of the recording, which an image of equal pixels cannot.
        picture = axes.pcolormesh(
            np.append(edges[:-1:frames_in_column], edges[-1]),
            np.arange(len(order) + 1) - 0.5,
            values[:, order].T,
            cmap=_heat(),
            vmin=0,
            vmax=1,
            rasterized=True,
        )
        axes.invert_yaxis()
        axes.set_yticks(range(len(order)), [_plain(grid.labels[k]) for k in order])
        figure = axes.get_figure()
        if figure is not None:
            figure.colorbar(picture, ax=axes, label="probability", pad=0.01)


def check_extension(path: Path) -> None:
    """ValueError if matplotlib has no format for the extension."""
    known = _figure_class()().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise ValueError(f"cannot write {path.name!r}; the extension must be one of .{', .'.join(known)}")


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower().removeprefix("."), dpi=_DPI)


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


def _plain(text: str) -> str:
    """The text with its dollar signs as such: a pair of them would begin a formula."""
    return text.replace("$", r"\$")


def _time_axis(axes: Axes, duration_s: float) -> None:
    """Seconds for short recordings, else marks at whole steps as ``m:ss`` or ``h:mm:ss``."""
    if duration_s < _LONG_S:
        axes.set_xlabel("time (s)")
        return
    step = next((step for step in _STEPS_S if duration_s / step <= _MOST_TICKS), 86_400)
    times = np.arange(0, duration_s, step)
    axes.set_xticks(times, [clock(float(time)) for time in times])
    axes.set_xlabel("time (h:mm:ss)" if duration_s >= 3600 else "time (m:ss)")


def _waveform(axes: Axes, seen: Overview) -> None:
    # A column stands for the time from its begin to the next one's; the last ends with the recording.
    times = np.append(seen.column_s * np.arange(len(seen.peaks)), seen.duration_s)
    peaks = np.concatenate([seen.peaks, seen.peaks[-1:]])
    axes.fill_between(times, peaks[:, 0], peaks[:, 1], color=_WAVE, linewidth=0.3)
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
        vmin=loudest - SHOWN_DB,
        vmax=loudest,
    )
    axes.set_yticks([band_of(hz) for hz in FREQUENCIES_HZ])
    axes.set_yticklabels([f"{hz / 1000:g}" for hz in FREQUENCIES_HZ])
    axes.set_ylabel("frequency (kHz)")


def _rows_of_events(events: Sequence[Event]) -> list[str]:
    """The labels to show, longest total duration first."""
    lengths: dict[str, float] = {}
    for event in events:
        lengths[event.label] = lengths.get(event.label, 0.0) + event.offset_s - event.onset_s
    return sorted(lengths, key=lambda label: (-lengths[label], label))[:_MOST_EVENT_ROWS]


def _events(axes: Axes, events: Sequence[Event], labels: list[str], duration_s: float) -> None:
    least_s = _LEAST_BAR * duration_s
    for row, label in enumerate(labels):
        bars = []
        for event in events:
            if event.label == label:
                width_s = max(event.offset_s - event.onset_s, least_s)
                bars.append((min(event.onset_s, duration_s - width_s), width_s))
        axes.broken_barh(bars, (row - 0.35, 0.7), facecolors=_EVENT, linewidth=0)
    axes.set_yticks(range(len(labels)), [_plain(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)
    n_left_out = len({event.label for event in events}) - len(labels)
    more = f", {n_left_out} more classes with less time are not drawn" if n_left_out else ""
    axes.set_title(f"events{more}", loc="left", fontsize="medium")

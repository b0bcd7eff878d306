"""Views of a result: an HTML page with a player, a figure, and the table for Jupyter.

Called through :class:`pannsx.TaggingResult`: its ``report``, ``plot`` and ``_repr_html_``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pannsx.atomic import replacing
from pannsx.report.notebook import html_of
from pannsx.report.page import page_of
from pannsx.report.plot import figure_of
from pannsx.types import PathLike, Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pannsx.events import Event, EventSettings
    from pannsx.report.result import Result

__all__ = ["html_of", "plot", "report"]

_DPI = 150


def report(
    result: Result,
    settings: EventSettings,
    path: PathLike,
    audio: Source | None,
    source_rate: int | None,
    *,
    title: str | None,
) -> Path:
    """Write the page; see :meth:`pannsx.TaggingResult.report`."""
    target = Path(path)
    page = page_of(result, settings, audio, source_rate, title=title or _name_of(audio) or target.stem)
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return target


def plot(
    result: Result,
    events: Sequence[Event],
    path: PathLike | None,
    audio: Source | None,
    source_rate: int | None,
    *,
    title: str | None,
    n_classes: int,
) -> Figure:
    """Draw the figure, and write it if a path is given; see :meth:`pannsx.TaggingResult.plot`."""
    if result.framewise is None:
        raise ValueError("there are no frames to plot; call inference without framewise=False")
    figure = figure_of(
        result,
        result.framewise,
        events,
        audio,
        source_rate,
        title=title or _name_of(audio),
        n_classes=n_classes,
    )
    if path is not None:
        target = Path(path)
        known = figure.canvas.get_supported_filetypes()
        kind = target.suffix.lower().removeprefix(".")
        if kind not in known:
            raise ValueError(
                f"cannot write {target.name!r}; the extension must be one of .{', .'.join(known)}"
            )
        with replacing(target) as temporary:
            figure.savefig(temporary, format=kind, dpi=_DPI)
    return figure


def _name_of(audio: Source | None) -> str | None:
    return Path(audio).name if isinstance(audio, (str, os.PathLike)) else None

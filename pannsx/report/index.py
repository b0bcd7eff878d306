"""The index page of a folder of pages or figures."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pannsx.readable import duration
from pannsx.report.details import origin_facts
from pannsx.report.sound import relative_address
from pannsx.report.template import filled, part, write_page

NAME = "index.html"
_SHOWN_AS_PICTURES = (".png", ".svg", ".jpg", ".jpeg", ".webp")
_N_TAGS = 3


class Entry(NamedTuple):
    """A recording of the index: its name, its page or figure, its length and most probable classes."""

    name: str
    path: Path
    duration_s: float
    tags: Sequence[tuple[str, float]]


def write_index(
    folder: Path,
    entries: Sequence[Entry],
    failures: Sequence[tuple[str, str]],
    *,
    title: str,
    model: str | None,
) -> Path:
    """Write ``index.html`` with a link to each page or a picture of each figure; returns its path.

    Args:
        folder: its folder; links are relative to it.
        entries: the pages or figures.
        failures: names and reasons of the recordings without a page.
        title: the heading.
        model: name of the checkpoint.

    Raises:
        OSError: it cannot be written.
    """
    target = folder / NAME
    total_s = sum(entry.duration_s for entry in entries)
    n = len(entries)
    subtitle = f"{n} recording{'' if n == 1 else 's'}, {duration(total_s)}"
    if failures:
        subtitle += f"; {len(failures)} more failed"
    are_pictures = all(entry.path.suffix.lower() in _SHOWN_AS_PICTURES for entry in entries)
    parts = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "style": part("page.css"),
        "failures": _failures(failures),
        "content": _gallery(entries, folder) if are_pictures else _table(entries, folder),
        "origin": html.escape(" · ".join(value for _, value in origin_facts(model))),
    }
    write_page(filled(part("index.html"), parts), target)
    return target


def _table(entries: Sequence[Entry], folder: Path) -> Iterator[str]:
    yield (
        '<table class="index" role="table"><thead role="rowgroup"><tr role="row">'
        '<th role="columnheader" scope="col">Recording</th>'
        '<th role="columnheader" scope="col" class="time">Length</th>'
        '<th role="columnheader" scope="col">Most probable classes</th></tr></thead><tbody role="rowgroup">\n'
    )
    for entry in entries:
        yield (
            f'<tr role="row"><td role="cell">{_link(entry, folder, html.escape(entry.name))}</td>'
            f'<td role="cell" class="time">{html.escape(duration(entry.duration_s))}</td>'
            f'<td role="cell">{_tags(entry)}</td></tr>\n'
        )
    yield "</tbody></table>"


def _gallery(entries: Sequence[Entry], folder: Path) -> Iterator[str]:
    for entry in entries:
        name = html.escape(entry.name)
        address = html.escape(relative_address(entry.path, folder))
        picture = f'<img src="{address}" alt="Events of {name}" loading="lazy">'
        yield (
            f'<figure><figcaption>{name} <span class="faint">{html.escape(duration(entry.duration_s))}</span>'
            f"</figcaption>{_link(entry, folder, picture)}</figure>\n"
        )


def _link(entry: Entry, folder: Path, content: str) -> str:
    return f'<a href="{html.escape(relative_address(entry.path, folder))}">{content}</a>'


def _tags(entry: Entry) -> str:
    shown = (f"{html.escape(label)} <b>{value:.2f}</b>" for label, value in entry.tags[:_N_TAGS])
    return ", ".join(shown)


def _failures(failures: Sequence[tuple[str, str]]) -> str:
    if not failures:
        return ""
    entries = "".join(
        f"<li><b>{html.escape(name)}</b>: {html.escape(reason)}</li>" for name, reason in failures
    )
    return f'<section class="trouble"><p>Failed, without a page:</p><ul>{entries}</ul></section>'

"""Sizes and lengths of time as text for people."""

from __future__ import annotations

CLOCK_FROM_S = 60.0
"""Times from a minute on are shown as by a clock, shorter ones in seconds."""


def clock(time_s: float, digits: int = 0) -> str:
    """``h:mm:ss`` or ``m:ss``, with digits of a second."""
    step = 10**digits
    minutes, rest = divmod(round(time_s * step), 60 * step)
    hours, minutes = divmod(minutes, 60)
    second, fraction = divmod(rest, step)
    text = f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"
    return f"{text}.{fraction:0{digits}d}" if digits else text


def duration(time_s: float) -> str:
    """A length of time: ``"8.6 s"``, ``"3:20 min"`` or ``"1:02:09 h"``."""
    if time_s < CLOCK_FROM_S:
        return f"{time_s:.1f} s"
    text = clock(time_s)
    return f"{text} {'h' if text.count(':') == 2 else 'min'}"


def file_size(n_bytes: int) -> str:
    """A file size, such as ``"9.7 MB"``; 1 MB is a million bytes."""
    size, unit = float(n_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{n_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"

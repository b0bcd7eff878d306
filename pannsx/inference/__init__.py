"""From sources to results: windows, batches, devices, and running the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.inference import fine_frames as fine_frames
    from pannsx.inference import windows as windows
else:
    __getattr__, __dir__ = attach(__name__, {}, ["fine_frames", "windows"])

"""Models: every published PANN, composed of a stem, a trunk and a head.

Names are imported on first use: the table of architectures needs no torch, models do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.models import convert as convert
    from pannsx.models.heads import Output
    from pannsx.models.pann import Pann
    from pannsx.models.timing import TimeGrid
    from pannsx.models.zoo import ARCHITECTURES

__all__ = ["ARCHITECTURES", "Output", "Pann", "TimeGrid"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "ARCHITECTURES": "pannsx.models.zoo",
            "Output": "pannsx.models.heads",
            "Pann": "pannsx.models.pann",
            "TimeGrid": "pannsx.models.timing",
        },
        ["convert"],
    )

"""Models: every published PANN, composed of a stem, a trunk and a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach
from pannsx.models.heads import Output
from pannsx.models.pann import Pann
from pannsx.models.timing import TimeGrid
from pannsx.models.zoo import ARCHITECTURES

if TYPE_CHECKING:
    from pannsx.models import convert as convert
else:
    __getattr__, __dir__ = attach(__name__, {}, ["convert"])

__all__ = ["ARCHITECTURES", "Output", "Pann", "TimeGrid"]

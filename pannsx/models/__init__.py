"""Models: every published PANN as a stem, a trunk and a head."""

from pannsx.models.heads import Output
from pannsx.models.pann import Pann
from pannsx.models.timing import TimeGrid
from pannsx.models.zoo import ARCHITECTURES

__all__ = ["ARCHITECTURES", "Output", "Pann", "TimeGrid"]

"""Views of a result: an HTML page with a player, a figure, and the table for Jupyter.

Called through :class:`pannsx.TaggingResult`: its ``report``, ``plot`` and ``_repr_html_``. A
:class:`PageMaker` or :class:`FigureMaker` takes the frames block by block, for recordings of any length.
"""

from __future__ import annotations

from pannsx.report.notebook import html_of
from pannsx.report.page import PageMaker
from pannsx.report.plot import FigureMaker
from pannsx.report.sound import Codec, Player, Sound

__all__ = ["Codec", "FigureMaker", "PageMaker", "Player", "Sound", "html_of"]

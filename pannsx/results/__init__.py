"""Results of a tagger: plain arrays with their labels and times."""

from __future__ import annotations

from pannsx.results.batch import BatchResult
from pannsx.results.grid import FrameEmbeddings, FrameGrid, OnGrid
from pannsx.results.tagging import TaggingResult
from pannsx.tags import Tag

__all__ = ["BatchResult", "FrameEmbeddings", "FrameGrid", "OnGrid", "Tag", "TaggingResult"]

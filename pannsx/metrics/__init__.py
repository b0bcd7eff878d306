"""Metrics on arrays: scores of audio tagging, and distances between generated and real audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.metrics import bootstrap as bootstrap
    from pannsx.metrics import generation as generation
    from pannsx.metrics.tagging import TaggingScores, accuracy, d_prime_of, tagging_scores

__all__ = ["TaggingScores", "accuracy", "d_prime_of", "tagging_scores"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__, dict.fromkeys(__all__, "pannsx.metrics.tagging"), ["bootstrap", "generation"]
    )

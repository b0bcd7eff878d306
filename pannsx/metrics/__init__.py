"""Scores of arrays: how well clips are tagged, how close generated audio is to real audio."""

from __future__ import annotations

from pannsx.metrics.tagging import TaggingScores, accuracy, d_prime_of, tagging_scores

__all__ = ["TaggingScores", "accuracy", "d_prime_of", "tagging_scores"]

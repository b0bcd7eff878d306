"""Metrics on arrays: scores of audio tagging, and distances between generated and real audio."""

from __future__ import annotations

from pannsx.metrics.tagging import TaggingScores, accuracy, d_prime_of, tagging_scores

__all__ = ["TaggingScores", "accuracy", "d_prime_of", "tagging_scores"]

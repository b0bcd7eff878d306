"""Scores of generated audio from files: sets of clips, their stored statistics, and other tools' caches."""

from __future__ import annotations

from pannsx.scoring.caches import read_av_bench, read_kadtk, write_av_bench, write_kadtk
from pannsx.scoring.clip_set import ClipSet, Origin, Problem
from pannsx.scoring.scorer import GenerationScorer
from pannsx.scoring.scores import GenerationScores, Score, score_sets
from pannsx.scoring.statistics import read_statistics, write_statistics

__all__ = [
    "ClipSet", "GenerationScorer", "GenerationScores", "Origin", "Problem", "Score", "read_av_bench",
    "read_kadtk", "read_statistics", "score_sets", "write_av_bench", "write_kadtk", "write_statistics",
]  # fmt: skip

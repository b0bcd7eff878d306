"""Scores of generated audio from embeddings and logits: Frechet and kernel distances, KL, inception score.

Everything is computed in float64 from arrays; for files, use :mod:`pannsx.scoring`. The field's tools use
other conventions and lower precision; a convention with an effect on a score is an argument here.
"""

from __future__ import annotations

from pannsx.metrics.generation.frechet import (
    EmbeddingStatistics,
    FrechetInfinity,
    frechet_distance,
    frechet_infinity,
)
from pannsx.metrics.generation.kernels import (
    KernelInceptionDistance,
    KernelName,
    kernel_audio_distance,
    kernel_inception_distance,
)
from pannsx.metrics.generation.logits import (
    InceptionScore,
    KLConvention,
    KLKind,
    inception_score,
    kl_divergence,
    kl_divergences,
)

__all__ = [
    "EmbeddingStatistics",
    "FrechetInfinity",
    "InceptionScore",
    "KLConvention",
    "KLKind",
    "KernelInceptionDistance",
    "KernelName",
    "frechet_distance",
    "frechet_infinity",
    "inception_score",
    "kernel_audio_distance",
    "kernel_inception_distance",
    "kl_divergence",
    "kl_divergences",
]

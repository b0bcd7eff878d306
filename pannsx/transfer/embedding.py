"""Embeddings of all clips of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from pannsx.inference.engine import Precision
from pannsx.inference.pipeline import Pipeline
from pannsx.transfer.clips import Waveforms, chosen
from pannsx.transfer.resume import NOWHERE, Progress
from pannsx.transfer.watching import Watcher
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint

CLIPS_A_BLOCK = 512
"""Clips whose embeddings are computed, and kept for a resumed run, together."""


def embed(
    base: LoadedCheckpoint,
    waveforms: Iterable[FloatArray],
    *,
    device: str = "cpu",
    precision: Precision = "float32",
) -> FloatArray:
    """``N`` clips at the model's rate -> ``(N, D)`` embeddings, those of :class:`pannsx.FeatureExtractor`."""
    pipeline = Pipeline(base, device=device, precision=precision)
    return np.stack([analysis.answer.embedding for analysis in pipeline.analyse(waveforms)])


def embed_all(
    base: LoadedCheckpoint,
    waveforms: Waveforms,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
    progress: Progress = NOWHERE,
    watch: Watcher | None = None,
) -> FloatArray:
    """:func:`embed` in blocks of clips, which a resumed run does not compute again."""
    watch = watch or Watcher()
    pipeline = Pipeline(base, device=device, precision=precision)

    def read(rows: Sequence[int]) -> Iterator[FloatArray]:
        for waveform in chosen(waveforms, rows):
            watch.clip()
            yield waveform

    blocks = []
    for number, begin in enumerate(range(0, len(waveforms), CLIPS_A_BLOCK)):
        rows = range(begin, min(begin + CLIPS_A_BLOCK, len(waveforms)))
        name = f"embeddings-{number:05d}"
        if (kept := progress.load(name)) is not None:
            blocks.append(kept["embeddings"].numpy())
            for _ in rows:
                watch.clip()
            continue
        blocks.append(np.stack([found.answer.embedding for found in pipeline.analyse(read(rows))]))
        progress.save(name, {"embeddings": torch.from_numpy(blocks[-1])})
    return np.concatenate(blocks)

"""The clips of a data set in memory, at one rate.

As floats, although that takes twice the memory of 16 bits: a clip recorded at a lower rate has empty bands,
which rounding to 16 bits would fill with noise.  The log-mel shows it: a head would be trained on other
embeddings than those of :class:`pannsx.AudioTagger`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from pannsx import audio
from pannsx.types import FloatArray
from train.transfer.data_set import DataSet, Recording

Waveforms = Sequence[FloatArray]


def read_waveforms(data: DataSet, sample_rate: int) -> list[FloatArray]:
    """Every clip of a data set, ``N`` times ``(S_i,)``, at ``sample_rate`` Hz.

    Raises:
        AudioError: a clip cannot be used; repair it or remove it from the data set.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding and resampling release the interpreter's lock
        return list(pool.map(partial(_read, sample_rate=sample_rate), data.recordings))


def _read(recording: Recording, sample_rate: int) -> FloatArray:
    part = audio.load(recording.path, sample_rate, start_s=recording.start_s, duration_s=recording.duration_s)
    return part.waveform


def batch_of(waveforms: Waveforms, rows: Sequence[int], longest: int, rng: np.random.Generator) -> FloatArray:
    """Clips of some rows -> ``(B, S)``, zero-padded to the longest of them.

    Clips longer than ``longest`` samples are cut to a random part, new each time.
    """
    parts = [_part(waveforms[row], longest, rng) for row in rows]
    batch = np.zeros((len(parts), max(map(len, parts))), np.float32)
    for row, part in zip(batch, parts, strict=True):
        row[: len(part)] = part
    return batch


def _part(waveform: FloatArray, longest: int, rng: np.random.Generator) -> FloatArray:
    begin = int(rng.integers(max(0, len(waveform) - longest) + 1))
    return waveform[begin : begin + longest]

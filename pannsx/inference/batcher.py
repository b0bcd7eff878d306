"""Waveforms that come one by one, through the network in batches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

from pannsx.types import FloatArray

if TYPE_CHECKING:
    from pannsx.inference.engine import Answer, Engine, Wanted

Key = TypeVar("Key")


class Batcher(Generic[Key]):
    """Groups waveforms that can go through the network together, and runs each batch when it is full.

    Args:
        engine: says which lengths go together and when a batch is full, and runs it.
        wanted: the per-frame answers to compute.
        max_waiting_samples: where more wait for a batch, the groups that have waited longest are run.
    """

    def __init__(self, engine: Engine, wanted: Wanted, *, max_waiting_samples: float = math.inf) -> None:
        self._engine = engine
        self._wanted = wanted
        self._max_waiting_samples = max_waiting_samples
        self._waiting: dict[int, list[tuple[Key, FloatArray]]] = {}  # by the engine's group of a length
        self._waiting_samples = 0

    def push(self, key: Key, waveform: FloatArray) -> list[tuple[Key, Answer]]:
        """One more waveform ``(S,)`` -> the answers that it completes, with the keys of their waveforms."""
        group = self._engine.group_of(len(waveform))
        batch = self._waiting.setdefault(group, [])
        batch.append((key, waveform))
        self._waiting_samples += len(waveform)
        found: list[tuple[Key, Answer]] = []
        if self._engine.is_full([len(each) for _, each in batch]):
            found += self._run(group)
        while self._waiting_samples > self._max_waiting_samples:
            found += self._run(next(iter(self._waiting)))
        return found

    def finish(self) -> list[tuple[Key, Answer]]:
        """The answers of all that still wait."""
        return [each for group in list(self._waiting) for each in self._run(group)]

    def _run(self, group: int) -> list[tuple[Key, Answer]]:
        keys, waveforms = zip(*self._waiting.pop(group), strict=True)
        self._waiting_samples -= sum(map(len, waveforms))
        return list(zip(keys, self._engine.run_batch(waveforms, self._wanted), strict=True))

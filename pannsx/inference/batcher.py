"""Batching of waveforms that arrive one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pannsx.types import FloatArray

if TYPE_CHECKING:
    from pannsx.inference.engine import Wanted

Key = TypeVar("Key")
Found = TypeVar("Found")


class Runner(Protocol[Found]):
    """Runs waveforms of one group: an :class:`~pannsx.inference.engine.Engine`, or one up to a level."""

    def group_of(self, n_samples: int) -> int:
        """The group of a length; waveforms of one group can be processed together."""

    def is_full(self, lengths: Sequence[int]) -> bool:
        """Whether waveforms of these lengths, of one group, make a full batch."""

    def run_batch(self, waveforms: Sequence[FloatArray], wanted: Wanted) -> list[Found]:
        """``(S_i,)`` waveforms of one group, all at once -> a result each."""


class Batcher(Generic[Key, Found]):
    """Groups waveforms that the network can process together, and runs each batch when it is full.

    Args:
        engine: defines the groups and full batches, and runs them.
        wanted: the framewise outputs to compute.
        max_waiting_samples: limit of buffered samples; above it, the oldest groups are run.
    """

    def __init__(
        self, engine: Runner[Found], wanted: Wanted, *, max_waiting_samples: float = math.inf
    ) -> None:
        self._engine = engine
        self._wanted = wanted
        self._max_waiting_samples = max_waiting_samples
        self._waiting: dict[int, list[tuple[Key, FloatArray]]] = {}  # by the engine's group of a length
        self._waiting_samples = 0

    def push(self, key: Key, waveform: FloatArray) -> list[tuple[Key, Found]]:
        """Add a waveform ``(S,)`` -> the finished answers, with the keys of their waveforms."""
        group = self._engine.group_of(len(waveform))
        batch = self._waiting.setdefault(group, [])
        batch.append((key, waveform))
        self._waiting_samples += len(waveform)
        found: list[tuple[Key, Found]] = []
        if self._engine.is_full([len(each) for _, each in batch]):
            found += self._run(group)
        while self._waiting_samples > self._max_waiting_samples:
            found += self._run(next(iter(self._waiting)))
        return found

    def finish(self) -> list[tuple[Key, Found]]:
        """Run all buffered waveforms -> their answers."""
        return [each for group in list(self._waiting) for each in self._run(group)]

    def _run(self, group: int) -> list[tuple[Key, Found]]:
        keys, waveforms = zip(*self._waiting.pop(group), strict=True)
        self._waiting_samples -= sum(map(len, waveforms))
        return list(zip(keys, self._engine.run_batch(waveforms, self._wanted), strict=True))

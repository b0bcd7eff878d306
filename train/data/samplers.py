"""The order in which clips are drawn: the three published samplers; a fourth is :mod:`train.data.streamed`.

``none`` goes through all clips in random order, reshuffled for every pass. ``balanced`` goes through the
classes in random order, and takes the next clip of each; a class's clips are reshuffled after each pass.
Every class is drawn equally often, whatever its size. This is not a weighting by inverse frequency: no clip
of a class is repeated before all others were drawn. ``alternate`` draws one batch balanced, the next from
all clips.

Every shuffle is a function of the seed, the class and the pass. So a sampler's complete state is a few
counters, small enough to accompany every batch, and does not depend on other users of random numbers. All
ranks run the same sampler over the global batch, and each takes its part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from train.data.packed import Clips
from train.data.targets import Targets
from train.recipe import Recipe

Rows = NDArray[np.int64]

# First word of the key of each stream of random numbers.
_ALL, _CLASSES, _CLIPS = 1, 2, 3


class Sampler(Protocol):
    """Draws rows without end."""

    def draw(self, n: int) -> Rows:
        """The next ``(n,)`` rows."""

    def state_dict(self) -> dict[str, Any]:
        """The complete state of the sampler, as plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of a sampler of the same clips and seed; otherwise ValueError."""


def make_sampler(recipe: Recipe, clips: Clips, targets: Targets) -> Sampler:
    """The recipe's sampler of clips and their ``(N, K)`` targets."""
    if recipe.sampler == "streamed":
        from train.data.streamed import Streamed

        data = recipe.data
        return Streamed(clips.parts, recipe.run.seed, n_streams=data.streams, buffer_clips=data.buffer_clips)
    if recipe.sampler == "none":
        return Uniform(len(targets), recipe.run.seed)
    if recipe.sampler == "balanced":
        return Balanced(targets, recipe.run.seed)
    return Alternate(targets, recipe.run.seed)


class Uniform:
    """Every clip once per pass, in a new order for each pass.

    Raises:
        ValueError: there are no clips.
    """

    def __init__(self, n_clips: int, seed: int) -> None:
        if n_clips < 1:
            raise ValueError("there are no clips to train on")
        self.n_clips, self.seed = n_clips, seed
        self._pass, self._place = 0, 0
        self._order = self._shuffled()

    def draw(self, n: int) -> Rows:
        """The next ``(n,)`` rows; a batch may extend into the next pass."""
        rows = np.empty(n, np.int64)
        for i in range(n):
            if self._place == self.n_clips:
                self._pass, self._place = self._pass + 1, 0
                self._order = self._shuffled()
            rows[i] = self._order[self._place]
            self._place += 1
        return rows

    def state_dict(self) -> dict[str, Any]:
        """Pass and position in it; also seed and number of clips, to detect the state of another run."""
        return {
            "kind": "none",
            "seed": self.seed,
            "n_clips": self.n_clips,
            "pass": self._pass,
            "place": self._place,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        check_same(self.state_dict(), state, ("kind", "seed", "n_clips"))
        self._pass, self._place = int(state["pass"]), int(state["place"])
        self._order = self._shuffled()

    def _shuffled(self) -> NDArray[np.uint32]:
        return _permutation(self.n_clips, self.seed, _ALL, self._pass)


class Balanced:
    """Every class once per cycle; within a class, every clip once per pass.

    Classes without clips are skipped.

    Raises:
        ValueError: no class has a clip.
    """

    def __init__(self, targets: Targets, seed: int) -> None:
        self.seed = seed
        self.clips_of = targets.rows_of_classes
        self.classes = np.flatnonzero([len(clips) for clips in self.clips_of])
        if not len(self.classes):
            raise ValueError("no clip has a label: there is nothing to balance")
        self._cycle, self._place = 0, 0
        self._passes = [0] * len(self.clips_of)
        self._places = [0] * len(self.clips_of)
        self._orders: dict[int, NDArray[np.uint32]] = {}
        self._queue = self._shuffled_classes()

    def draw(self, n: int) -> Rows:
        """The next ``(n,)`` rows."""
        return np.array([self._draw_from(self._next_class()) for _ in range(n)], np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Cycle of classes and position in it; pass and position of each class."""
        return {
            "kind": "balanced",
            "seed": self.seed,
            "clips_per_class": [len(clips) for clips in self.clips_of],
            "cycle": self._cycle,
            "place": self._place,
            "passes": list(self._passes),
            "places": list(self._places),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        check_same(self.state_dict(), state, ("kind", "seed", "clips_per_class"))
        self._cycle, self._place = int(state["cycle"]), int(state["place"])
        self._passes, self._places = list(state["passes"]), list(state["places"])
        self._orders.clear()
        self._queue = self._shuffled_classes()

    def _next_class(self) -> int:
        if self._place == len(self._queue):
            self._cycle, self._place = self._cycle + 1, 0
            self._queue = self._shuffled_classes()
        self._place += 1
        return int(self._queue[self._place - 1])

    def _draw_from(self, k: int) -> int:
        clips = self.clips_of[k]
        if self._places[k] == len(clips):
            self._passes[k], self._places[k] = self._passes[k] + 1, 0
            self._orders.pop(k, None)  # absent after a resume
        if k not in self._orders:
            self._orders[k] = clips[_permutation(len(clips), self.seed, _CLIPS, k, self._passes[k])]
        self._places[k] += 1
        return int(self._orders[k][self._places[k] - 1])

    def _shuffled_classes(self) -> NDArray[np.int64]:
        return self.classes[_permutation(len(self.classes), self.seed, _CLASSES, self._cycle)]


class Alternate:
    """Batches of `Balanced` and `Uniform` in turn."""

    def __init__(self, targets: Targets, seed: int) -> None:
        self.balanced, self.uniform = Balanced(targets, seed), Uniform(len(targets), seed)
        self._n_drawn = 0

    def draw(self, n: int) -> Rows:
        """The next ``(n,)`` rows: a batch."""
        sampler: Sampler = self.uniform if self._n_drawn % 2 else self.balanced
        self._n_drawn += 1
        return sampler.draw(n)

    def state_dict(self) -> dict[str, Any]:
        """Number of batches drawn, and both samplers' states."""
        return {
            "kind": "alternate",
            "n_drawn": self._n_drawn,
            "balanced": self.balanced.state_dict(),
            "uniform": self.uniform.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        check_same(self.state_dict(), state, ("kind",))
        self._n_drawn = int(state["n_drawn"])
        self.balanced.load_state_dict(state["balanced"])
        self.uniform.load_state_dict(state["uniform"])


def _permutation(n: int, *key: int) -> NDArray[np.uint32]:
    return np.random.default_rng(key).permutation(n).astype(np.uint32)


def check_same(own: Mapping[str, Any], other: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """ValueError if a sampler's state is of another run: one of these keys differs."""
    for key in keys:
        if own.get(key) != other.get(key):
            raise ValueError(
                f"the sampler's state is of another run: its {key} differs from that of these clips and this "
                "recipe; resume with the data and the seed the run was started with"
            )

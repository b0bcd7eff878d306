"""Random numbers with ancestors, for related sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

_N_GENES = 4096
_MUTATED_SHARE = 0.12
_MOST_GENES = 64  # a longer draw is noise, not a gene


class Lineage:
    """Random numbers from a seed, then changed by further seeds; short draws are genes.

    Each further seed is a mutation: a share of the genes is redrawn or slightly changed. So a list of seeds
    names a sound, and a longer list a relative of it. Long draws come from an ordinary generator with the
    first seed, so relatives share their noise. Methods are those of `numpy.random.Generator`.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = tuple(seeds)
        self._n_drawn = 0
        self._n_long = 0
        genes = np.random.default_rng(self.seeds[0]).random(_N_GENES)
        for seed in self.seeds[1:]:
            which, value = np.random.default_rng([seed, 7]).random((2, _N_GENES))
            share = _MUTATED_SHARE * (1 if seed % 2 else 2.5)
            if seed % 3:  # near: the old value moved a little
                value = (genes + (value - 0.5) * 0.3) % 1.0
            genes = np.where(which < share, value, genes)
        self._genes: NDArray[np.float64] = genes

    def random(self, size: Any = None) -> Any:
        """Numbers in [0, 1)."""
        if size is None:
            self._n_drawn += 1
            return self._genes[(self._n_drawn - 1) % _N_GENES]
        number = int(np.prod(size))
        if number > _MOST_GENES:
            return self._long().random(size)
        places = (self._n_drawn + np.arange(number)) % _N_GENES
        self._n_drawn += number
        return self._genes[places].reshape(size)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """Numbers in [low, high)."""
        if size is None and (np.ndim(low) or np.ndim(high)):
            size = np.broadcast(low, high).shape
        if size is None:
            return low + (high - low) * float(self.random())
        return np.asarray(low) + (np.asarray(high) - np.asarray(low)) * self.random(size)

    def integers(self, low: Any, high: Any = None, size: Any = None) -> Any:
        """Whole numbers in [low, high), or in [0, low)."""
        low, high = (0, low) if high is None else (low, high)
        drawn = np.floor(low + (high - low) * self.random(size)).astype(int)
        return int(drawn) if size is None else drawn

    def choice(self, items: Any, size: Any = None, p: Any = None) -> Any:
        """Some of the items, equally likely or with probabilities ``p``."""
        items = np.arange(items) if isinstance(items, int | np.integer) else np.asarray(items)
        drawn = np.asarray(self.random(size))
        places = (drawn * len(items)).astype(int) if p is None else np.searchsorted(np.cumsum(p), drawn)
        return items[np.minimum(places, len(items) - 1)]

    def standard_normal(self, size: Any = None) -> Any:
        """Normally distributed numbers."""
        if size is None or np.prod(size) <= _MOST_GENES:
            return ndtri(np.clip(self.random(size), 1e-6, 1 - 1e-6))
        return self._long().standard_normal(size)

    def normal(self, mean: float = 0.0, deviation: float = 1.0, size: Any = None) -> Any:
        """Normally distributed numbers of a mean and a deviation."""
        return mean + deviation * self.standard_normal(size)

    def exponential(self, scale: float = 1.0, size: Any = None) -> Any:
        """Exponentially distributed numbers."""
        return -scale * np.log(1 - np.clip(self.random(size), 0, 1 - 1e-9))

    def pareto(self, a: float, size: Any = None) -> Any:
        """Numbers of a Lomax distribution."""
        return self._long().pareto(a, size)

    def _long(self) -> np.random.Generator:
        self._n_long += 1
        return np.random.default_rng([self.seeds[0], self._n_long, 99])

"""An order of clips for storage that reads well only in sequence: network file systems, object stores, disks.

The files of the clips (the parts of a store, tars) are shared out among streams. Each stream goes through its
files in random order, and through a file in sequence; a clip is drawn at a random place among the next
``buffer_clips`` of its stream. So at any time the clips of a stream come from a few neighbouring files of its
order, which staging (:mod:`train.data.staging`) has fetched whole. Every clip is drawn once in each pass of
its stream.

Each stream has an equal part of every batch, the first of the batch first. With a number of streams that
the number of ranks divides, a rank reads the files of its own streams only, and the order is the same for any
such number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.data.samplers import Rows, check_same

_STREAM = (
    6  # first word of the key of the random numbers; the samplers have 1 to 3, augmentation 4, dropout 5
)


class Streamed:
    """Clips file by file, shuffled within a buffer.

    Args:
        parts: ``(N,)`` number of the file of each clip.
        seed: seed of the order.
        n_streams: number of streams.
        buffer_clips: clips of a stream within which it is shuffled.

    Raises:
        ValueError: there are fewer files than streams.
    """

    def __init__(self, parts: NDArray[np.int64], seed: int, *, n_streams: int, buffer_clips: int) -> None:
        self.n_clips, self.seed, self.n_streams, self.buffer_clips = len(parts), seed, n_streams, buffer_clips
        order = np.argsort(parts, kind="stable")
        begins = np.flatnonzero(np.diff(parts[order], prepend=-1))
        files = np.split(order, begins[1:]) if len(parts) else []
        if len(files) < n_streams:
            raise ValueError(
                f"the clips are in {len(files)} files, too few for data.streams={n_streams}; lower it, or "
                "pack with a smaller --clips-per-part"
            )
        self._files: list[list[Rows]] = [[] for _ in range(n_streams)]
        lengths = [0] * n_streams
        for file in sorted(files, key=len, reverse=True):  # streams of nearly equal length
            shortest = int(np.argmin(lengths))
            self._files[shortest].append(file)
            lengths[shortest] += len(file)
        self._passes, self._places = [0] * n_streams, [0] * n_streams
        self._orders = [self._order(stream) for stream in range(n_streams)]

    def draw(self, n: int) -> Rows:
        """The next ``(n,)`` rows.

        Raises:
            ValueError: ``n`` is not a multiple of the number of streams.
        """
        if n % self.n_streams:
            raise ValueError(
                f"a batch of {n} clips cannot be shared out among data.streams={self.n_streams}; "
                "give a divisor"
            )
        return np.concatenate(
            [self._draw_from(stream, n // self.n_streams) for stream in range(self.n_streams)]
        )

    def state_dict(self) -> dict[str, Any]:
        """Pass of each stream and position in it, and the settings that determine the order."""
        return {
            "kind": "streamed",
            "seed": self.seed,
            "n_clips": self.n_clips,
            "buffer_clips": self.buffer_clips,
            "lengths": [len(order) for order in self._orders],
            "passes": list(self._passes),
            "places": list(self._places),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        check_same(self.state_dict(), state, ("kind", "seed", "n_clips", "buffer_clips", "lengths"))
        self._passes, self._places = list(state["passes"]), list(state["places"])
        self._orders = [self._order(stream) for stream in range(self.n_streams)]

    def _draw_from(self, stream: int, n: int) -> Rows:
        rows = np.empty(n, np.int64)
        n_done = 0
        while n_done < n:
            order, place = self._orders[stream], self._places[stream]
            if place == len(order):
                self._passes[stream], self._places[stream] = self._passes[stream] + 1, 0
                self._orders[stream] = self._order(stream)
                continue
            n_more = min(n - n_done, len(order) - place)
            rows[n_done : n_done + n_more] = order[place : place + n_more]
            self._places[stream] += n_more
            n_done += n_more
        return rows

    def _order(self, stream: int) -> NDArray[np.uint32]:
        """Rows of a pass: files in random order, each clip moved back by less than the buffer."""
        rng = np.random.default_rng((self.seed, _STREAM, stream, self._passes[stream]))
        files = self._files[stream]
        rows = np.concatenate([files[number] for number in rng.permutation(len(files))])
        places = np.arange(len(rows)) + rng.uniform(0.0, self.buffer_clips, len(rows))
        return rows[np.argsort(places, kind="stable")].astype(np.uint32)

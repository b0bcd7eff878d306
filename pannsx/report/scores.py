"""Probabilities for a page: exact from each class's floor up, left out below it."""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from pannsx.types import FloatArray

# Of text. With the pictures, a page without its audio stays below 3 MB for twenty minutes.
MOST_BYTES = 2_000_000
_MORE_BYTES_PER_S = 1_700  # beyond 20 minutes
_NONE = np.zeros(0, np.int32)


class Scores:
    """Collects frames, block by block, and keeps the probabilities of each class that reach its floor.

    Args:
        floors: ``(K,)`` float32.
    """

    def __init__(self, floors: FloatArray) -> None:
        self._floors = floors
        self.n_frames = 0
        self.greatest = np.zeros(len(floors), np.float32)
        self._classes: list[npt.NDArray[np.int32]] = []
        self._frames: list[npt.NDArray[np.int32]] = []
        self._values: list[FloatArray] = []

    def push(self, framewise: FloatArray) -> None:
        """``(n, K)`` probabilities of the next frames."""
        frames, classes = np.nonzero(framewise >= self._floors)
        self._values.append(np.asarray(framewise[frames, classes], np.float32))
        self._classes.append(classes.astype(np.int32))
        self._frames.append((frames + self.n_frames).astype(np.int32))
        self.n_frames += len(framewise)
        np.maximum(self.greatest, framewise.max(axis=0, initial=0.0), out=self.greatest)

    def packed(
        self, labels: tuple[str, ...], duration_s: float, needed: Collection[int] = ()
    ) -> dict[str, Any]:
        """The classes that reach their floor, most probable first, ready for JSON.

        Each class has its ``label``, its ``place`` among the labels, and ``runs``: pairs of a first frame and
        a number of frames. ``values`` holds the values of all runs in order (base64 of little-endian
        float32). If the text would become too long, the least probable classes are left out. Classes in
        ``needed`` are there in any case, if need be without runs.
        """
        most_bytes = max(MOST_BYTES, round(_MORE_BYTES_PER_S * duration_s))
        of_class, frames = (np.concatenate([_NONE, *parts]) for parts in (self._classes, self._frames))
        values = np.concatenate([np.zeros(0, np.float32), *self._values])
        order = np.argsort(of_class, kind="stable")
        bounds = np.searchsorted(of_class[order], np.arange(len(labels) + 1))
        n_reaching = int(np.count_nonzero(np.diff(bounds)))
        classes, kept, n_bytes = [], [], 0
        for k in np.argsort(-self.greatest, kind="stable"):
            own = order[bounds[k] : bounds[k + 1]]
            if not len(own):
                continue
            runs = _runs(frames[own])
            n_bytes += len(str(runs)) + len(own) * 16 // 3  # base64 has 4 letters for 3 bytes
            if n_bytes > most_bytes:
                break
            kept.append(values[own])
            classes.append({"label": labels[k], "place": int(k), "runs": runs})
        present = {each["place"] for each in classes}
        classes += [{"label": labels[k], "place": int(k), "runs": []} for k in sorted(set(needed) - present)]
        packed = np.concatenate(kept) if kept else np.zeros(0, np.float32)
        return {
            "n_frames": self.n_frames,
            "n_classes_left_out": n_reaching - len(present),
            "classes": classes,
            "values": base64.b64encode(packed.astype("<f4").tobytes()).decode("ascii"),
        }


def _runs(frames: npt.NDArray[np.int32]) -> list[int]:
    """Ascending frames -> first frame and number of frames of each run, flat."""
    starts = np.flatnonzero(np.diff(frames, prepend=-2) != 1)
    lengths = np.diff(np.append(starts, len(frames)))
    runs: list[int] = np.stack([frames[starts], lengths], axis=1).ravel().tolist()
    return runs

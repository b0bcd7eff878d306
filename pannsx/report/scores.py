"""Probabilities for a page: exact in the range of the threshold, left out below it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from pannsx.types import FloatArray

MOST_BYTES = 2_000_000  # of text; it leaves room for the pictures in 3 MB


def pack_scores(framewise: FloatArray, labels: tuple[str, ...], floor: float) -> dict[str, Any]:
    """``(T', K)`` probabilities -> the classes that reach ``floor``, most probable first, ready for JSON.

    Values below the floor count as 0. Each class has its ``label``, its ``place`` among the labels, and
    ``runs``: pairs of a first frame and a number of frames. ``values`` holds the values of all runs in order
    (base64 of little-endian float32).
    If the text would exceed ``MOST_BYTES``, the least probable classes are left out.
    """
    greatest = framewise.max(axis=0, initial=0.0)
    classes, values, n_bytes = [], [], 0
    n_reaching = int(np.count_nonzero(greatest >= floor))
    for k in np.argsort(-greatest, kind="stable")[:n_reaching]:
        column = framewise[:, k]
        reaching = np.flatnonzero(np.diff(column >= floor, prepend=False, append=False))
        starts, stops = reaching[::2], reaching[1::2]
        runs = np.stack([starts, stops - starts], axis=1).ravel().tolist()
        n_bytes += len(str(runs)) + int((stops - starts).sum()) * 16 // 3  # base64 has 4 letters for 3 bytes
        if n_bytes > MOST_BYTES:
            break
        values += [column[start:stop] for start, stop in zip(starts, stops, strict=True)]
        classes.append({"label": labels[k], "place": int(k), "runs": runs})
    joined = np.concatenate(values) if values else np.zeros(0, np.float32)
    return {
        "n_frames": len(framewise),
        "n_classes_left_out": n_reaching - len(classes),
        "classes": classes,
        "values": base64.b64encode(joined.astype("<f4").tobytes()).decode("ascii"),
    }

"""Framewise scores for sed_scores_eval: one TSV per recording, a row per frame, a column per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.atomic import replacing
from pannsx.events.formats.recording import in_one_cell, probability, seconds
from pannsx.types import FloatArray, PathLike


class Scores(NamedTuple):
    """``(T', K)`` probabilities, their ``(T' + 1,)`` edges in seconds, and ``K`` labels."""

    framewise: FloatArray
    edges_s: npt.NDArray[np.float64]
    labels: tuple[str, ...]


def write_scores(
    path: PathLike, framewise: npt.ArrayLike, edges_s: npt.ArrayLike, labels: Sequence[str]
) -> None:
    """``(T', K)`` probabilities and ``(T' + 1,)`` edges -> a file ``onset offset label label ...``.

    Args:
        path: ``<name of the recording>.tsv``: the tool matches scores and ground truth by this name.
        framewise: probabilities.
        edges_s: begin and end of frames in seconds (:func:`pannsx.events.frame_edges`).
        labels: ``K`` names.

    Raises:
        ValueError: shapes that do not match, or a label with a tab.
        OSError: the file cannot be written.
    """
    scores, edges = np.asarray(framewise), np.asarray(edges_s, np.float64)
    if scores.ndim != 2 or scores.shape != (len(edges) - 1, len(labels)):
        raise ValueError(
            f"framewise is {scores.shape} with {len(edges)} edges and {len(labels)} labels; "
            "(T', K), T' + 1 and K are needed"
        )
    cells = [in_one_cell(label, "label") for label in labels]
    with replacing(Path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(("onset", "offset", *cells)) + "\n")
        for onset, offset, row in zip(edges[:-1].tolist(), edges[1:].tolist(), scores.tolist(), strict=True):
            file.write("\t".join((seconds(onset), seconds(offset), *map(probability, row))) + "\n")


def read_scores(path: PathLike) -> Scores:
    """Scores from such a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: not such a file, or frames that are not contiguous.
    """
    path = Path(path)
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline().rstrip("\r\n").split("\t")
        if header[:2] != ["onset", "offset"] or len(header) < 3:
            raise ValueError(
                f"{path}: the header begins with {header[:3]}; onset, offset and labels are needed"
            )
        try:
            rows = np.array([line.split("\t") for line in file if line.strip()], np.float64)
            rows = rows.reshape(-1, len(header))
        except ValueError as error:
            raise ValueError(f"{path}: a row does not have {len(header)} numbers: {error}") from error
    if len(rows) == 0 or not np.allclose(rows[1:, 0], rows[:-1, 1], rtol=0, atol=1e-5):
        raise ValueError(f"{path}: no frames, or frames that are not contiguous")
    edges = np.append(rows[:, 0], rows[-1, 1])
    return Scores(rows[:, 2:].astype(np.float32), edges, tuple(header[2:]))

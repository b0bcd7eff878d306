"""Results of rows, and the columns made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.corpus.decoding import Failure
from pannsx.corpus.rows import Row
from pannsx.corpus.schema import FAILED, OK, EmbeddingType, Output
from pannsx.errors import printable


class Found(NamedTuple):
    """The outputs of one recording or part, by name."""

    duration_s: float
    cells: dict[str, Any]


class Answered(NamedTuple):
    """The result of a row, or of a part of one, or the reason for its failure."""

    row: Row
    offset_s: float
    found: Found | Failure


def columns_of(
    answered: Sequence[Answered],
    outputs: Sequence[Output],
    widths: Mapping[str, int],
    embedding_dtype: EmbeddingType,
) -> dict[str, Any]:
    """``n`` results -> columns of ``n``; failed rows have NaN in arrays of numbers, else None.

    Args:
        answered: the results.
        outputs: names of the outputs.
        widths: length of an ``embedding`` and of ``logits``.
        embedding_dtype: type of the embeddings.
    """
    found = [each.found for each in answered]
    columns: dict[str, Any] = {
        "id": _objects(printable(each.row.id) for each in answered),
        "path": _objects(each.row.place and printable(each.row.place) for each in answered),
        "offset_s": np.array([each.offset_s for each in answered], np.float64),
        "duration_s": np.array([each.duration_s if isinstance(each, Found) else np.nan for each in found]),
        "status": _objects(OK if isinstance(each, Found) else FAILED for each in found),
        "error": _objects(printable(each.reason) if isinstance(each, Failure) else None for each in found),
    }
    for name in outputs:
        if name in widths:
            dtype = embedding_dtype if name == "embedding" else "float32"
            values = np.full((len(found), widths[name]), np.nan, dtype)
            for row, each in zip(values, found, strict=True):
                if isinstance(each, Found):
                    row[:] = each.cells[name]
            columns[name] = values
        else:
            columns[name] = _objects(each.cells[name] if isinstance(each, Found) else None for each in found)
    return columns


def _objects(values: Iterable[Any]) -> npt.NDArray[np.object_]:
    listed = list(values)
    array = np.empty(len(listed), object)
    for i, value in enumerate(listed):
        array[i] = value
    return array

"""Nearest neighbours and near-duplicates among the embeddings of a table, exact and in blocks.

The similarity is the cosine of two embeddings. All pairs are computed, ``N ** 2`` of them, in blocks of a few
hundred megabytes: minutes for 100,000 rows, hours for a few million. Beyond that, load the table into an
approximate index.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.types import FloatArray, PathLike

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = npt.NDArray[np.int64]

NEAR_DUPLICATE = 0.98
"""Cosine from which on two clips count as the same recording, for the bundled checkpoint."""

_ROUNDING = 1e-6
"""Of a cosine of two equal embeddings: float32 sums of some thousand products."""

_QUERIES, _ROWS = 1024, 8192  # of a block of similarities: 34 MB
_READ_ROWS = 4096


def neighbours(table: PathLike | Sequence[PathLike], k: int = 10) -> pa.Table:
    """The ``k`` most similar other rows of each row of a table with embeddings, by their cosine.

    The embeddings are held in a temporary file, of 4 kB a row for 1,024 numbers, where ``TMPDIR`` says.

    >>> from pannsx.corpus import neighbours
    >>>
    >>> found = neighbours("clips-table", k=3)
    >>> print(found.column_names)
    ['id', 'offset_s', 'rank', 'neighbour_id', 'neighbour_offset_s', 'similarity']

    Args:
        table: a folder of ``pannsx corpus``, or Parquet files with columns ``id`` and ``embedding``. Rows
            without an embedding, or with one that is not finite, are left out. The cosine of an embedding of
            zeros is 0.
        k: number of neighbours; fewer where there are fewer rows.

    Returns:
        an Arrow table with a row for each pair, in the order of the rows and by ``rank`` from 1. Its ids are
        dictionary-encoded, so that each is held once.

    Raises:
        ImportError: pyarrow, the extra ``pannsx[parquet]``, is not installed.
        ValueError: ``k`` is below 1, or the table has no embeddings.
    """
    import pyarrow as pa

    if k < 1:
        raise ValueError(f"k is {k}; ask for at least one neighbour")
    with _embeddings_of(table) as found:
        n = len(found.ids)
        k = min(k, n - 1)
        places = np.empty((n, k), np.int64)
        values = np.empty((n, k), np.float32)
        for first in range(0, n, _QUERIES):
            rows = np.arange(first, min(first + _QUERIES, n))
            places[rows], values[rows] = _nearest(found.embeddings, rows, k)
    queries, chosen = np.repeat(np.arange(n), k), places.reshape(-1)
    return pa.table(
        {
            "id": _ids(found, queries),
            "offset_s": found.offsets_s[queries],
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), n),
            "neighbour_id": _ids(found, chosen),
            "neighbour_offset_s": found.offsets_s[chosen],
            "similarity": values.reshape(-1),
        }
    )


def near_duplicates(table: PathLike | Sequence[PathLike], threshold: float = NEAR_DUPLICATE) -> pa.Table:
    """Groups of rows that are probably one recording: copied, louder, in another format, a little cropped.

    >>> from pannsx.corpus import near_duplicates
    >>>
    >>> found = near_duplicates("clips-table")
    >>> print(found.column_names)
    ['group', 'id', 'offset_s', 'similarity']

    Two rows are of one group if their cosine reaches the threshold, or a chain of such pairs leads from one
    to the other.

    Args:
        table: as for :func:`neighbours`.
        threshold: least cosine of a pair. The default is measured for the bundled checkpoint: see the
            how-to on large corpora. Other checkpoints need one of their own.

    Returns:
        an Arrow table with a row for each member of a group, group by group; ``similarity`` is its greatest
        cosine with another one. The first of a group is the earliest row of the table. Rows without a
        duplicate are left out.

    Raises:
        ImportError, ValueError: as :func:`neighbours`; or a threshold outside (0, 1].
    """
    import pyarrow as pa

    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a cosine above 0 and up to 1 is needed")
    least = np.float32(threshold - _ROUNDING)
    with _embeddings_of(table) as found:
        n = len(found.ids)
        roots = np.arange(n)  # the earliest row of each row's group
        greatest = np.zeros(n, np.float32)
        for first in range(0, n, _QUERIES):
            for queries, rows, similarity in _blocks(found.embeddings, first, from_row=first):
                one, other = np.nonzero((similarity >= least) & (queries[:, None] < rows))
                if not len(one):
                    continue
                values = similarity[one, other]
                for side in (queries[one], rows[other]):
                    np.maximum.at(greatest, side, values)
                roots = _joined(roots, queries[one], rows[other])
    members = np.flatnonzero(greatest > 0)
    order = members[np.lexsort((members, roots[members]))]
    _, groups = np.unique(roots[order], return_inverse=True)
    return pa.table(
        {
            "group": groups.astype(np.int64),
            "id": pa.array([found.ids[i] for i in order.tolist()], pa.string()),
            "offset_s": found.offsets_s[order],
            "similarity": greatest[order],
        }
    )


class _Embeddings(NamedTuple):
    """``(N, D)`` embeddings of length 1, and the rows that they are of."""

    ids: list[str]
    offsets_s: npt.NDArray[np.float64]
    embeddings: FloatArray


@contextmanager
def _embeddings_of(table: PathLike | Sequence[PathLike]) -> Iterator[_Embeddings]:
    """The embeddings of a table, in a temporary file that the system keeps in memory as far as it fits."""
    from pannsx.corpus.local import check_pyarrow

    check_pyarrow()
    import pyarrow as pa
    import pyarrow.dataset as ds

    paths = os.fspath(table) if isinstance(table, (str, os.PathLike)) else [os.fspath(each) for each in table]
    try:
        source = ds.dataset(paths, format="parquet")
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{table} is no table of Parquet files: {error}") from error
    names = source.schema.names
    if missing := [name for name in ("id", "embedding") if name not in names]:
        raise ValueError(f"{table} has no column {' and '.join(missing)}; its columns are {', '.join(names)}")
    columns = [name for name in ("id", "offset_s", "embedding") if name in names]
    ids: list[str] = []
    offsets_s: list[Any] = []
    width = 0
    with tempfile.TemporaryFile() as file:
        for batch in source.to_batches(columns=columns, batch_size=_READ_ROWS):
            batch = batch.filter(batch["embedding"].is_valid())
            if not len(batch):
                continue
            values = _values(batch["embedding"], table, width)
            width = values.shape[1]
            norms = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
            if not (is_finite := np.isfinite(norms)).all():
                batch, values, norms = batch.filter(pa.array(is_finite)), values[is_finite], norms[is_finite]
            unit = values / np.maximum(norms, np.finfo(np.float64).tiny)[:, None]
            file.write(unit.astype(np.float32).tobytes())
            ids += map(str, batch["id"].to_pylist())
            has_offsets = "offset_s" in columns
            offsets_s.append(np.asarray(batch["offset_s"]) if has_offsets else np.zeros(len(batch)))
        if len(ids) < 2:
            raise ValueError(
                f"the number of rows of {table} with an embedding is {len(ids)}; at least two are needed"
            )
        file.flush()
        mapped = np.memmap(file, np.float32, "r", shape=(len(ids), width))
        yield _Embeddings(ids, np.concatenate(offsets_s).astype(np.float64), mapped)
        del mapped


def _values(embeddings: Any, table: Any, width: int) -> FloatArray:
    """``(N, D)`` numbers of a column of lists.

    Raises:
        ValueError: they are not lists of numbers, of one length; ``width`` of them, unless that is 0.
    """
    import pyarrow.compute as pc
    import pyarrow.types as types

    kind = embeddings.type
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not is_list or not (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
        raise ValueError(f"the column embedding of {table} is of {kind}; lists of numbers are needed")
    lengths = {*pc.list_value_length(embeddings).unique().to_pylist(), *([width] if width else [])}
    if len(lengths) > 1:
        raise ValueError(
            f"{table} has embeddings of {' and of '.join(map(str, sorted(lengths)))} numbers; of one network "
            "they are equally long"
        )
    numbers = embeddings.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(numbers, np.float32).reshape(len(embeddings), -1)


def _ids(found: _Embeddings, rows: Numbers) -> pa.Array:
    """The ids of rows; each is held once, as the text of all would be of gigabytes."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(rows.astype(np.int32)), pa.array(found.ids, pa.string()))


def _blocks(
    embeddings: FloatArray, first: int, *, from_row: int = 0
) -> Iterator[tuple[Numbers, Numbers, FloatArray]]:
    """Numbers of queries and of rows, and their similarities ``(queries, rows)``, block by block."""
    n = len(embeddings)
    queries = np.arange(first, min(first + _QUERIES, n))
    chosen = np.asarray(embeddings[queries[0] : queries[-1] + 1])
    for start in range(from_row, n, _ROWS):
        rows = np.arange(start, min(start + _ROWS, n))
        similarity = chosen @ embeddings[rows[0] : rows[-1] + 1].T
        yield queries, rows, np.clip(similarity, -1, 1, out=similarity)


def _nearest(embeddings: FloatArray, queries: Numbers, k: int) -> tuple[Numbers, FloatArray]:
    """``(n, k)`` numbers and similarities of the rows nearest to some rows, nearest first."""
    best = np.full((len(queries), 0), -np.inf, np.float32)
    places = np.zeros((len(queries), 0), np.int64)
    for _, rows, similarity in _blocks(embeddings, int(queries[0])):
        similarity[queries[:, None] == rows] = -np.inf  # a row is not its own neighbour
        values = np.concatenate([best, similarity], axis=1)
        numbers = np.concatenate([places, np.broadcast_to(rows, similarity.shape)], axis=1)
        if values.shape[1] > k:
            kept = np.argpartition(-values, k - 1, axis=1)[:, :k] if k else np.zeros((len(queries), 0), int)
            kept.sort(axis=1)  # so that of equal values the earlier row comes first
            values, numbers = (np.take_along_axis(each, kept, axis=1) for each in (values, numbers))
        best, places = values, numbers
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(best, order, axis=1)


def _joined(roots: Numbers, one: Numbers, other: Numbers) -> Numbers:
    """The earliest row of each row's group, after pairs have joined groups."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(roots)
    pairs = coo_array((np.ones(len(one), bool), (roots[one], roots[other])), shape=(n, n))
    n_groups, group = connected_components(pairs, directed=False)
    earliest = np.full(n_groups, n)
    np.minimum.at(earliest, group, np.arange(n))
    joined: Numbers = earliest[group[roots]]
    return joined

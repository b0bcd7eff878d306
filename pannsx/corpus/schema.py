"""The table of a corpus: its columns, and batches of the stage as Arrow tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pannsx.errors import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

Output = Literal["tags", "embedding", "events", "logits", "framewise"]
OUTPUTS: tuple[Output, ...] = get_args(Output)

EmbeddingType = Literal["float32", "float16"]

OK, FAILED = "ok", "error"
"""Values of the column ``status``."""

BASE_COLUMNS = ("id", "path", "offset_s", "duration_s", "status", "error")
ABOUT = "pannsx"
"""Key of the metadata of a schema: a JSON object with the settings of the stage."""


def check_outputs(outputs: Sequence[str]) -> tuple[Output, ...]:
    """The outputs in the order of the columns.

    Raises:
        ValueError: none, or an unknown one.
    """
    if isinstance(outputs, str):
        outputs = [outputs]
    for each in outputs:
        if each not in OUTPUTS:
            raise ValueError(
                f"there is no output {each!r}; use {', '.join(OUTPUTS)}{did_you_mean(each, OUTPUTS)}"
            )
    if not outputs:
        raise ValueError(f"outputs is empty; use at least one of {', '.join(OUTPUTS)}")
    return tuple(each for each in OUTPUTS if each in outputs)


def output_schema(
    outputs: Sequence[Output],
    *,
    embedding_size: int,
    n_classes: int,
    embedding_dtype: EmbeddingType = "float32",
    about: Mapping[str, Any] | None = None,
) -> pa.Schema:
    """The Arrow schema of the table; only ``id``, ``offset_s`` and ``status`` are never null.

    Raises:
        ImportError: pyarrow is not installed.
    """
    import pyarrow as pa

    tag = [pa.field("label", pa.string()), pa.field("mid", pa.string())]
    probability = pa.field("probability", pa.float32())
    times = [pa.field("onset_s", pa.float64()), pa.field("offset_s", pa.float64())]
    value = pa.float16() if embedding_dtype == "float16" else pa.float32()
    types = {
        "tags": pa.list_(pa.struct([*tag, probability])),
        "embedding": pa.list_(value, embedding_size),
        "events": pa.list_(pa.struct([*tag, *times, probability])),
        "logits": pa.list_(pa.float32(), n_classes),
        "framewise": pa.list_(pa.list_(pa.float32(), n_classes)),
    }
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("path", pa.string()),
        pa.field("offset_s", pa.float64(), nullable=False),
        pa.field("duration_s", pa.float64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        *(pa.field(name, types[name]) for name in outputs),
    ]
    return pa.schema(fields, metadata=None if about is None else {ABOUT: json.dumps(about)})


def to_table(batch: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A batch of the stage as an Arrow table: outputs are null in rows that failed."""
    import pyarrow as pa

    failed = np.asarray(batch["status"]) != OK
    arrays = [_array(batch[field.name], field, failed) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Any, field: pa.Field, failed: Any) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(field.type):
        return _fixed(values, field.type, failed)
    if pa.types.is_list(field.type) and pa.types.is_fixed_size_list(field.type.value_type):
        whole = [value for value, is_failed in zip(values, failed, strict=True) if not is_failed]
        lengths = np.array([0 if f else len(v) for v, f in zip(values, failed, strict=True)], np.int32)
        n_columns = field.type.value_type.list_size
        frames = np.concatenate(whole) if whole else np.zeros((0, n_columns), np.float32)
        inner = _fixed(frames, field.type.value_type, np.zeros(len(frames), bool))
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(starts, inner, type=field.type, mask=pa.array(failed))
    if pa.types.is_floating(field.type):
        numbers = np.asarray(values, np.float64)
        return pa.array(numbers, field.type, mask=np.isnan(numbers))
    return pa.array(list(values), field.type)


def _fixed(values: Any, kind: Any, failed: Any) -> pa.Array:
    import pyarrow as pa

    flat = np.ascontiguousarray(values, kind.value_type.to_pandas_dtype()).reshape(-1)
    mask = pa.array(failed) if failed.any() else None
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind, mask=mask)

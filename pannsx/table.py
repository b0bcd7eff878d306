"""Rows of results as a pandas DataFrame: the same columns for tags and events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pandas import DataFrame


class Row(NamedTuple):
    """A label in a part of a recording: a tag of the whole, or an event.

    Attributes:
        file: name of the recording; None if it has none, such as an array.
        onset_s: begin in seconds.
        offset_s: end in seconds.
        label: the class.
        mid: machine id of the class, such as AudioSet's ``/m/09x0r``; None if it has none.
        probability: its probability.
    """

    file: str | None
    onset_s: float
    offset_s: float
    label: str
    mid: str | None
    probability: float


COLUMNS = Row._fields
"""Names of the columns, in order."""


def data_frame(rows: Iterable[Row]) -> DataFrame:
    """A DataFrame with the columns of `Row`; its types are the same with no rows.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f'pandas is needed: pip install "pannsx[pandas]" ({error})') from error
    # In Python's storage, as Arrow's cannot hold the name of a file that is not UTF-8.
    text, number = pd.StringDtype("python"), "float64"
    types = (text, number, number, text, text, number)
    values = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    return pd.DataFrame(
        {
            name: pd.Series(list(column), dtype=dtype)
            for name, column, dtype in zip(COLUMNS, values, types, strict=True)
        }
    )

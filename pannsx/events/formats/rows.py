"""The rows of a table with a header, with the line of each for messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence


def table_rows(
    text: str, source: str, needed: Sequence[str], delimiter: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """File and line of each row, and its cells by column, stripped of white space.

    Raises:
        ValueError: a column of ``needed`` is missing; while reading, a row has too many cells, or an empty
            one in the first of these columns.
    """
    file = io.StringIO(text)
    if delimiter == ",":
        reader = csv.DictReader(file)
    else:  # no quoting: a quotation mark is an ordinary character
        reader = csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f"{source}: the header is {list(reader.fieldnames or ())}; {', '.join(missing)} missing"
        )

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        for row in reader:
            where = f"{source}, line {reader.line_num}"
            if None in row:
                raise ValueError(f"{where}: more cells than the header has columns")
            if row[needed[0]] is None or not row[needed[0]].strip():
                raise ValueError(f"{where}: the column {needed[0]!r} is empty")
            yield where, {name: (cell or "").strip() for name, cell in row.items()}

    return rows()

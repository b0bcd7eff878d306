"""Many files: finding them, running them in batches, and saving results as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.corpus import ray as ray
    from pannsx.corpus.local import Summary, process
    from pannsx.corpus.manifest import ManifestError, rows_from
    from pannsx.corpus.parts import RunError
    from pannsx.corpus.rows import Row
    from pannsx.corpus.run import Progress
    from pannsx.corpus.schema import OUTPUTS, output_schema, to_table
    from pannsx.corpus.similarity import near_duplicates, neighbours
    from pannsx.corpus.stage import Stage

__all__ = [
    "OUTPUTS",
    "ManifestError",
    "Progress",
    "Row",
    "RunError",
    "Stage",
    "Summary",
    "near_duplicates",
    "neighbours",
    "output_schema",
    "process",
    "rows_from",
    "to_table",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "OUTPUTS": "pannsx.corpus.schema",
            "ManifestError": "pannsx.corpus.manifest",
            "Progress": "pannsx.corpus.run",
            "Row": "pannsx.corpus.rows",
            "RunError": "pannsx.corpus.parts",
            "Summary": "pannsx.corpus.local",
            "process": "pannsx.corpus.local",
            "rows_from": "pannsx.corpus.manifest",
            "Stage": "pannsx.corpus.stage",
            "near_duplicates": "pannsx.corpus.similarity",
            "neighbours": "pannsx.corpus.similarity",
            "output_schema": "pannsx.corpus.schema",
            "to_table": "pannsx.corpus.schema",
        },
        ["ray"],
    )

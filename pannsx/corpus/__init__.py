"""Many files: finding them, running them in batches, and saving results as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.corpus.schema import OUTPUTS, output_schema, to_table
    from pannsx.corpus.stage import Stage

__all__ = ["OUTPUTS", "Stage", "output_schema", "to_table"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "OUTPUTS": "pannsx.corpus.schema",
            "Stage": "pannsx.corpus.stage",
            "output_schema": "pannsx.corpus.schema",
            "to_table": "pannsx.corpus.schema",
        },
    )

"""Export: a checkpoint as an ONNX or torch.export file that runs without this package, with its contract.

The ONNX graph is written operation by operation from the table of architectures, not by torch's exporter:
the operations and their version are the package's choice, the log-mel becomes products of small matrices, and
the result does not change with the version of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.export.contract import Contract
    from pannsx.export.writing import Exported, export

__all__ = ["Contract", "Exported", "export"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "Contract": "pannsx.export.contract",
            "Exported": "pannsx.export.writing",
            "export": "pannsx.export.writing",
        },
    )

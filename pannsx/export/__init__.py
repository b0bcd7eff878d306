"""Export: a checkpoint as an ONNX or torch.export file that runs without this package, with its contract.

Also as a checkpoint of this package with weights in 8 bits (``int8_file``).

The ONNX graph is written operation by operation from the table of architectures, not by torch's exporter:
the operations and their version are the package's choice, the log-mel becomes products of small matrices, and
the result does not change with the version of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.export.contract import Contract
    from pannsx.export.int8_file import Agreement, agreement, write_int8
    from pannsx.export.writing import Exported, export

__all__ = ["Agreement", "Contract", "Exported", "agreement", "export", "write_int8"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "Agreement": "pannsx.export.int8_file",
            "Contract": "pannsx.export.contract",
            "Exported": "pannsx.export.writing",
            "agreement": "pannsx.export.int8_file",
            "export": "pannsx.export.writing",
            "write_int8": "pannsx.export.int8_file",
        },
    )

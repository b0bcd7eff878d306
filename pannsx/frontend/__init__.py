"""The log-mel spectrogram: its definition, a compiled kernel for the CPU, a torch module for the rest.

Names are imported on first use: the settings need neither torch nor Numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.frontend import definition as definition
    from pannsx.frontend import numba_logmel as numba_logmel
    from pannsx.frontend import settings as settings
    from pannsx.frontend import torch_logmel as torch_logmel
    from pannsx.frontend.definition import mel_filters, reference_log_mel
    from pannsx.frontend.numba_logmel import LogMelKernel
    from pannsx.frontend.settings import FrontEnd
    from pannsx.frontend.torch_logmel import LogMel

__all__ = ["FrontEnd", "LogMel", "LogMelKernel", "mel_filters", "reference_log_mel"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "FrontEnd": "pannsx.frontend.settings",
            "LogMel": "pannsx.frontend.torch_logmel",
            "LogMelKernel": "pannsx.frontend.numba_logmel",
            "mel_filters": "pannsx.frontend.definition",
            "reference_log_mel": "pannsx.frontend.definition",
        },
        ["definition", "numba_logmel", "settings", "torch_logmel"],
    )

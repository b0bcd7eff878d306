"""Checkpoints: their records, their files, and the models made of them.

Names are imported on first use (PEP 562): records and the manifest do not need torch, weights do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.lazy import attach

if TYPE_CHECKING:
    from pannsx.weights import manifest as manifest
    from pannsx.weights import record as record
    from pannsx.weights import record_json as record_json
    from pannsx.weights.by_name import create_model, list_models
    from pannsx.weights.fetch import FetchOutcome, fetch_all, resolve
    from pannsx.weights.loading import LoadedCheckpoint, load
    from pannsx.weights.local import VerifyReport, verify
    from pannsx.weights.operating_points import operating_points_path, points_of
    from pannsx.weights.saving import save, save_checkpoint
    from pannsx.weights.state_dict import read_state_dict

__all__ = [
    "FetchOutcome",
    "LoadedCheckpoint",
    "VerifyReport",
    "create_model",
    "fetch_all",
    "list_models",
    "load",
    "operating_points_path",
    "points_of",
    "read_state_dict",
    "resolve",
    "save",
    "save_checkpoint",
    "verify",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "FetchOutcome": "pannsx.weights.fetch",
            "LoadedCheckpoint": "pannsx.weights.loading",
            "VerifyReport": "pannsx.weights.local",
            "create_model": "pannsx.weights.by_name",
            "fetch_all": "pannsx.weights.fetch",
            "list_models": "pannsx.weights.by_name",
            "load": "pannsx.weights.loading",
            "operating_points_path": "pannsx.weights.operating_points",
            "points_of": "pannsx.weights.operating_points",
            "read_state_dict": "pannsx.weights.state_dict",
            "resolve": "pannsx.weights.fetch",
            "save": "pannsx.weights.saving",
            "save_checkpoint": "pannsx.weights.saving",
            "verify": "pannsx.weights.local",
        },
        ["manifest", "record", "record_json"],
    )

"""Checkpoints: their records, their files, and the models made of them.

Every name is fetched on first use (PEP 562): records and the manifest need no torch, weights do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pannsx.weights.by_name import create_model, list_models
    from pannsx.weights.fetch import FetchOutcome, fetch_all, resolve
    from pannsx.weights.loading import LoadedCheckpoint, load, save_checkpoint
    from pannsx.weights.local import VerifyReport, verify
    from pannsx.weights.operating_points import operating_points_path, points_of
    from pannsx.weights.state_dict import read_state_dict

_HOMES = {
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
    "save_checkpoint": "pannsx.weights.loading",
    "verify": "pannsx.weights.local",
}

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
    "save_checkpoint",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pannsx.weights' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

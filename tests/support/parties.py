"""The outside parties that doors are for: there, or the reason why a test is skipped."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def party(name: str, extra: str) -> Any:
    """The module ``name`` of a party, which must be there where ``PANNSX_DOORS`` is set.

    Args:
        name: its import name.
        extra: the extra of pyproject.toml that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        reason = f"{name} is not installed ({error}); pip install 'pannsx[{extra}]'"
        if os.environ.get("PANNSX_DOORS"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)

"""pannsx: what is in a sound, by pretrained audio neural networks (PANNs, Kong et al. 2020).

>>> from pannsx import AudioTagger
>>> result = AudioTagger().inference("street.mp3")  # the bundled checkpoint, no network
>>> result.top(3)

Importing the package loads neither torch nor numba: every public name is fetched on first use
(PEP 562), so that a program pays for what it touches.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pannsx.version import __version__

if TYPE_CHECKING:
    from pannsx.errors import AudioError, WeightsError
    from pannsx.features import FeatureExtractor
    from pannsx.results import BatchResult, TaggingResult
    from pannsx.streaming import StreamTagger
    from pannsx.tagger import AudioTagger
    from pannsx.weights import create_model, list_models

_HOMES = {
    "AudioError": "pannsx.errors",
    "AudioTagger": "pannsx.tagger",
    "BatchResult": "pannsx.results",
    "FeatureExtractor": "pannsx.features",
    "StreamTagger": "pannsx.streaming",
    "TaggingResult": "pannsx.results",
    "WeightsError": "pannsx.errors",
    "create_model": "pannsx.weights.by_name",
    "list_models": "pannsx.weights.by_name",
}

__all__ = [
    "AudioError",
    "AudioTagger",
    "BatchResult",
    "FeatureExtractor",
    "StreamTagger",
    "TaggingResult",
    "WeightsError",
    "__version__",
    "create_model",
    "list_models",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pannsx' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

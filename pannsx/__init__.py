"""pannsx: audio tagging with pretrained audio neural networks (PANNs, Kong et al. 2020).

>>> from pannsx import AudioTagger
>>> result = AudioTagger().inference("street.mp3")  # the bundled checkpoint, no network
>>> result.top(3)

Importing the package loads neither torch nor numba: every public name and submodule is imported on
first use (PEP 562). ``import pannsx`` is enough for
``pannsx.audio.load("street.mp3")``.
"""

from __future__ import annotations

from pannsx.lazy import attach
from pannsx.version import __version__

TYPE_CHECKING = False  # type checkers treat it as typing's, whose import would take longer than all the rest
if TYPE_CHECKING:
    from pannsx import audio as audio
    from pannsx import class_tree as class_tree
    from pannsx import corpus as corpus
    from pannsx import errors as errors
    from pannsx import events as events
    from pannsx import export as export
    from pannsx import frontend as frontend
    from pannsx import inference as inference
    from pannsx import labels as labels
    from pannsx import metrics as metrics
    from pannsx import models as models
    from pannsx import results as results
    from pannsx import scoring as scoring
    from pannsx import streaming as streaming
    from pannsx import types as types
    from pannsx import weights as weights
    from pannsx.errors import AudioError, WeightsError
    from pannsx.features import FeatureExtractor
    from pannsx.results import BatchResult, TaggingResult
    from pannsx.scoring import GenerationScorer
    from pannsx.streaming import StreamTagger
    from pannsx.tagger import AudioTagger
    from pannsx.transfer.classifier import AudioClassifier, fit_head
    from pannsx.weights import create_model, list_models, save

__all__ = [
    "AudioClassifier",
    "AudioError",
    "AudioTagger",
    "BatchResult",
    "FeatureExtractor",
    "GenerationScorer",
    "StreamTagger",
    "TaggingResult",
    "WeightsError",
    "__version__",
    "create_model",
    "fit_head",
    "list_models",
    "save",
]

if not TYPE_CHECKING:  # hidden from type checkers, which would otherwise accept every misspelt name
    __getattr__, __dir__ = attach(
        __name__,
        {
            "AudioClassifier": "pannsx.transfer.classifier",
            "AudioError": "pannsx.errors",
            "AudioTagger": "pannsx.tagger",
            "BatchResult": "pannsx.results",
            "FeatureExtractor": "pannsx.features",
            "GenerationScorer": "pannsx.scoring",
            "StreamTagger": "pannsx.streaming",
            "TaggingResult": "pannsx.results",
            "WeightsError": "pannsx.errors",
            "create_model": "pannsx.weights.by_name",
            "fit_head": "pannsx.transfer.classifier",
            "list_models": "pannsx.weights.by_name",
            "save": "pannsx.weights.saving",
        },
        [
            "audio", "class_tree", "corpus", "errors", "events", "export", "frontend", "inference",
            "labels", "metrics", "models", "results", "scoring", "streaming", "types", "weights",
        ],
    )  # fmt: skip

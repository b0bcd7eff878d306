"""Statistics of a set of clips in a file, so that a reference is computed once and its origin is recorded.

An ``.npz`` with ``about`` (JSON: format, model, weights_sha256, preparation, precision, version, n_rows,
source, problems), ``names (N,)``, ``mean (D,)``, ``centred (N, D)`` where ``N < D`` and else
``covariance (D, D)``, and ``logits (N, K)`` float32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pannsx.atomic import replacing
from pannsx.audio.preparation import Preparation
from pannsx.metrics.generation import EmbeddingStatistics
from pannsx.scoring.clip_set import ClipSet, Origin, Problem

FORMAT = "pannsx statistics 1"


def write_statistics(path: Path, clips: ClipSet) -> None:
    """Write a set's statistics atomically.

    Raises:
        OSError: the file cannot be written.
        ValueError: a set from a tool's cache, with unknown weights and preparation.
    """
    origin, statistics = clips.origin, clips.statistics
    if origin.preparation is None or origin.weights_sha256 is None:
        raise ValueError(
            f"{clips.source} is a cache of {origin.cache}, which tells neither weights nor preparation; make "
            "statistics of the audio files"
        )
    about = {
        "format": FORMAT,
        "model": origin.model,
        "weights_sha256": origin.weights_sha256,
        "preparation": origin.preparation.as_json(),
        "precision": origin.precision,
        "version": origin.version,
        "n_rows": statistics.n_rows,
        "source": clips.source,
        "problems": [problem._asdict() for problem in clips.problems],
    }
    arrays: dict[str, Any] = {"names": np.array(clips.names, np.str_), "mean": statistics.mean}
    if statistics.centred is not None:
        arrays["centred"] = statistics.centred
    else:
        arrays["covariance"] = statistics.covariance
    if clips.logits is not None:
        arrays["logits"] = clips.logits
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


def read_statistics(path: Path) -> ClipSet:
    """Read a set written by :func:`write_statistics`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}, not {FORMAT!r}")
            statistics = EmbeddingStatistics(
                stored["mean"],
                int(about["n_rows"]),
                centred=stored.get("centred"),
                covariance=stored.get("covariance"),
            )
            names = tuple(str(name) for name in stored["names"])
            logits = stored.get("logits")
        if len(names) != statistics.n_rows or (logits is not None and len(logits) != len(names)):
            raise ValueError(f"{len(names)} names of {statistics.n_rows} clips")
        origin = Origin(
            str(about["model"]),
            str(about["weights_sha256"]),
            Preparation.of_json(about["preparation"]),
            str(about["precision"]),
            about["version"],
        )
        problems = tuple(Problem(**problem) for problem in about["problems"])
    except OSError:
        raise
    except Exception as error:  # damaged bytes raise what zip, zlib and NumPy's header parser raise
        raise ValueError(
            f"{path} holds no statistics of pannsx ({error}); make them with `pannsx statistics`"
        ) from error
    return ClipSet(str(path), origin, statistics, names, statistics.embeddings, logits, problems)

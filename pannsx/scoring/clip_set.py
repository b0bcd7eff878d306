"""A set of clips for the scores of generated audio: embeddings, logits, names, and their origin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy.typing as npt

from pannsx.audio.preparation import Preparation
from pannsx.metrics.generation import EmbeddingStatistics
from pannsx.types import FloatArray


@dataclass(frozen=True)
class Origin:
    """Network and preparation behind a set's embeddings: sets of different origins cannot be compared.

    Attributes:
        model: name of the checkpoint.
        weights_sha256: digest of the network's weights, see :func:`pannsx.scoring.scorer.weights_digest`;
            None for a tool's cache, as it has no record of them.
        preparation: steps from file to waveform; None for a tool's cache, as it has no record of them.
        precision: precision of the network's computation.
        version: version of pannsx; not compared.
        cache: the tool that wrote the cache; None for pannsx.
    """

    model: str
    weights_sha256: str | None
    preparation: Preparation | None
    precision: str = "float32"
    version: str | None = None
    cache: str | None = None

    def differences(self, other: Origin) -> list[str]:
        """The differences in words; empty if the two can be compared."""
        if self.cache != other.cache:
            known, unknown = (other, self) if self.cache else (self, other)
            return [
                f"one is a cache of {unknown.cache}, which tells neither weights nor preparation, the other "
                + (f"a cache of {known.cache}" if known.cache else "is of pannsx")
            ]
        found = []
        if self.model != other.model:
            found.append(f"model {self.model} and {other.model}")
        elif self.weights_sha256 != other.weights_sha256:
            digests = (str(each.weights_sha256)[:12] for each in (self, other))
            found.append(f"weights of {self.model}, sha256 " + " and ".join(digests))
        if self.precision != other.precision:
            found.append(f"precision {self.precision} and {other.precision}")
        if self.preparation is not None and other.preparation is not None:
            found += self.preparation.differences(other.preparation)
        return found


class Problem(NamedTuple):
    """An unreadable or silent clip, or an unreadable folder.

    Attributes:
        file: its name.
        kind: ``"unreadable"``: it has no embedding and is in no score; ``"silent"``: all its samples are
            below a step of 16 bits.
        why: the reason in words.
        kept: whether it is in the scores.
    """

    file: str
    kind: Literal["unreadable", "silent"]
    why: str
    kept: bool


@dataclass(frozen=True, eq=False)
class ClipSet:
    """``N`` clips with the network's outputs.

    Attributes:
        source: path or name of the set, for reports.
        origin: network and preparation, see :class:`Origin`.
        statistics: statistics of the embeddings.
        names: names of the ``N`` clips without folder and extension, by which clips are paired.
        embeddings: ``(N, D)`` float32; None if only their covariance was stored.
        logits: ``(N, K)`` float32; None if they were not stored.
        problems: unreadable and silent clips.
        skipped: number of files or folders passed over when the set was searched, by reason.
    """

    source: str
    origin: Origin
    statistics: EmbeddingStatistics
    names: tuple[str, ...]
    embeddings: npt.NDArray[Any] | None
    logits: FloatArray | None
    problems: tuple[Problem, ...] = ()
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def n_clips(self) -> int:
        """Number of clips in the scores."""
        return self.statistics.n_rows

    @property
    def repeated_names(self) -> list[str]:
        """Names shared by several clips."""
        return sorted(name for name, n in Counter(self.names).items() if n > 1)


def make_clip_set(
    source: str,
    origin: Origin,
    names: list[str],
    embeddings: npt.NDArray[Any],
    logits: FloatArray | None,
    problems: list[Problem] | None = None,
    skipped: Counter[str] | None = None,
) -> ClipSet:
    """Embeddings ``(N, D)`` and logits ``(N, K)`` of a network or a cache -> a set.

    Raises:
        ValueError: fewer than 2 rows, or non-finite values.
    """
    try:
        statistics = EmbeddingStatistics.of(embeddings)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return ClipSet(
        source,
        origin,
        statistics,
        tuple(names),
        embeddings,
        logits,
        tuple(problems or ()),
        skipped or Counter(),
    )

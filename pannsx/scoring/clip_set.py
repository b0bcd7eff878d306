"""A set of clips as the scores of generated audio see it: embeddings, logits, names, and their origin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy.typing as npt

from pannsx.audio.preparation import Preparation
from pannsx.metrics.generation import EmbeddingStatistics
from pannsx.types import FloatArray


@dataclass(frozen=True)
class Origin:
    """What made the embeddings: sets of different origins have no distance.

    Attributes:
        model: name of the checkpoint.
        weights_sha256: digest of the network's weights, see :func:`pannsx.scoring.scorer.weights_digest`;
            None where a tool's cache does not say.
        preparation: how a file became a waveform; None where a tool's cache does not say.
        precision: that the network computed in.
        version: of pannsx; not compared.
        cache: the tool whose cache this is of; None for pannsx.
    """

    model: str
    weights_sha256: str | None
    preparation: Preparation | None
    precision: str = "float32"
    version: str | None = None
    cache: str | None = None

    def differences(self, other: Origin) -> list[str]:
        """What differs, in words; empty where the two can be compared."""
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
    """A clip that is not like the others.

    Attributes:
        file: its name.
        kind: ``"unreadable"``: it has no embedding and is in no score; ``"silent"``: no sample of it reaches
            a step of 16 bits.
        why: in words.
        kept: whether it is in the scores.
    """

    file: str
    kind: Literal["unreadable", "silent"]
    why: str
    kept: bool


@dataclass(frozen=True, eq=False)
class ClipSet:
    """Clips with what the network says of them.

    Attributes:
        source: what the set was named by, for reports.
        origin: see there.
        statistics: of the embeddings.
        names: of the ``N`` clips, without folder and ending: by these clips are paired.
        embeddings: ``(N, D)`` float32; None where only their covariance was kept.
        logits: ``(N, K)`` float32; None where they were not kept.
        problems: clips that were left out, or are silent.
    """

    source: str
    origin: Origin
    statistics: EmbeddingStatistics
    names: tuple[str, ...]
    embeddings: npt.NDArray[Any] | None
    logits: FloatArray | None
    problems: tuple[Problem, ...] = ()

    @property
    def n_clips(self) -> int:
        """Clips in the scores."""
        return self.statistics.n_rows

    @property
    def repeated_names(self) -> list[str]:
        """Names that more than one clip has."""
        return sorted(name for name, n in Counter(self.names).items() if n > 1)


def make_clip_set(
    source: str,
    origin: Origin,
    names: list[str],
    embeddings: npt.NDArray[Any],
    logits: FloatArray | None,
    problems: list[Problem] | None = None,
) -> ClipSet:
    """A set of rows as they came from a network or a cache.

    Raises:
        ValueError: fewer than 2 rows, or values that are not finite.
    """
    try:
        statistics = EmbeddingStatistics.of(embeddings)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return ClipSet(source, origin, statistics, tuple(names), embeddings, logits, tuple(problems or ()))

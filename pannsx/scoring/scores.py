"""All scores of a generated set against a reference, each with its convention in words and its interval."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from pannsx.metrics.bootstrap import (
    Interval,
    bootstrap_interval,
    kernel_inception_interval,
    kernel_interval,
)
from pannsx.metrics.generation import (
    KLConvention,
    KLKind,
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_audio_distance,
    kernel_inception_distance,
    kl_divergences,
)
from pannsx.scoring.clip_set import ClipSet, Origin
from pannsx.version import __version__

FORMAT = "pannsx scores 1"

_NO_ROWS = "a set holds the covariance of its embeddings alone; give its audio"
_KID_SUBSET = 1000  # as published; smaller sets are compared as a whole
_SPLITS = 10
_FEWEST_FOR_INFINITY = 30  # below, three different sizes have too few clips each for a regression line
_INFINITY_RESAMPLES = 50  # each resample needs its own extrapolation
_INFINITY_STEPS = 5


@dataclass(frozen=True)
class Score:
    """One score.

    Attributes:
        name: name such as ``"FD"``.
        value: the score; None if it could not be computed.
        interval: bootstrap interval over clips; None if not requested or not available.
        convention: description of the computation.
        why_not: the reason for a missing value.
    """

    name: str
    value: float | None
    convention: str
    interval: Interval | None = None
    why_not: str | None = None


@dataclass(frozen=True, eq=False)
class GenerationScores:
    """The scores of a generated set against a reference.

    Attributes:
        reference, generated: the sets.
        scores: see :class:`Score`.
        warnings: limits of comparisons with other numbers.
    """

    reference: ClipSet
    generated: ClipSet
    scores: tuple[Score, ...]
    warnings: tuple[str, ...]

    def __getitem__(self, name: str) -> float:
        """The value of a score by its name.

        Raises:
            KeyError: there is no score with this name.
            ValueError: it could not be computed; the message gives the reason.
        """
        for score in self.scores:
            if score.name == name:
                if score.value is None:
                    raise ValueError(f"{name}: {score.why_not}")
                return score.value
        raise KeyError(f"no score {name!r}; there are {', '.join(score.name for score in self.scores)}")

    def as_json(self) -> str:
        """Everything, as one JSON object."""
        found = {
            "format": FORMAT,
            "version": __version__,
            "reference": _described(self.reference),
            "generated": _described(self.generated),
            "scores": [
                {
                    "name": score.name,
                    "value": score.value,
                    "convention": score.convention,
                    "interval": None if score.interval is None else score.interval._asdict(),
                    "why_not": score.why_not,
                }
                for score in self.scores
            ],
            "problems": [
                {"set": which, **problem._asdict()}
                for which, clips in (("reference", self.reference), ("generated", self.generated))
                for problem in clips.problems
            ],
            "warnings": list(self.warnings),
        }
        return json.dumps(found, indent=2, ensure_ascii=False)


def check_origins(one: Origin, other: Origin, name: str, other_name: str) -> None:
    """Check that two sets can be compared.

    Raises:
        ValueError: they cannot; the message names the difference.
    """
    if differences := one.differences(other):
        raise ValueError(
            f"{name} and {other_name} cannot be compared, they differ in: {'; '.join(differences)}. Make "
            "both in the same way"
        )


def score_sets(
    reference: ClipSet,
    generated: ClipSet,
    *,
    convention: KLConvention = "exact",
    n_resamples: int = 200,
    level: float = 0.95,
    infinity: bool = False,
    seed: int = 0,
) -> GenerationScores:
    """All scores available for two sets.

    Args:
        reference: set of real audio.
        generated: set of the system's audio.
        convention: convention of KL, see :func:`pannsx.metrics.generation.kl_divergence`.
        n_resamples: resamples of the intervals; 0: no intervals.
        level: level of the intervals.
        infinity: also extrapolate the Frechet distance: minutes for thousands of clips.
        seed: seed of the intervals and the extrapolation.

    Raises:
        ValueError: the sets are of different networks, weights or preparations, or of different sizes;
            an invalid level or number of resamples.
    """
    if n_resamples < 0 or n_resamples == 1 or not 0 < level < 1:
        raise ValueError(
            f"n_resamples is {n_resamples} and level {level}; 0 resamples (no intervals) or at least 2, and "
            "a level between 0 and 1 are needed"
        )
    check_origins(reference.origin, generated.origin, reference.source, generated.source)
    x, y = reference.embeddings, generated.embeddings
    resampling = _Resampling(n_resamples, level, seed)
    scores = [_frechet(reference, generated, resampling)]
    if infinity:
        scores.append(_infinity(reference, generated, resampling))
    scores += [_kernel_audio(x, y, resampling), _kernel_inception(x, y, resampling)]
    scores += [_divergence(reference, generated, kind, convention, resampling) for kind in get_args(KLKind)]
    scores.append(_inception(generated, resampling))
    return GenerationScores(
        reference, generated, tuple(scores), tuple(_warnings(reference, generated, scores))
    )


class _Resampling(NamedTuple):
    """Settings of the intervals; there are none if ``n_resamples`` is 0."""

    n_resamples: int
    level: float
    seed: int

    def interval(self, make: Callable[..., Interval], *arguments: Any, **more: Any) -> Interval | None:
        if not self.n_resamples:
            return None
        return make(*arguments, **{**self._asdict(), **more})


def _frechet(reference: ClipSet, generated: ClipSet, resampling: _Resampling) -> Score:
    words = "Frechet distance of the embeddings, float64, no matrix square root"
    x, y = reference.embeddings, generated.embeddings
    if x is None or y is None:
        return Score("FD", frechet_distance(_rows(reference), _rows(generated)), words)
    return Score(
        "FD", frechet_distance(x, y), words, resampling.interval(bootstrap_interval, frechet_distance, x, y)
    )


def _infinity(reference: ClipSet, generated: ClipSet, resampling: _Resampling) -> Score:
    words = "FD extrapolated to infinitely many generated clips"
    y = generated.embeddings
    if y is None:
        return Score("FD-infinity", None, words, why_not=_NO_ROWS)
    if len(y) < _FEWEST_FOR_INFINITY:
        why = f"{len(y)} generated clips; at least {_FEWEST_FOR_INFINITY} are needed for a line"
        return Score("FD-infinity", None, words, why_not=why)
    found = frechet_infinity(_rows(reference), y, seed=resampling.seed)
    words += (
        f" (15 subsets of {found.n_rows[0]} to {found.n_rows[-1]} clips, R^2 {found.r_squared:.3f}, "
        f"seed {found.seed})"
    )
    x = reference.embeddings
    if x is None:
        return Score("FD-infinity", found.score, words)

    def again(x: Any, y: Any) -> float:
        return frechet_infinity(x, y, n_steps=_INFINITY_STEPS, seed=resampling.seed).score

    interval = resampling.interval(
        bootstrap_interval, again, x, y, n_resamples=min(resampling.n_resamples, _INFINITY_RESAMPLES)
    )
    if interval is not None:  # of fewer subsets, around another value: moved to this score
        shift = found.score - again(x, y)
        interval = interval._replace(low=interval.low + shift, high=interval.high + shift)
    return Score("FD-infinity", found.score, words, interval)


def _kernel_audio(x: Any, y: Any, resampling: _Resampling) -> Score:
    words = "100 times the unbiased squared MMD, Gaussian kernel, bandwidth the reference's median distance"
    if x is None or y is None:
        return Score("KAD", None, words, why_not=_NO_ROWS)
    try:
        value = kernel_audio_distance(x, y)
    except ValueError as error:  # most rows of the reference are equal
        return Score("KAD", None, words, why_not=str(error))
    return Score("KAD", value, words, resampling.interval(kernel_interval, x, y))


def _kernel_inception(x: Any, y: Any, resampling: _Resampling) -> Score:
    words = "unbiased squared MMD, cubic kernel, mean of 100 subsets"
    if x is None or y is None:
        return Score("KID", None, words, why_not=_NO_ROWS)
    size = min(_KID_SUBSET, len(x), len(y))
    words += f" of {size} clips, seed 2020"
    value = kernel_inception_distance(x, y, subset_size=size).mean
    interval = resampling.interval(kernel_inception_interval, x, y, subset_size=size)
    return Score("KID", value, words, interval)


def _divergence(
    reference: ClipSet, generated: ClipSet, kind: KLKind, convention: KLConvention, resampling: _Resampling
) -> Score:
    name = f"KL ({kind})"
    how = "from log-probabilities" if convention == "exact" else "1e-6 added inside of the logarithm"
    words = f"mean KL of reference to generated by clip, {kind}, {convention}: {how}"
    if reference.logits is None or generated.logits is None:
        return Score(name, None, words, why_not="a set holds no logits")
    if reference.repeated_names:
        repeated = ", ".join(repr(each) for each in reference.repeated_names[:3])
        return Score(name, None, words, why_not=f"reference names must differ; repeated: {repeated}")
    # A clip whose partner was left out is left out too; any other clip without a partner is an error.
    x_rows = _rows_without(reference, _lost(generated))
    y_rows = _rows_without(generated, _lost(reference))
    try:
        values = kl_divergences(
            reference.logits[x_rows],
            generated.logits[y_rows],
            kind=kind,
            convention=convention,
            reference_names=[reference.names[i] for i in x_rows],
            generated_names=[generated.names[i] for i in y_rows],
        )
    except ValueError as error:
        return Score(name, None, words, why_not=str(error))
    return Score(name, float(values.mean()), words, resampling.interval(bootstrap_interval, np.mean, values))


def _lost(clips: ClipSet) -> set[str]:
    """Names without a remaining clip."""
    return {Path(problem.file).stem for problem in clips.problems if not problem.kept} - set(clips.names)


def _rows_without(clips: ClipSet, names: set[str]) -> list[int]:
    return [i for i, name in enumerate(clips.names) if name not in names]


def _inception(generated: ClipSet, resampling: _Resampling) -> Score:
    words = f"exp of the mean KL of each clip to the mean of its split, {_SPLITS} splits, seed 2020"
    if generated.logits is None:
        return Score("IS", None, words, why_not="the generated set holds no logits")
    if len(generated.logits) < _SPLITS:
        why = f"{len(generated.logits)} generated clips; at least {_SPLITS} are needed, one a split"
        return Score("IS", None, words, why_not=why)

    def mean_score(logits: Any) -> float:
        return inception_score(logits, splits=_SPLITS).mean

    interval = resampling.interval(bootstrap_interval, mean_score, generated.logits)
    return Score("IS", mean_score(generated.logits), words, interval)


def _warnings(reference: ClipSet, generated: ClipSet, scores: list[Score]) -> list[str]:
    found = [
        "compare these scores only with those of the same network and preparation: the resampler alone can "
        "move FD by tens"
    ]
    size = reference.statistics.embedding_size
    few = [clips for clips in (reference, generated) if clips.n_clips < size]
    if few:
        counts = " and ".join(str(clips.n_clips) for clips in few)
        found.append(
            f"FD of {counts} clips with embeddings of {size} numbers is biased upwards: compare it only "
            "between systems with the same number of clips"
        )
    for which, clips in (("reference", reference), ("generated", generated)):
        silent = [problem for problem in clips.problems if problem.kind == "silent" and problem.kept]
        if silent:
            found.append(
                f"{len(silent)} of {clips.n_clips} {which} clips are silent and are in the scores: silence "
                "can score well, so listen to them"
            )
    for score in scores:
        if score.value is None and score.name.startswith("KL"):
            found.append(f"{score.name} needs a reference of the same name for every clip: {score.why_not}")
    return found


def _rows(clips: ClipSet) -> Any:
    return clips.statistics if clips.embeddings is None else clips.embeddings


def _described(clips: ClipSet) -> dict[str, Any]:
    origin = clips.origin
    return {
        "source": clips.source,
        "n_clips": clips.n_clips,
        "n_left_out": sum(not problem.kept for problem in clips.problems),
        "model": origin.model,
        "weights_sha256": origin.weights_sha256,
        "precision": origin.precision,
        "preparation": None if origin.preparation is None else origin.preparation.as_json(),
        "cache_of": origin.cache,
    }

"""From the probabilities of classes to tags: the most probable, those of a choice, or the most specific."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pannsx.labels import LabelSet
from pannsx.types import FloatArray

LIKELY = 0.5
"""Without a threshold, a class explains the one above it if it has at least this share of its probability:
a sound of the class above is then rather one of this class than not."""


class Tag(NamedTuple):
    """A label and its probability."""

    label: str
    probability: float


def top_tags(
    clipwise: FloatArray,
    labels: LabelSet,
    k: int,
    *,
    threshold: float | None = None,
    classes: Sequence[str] | None = None,
    leaves: bool = False,
) -> list[Tag]:
    """``(K,)`` probabilities -> the ``k`` most probable tags, most probable first.

    Args:
        clipwise: probabilities.
        labels: the ``K`` labels.
        k: greatest number of tags.
        threshold: only tags of at least this probability.
        classes: only these, as in :meth:`LabelSet.select`.
        leaves: leave out the classes above those found: see :func:`leaves_of`.

    Raises:
        ValueError: fewer than one tag, a threshold that is no probability, an unknown class, or ``leaves``
            for labels outside AudioSet's tree.
    """
    if k < 1:
        raise ValueError(f"k is {k}; ask for at least one tag")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a probability from 0 to 1 is needed")
    found = np.arange(len(labels)) if classes is None else np.array(sorted(labels.select(classes)), int)
    if not len(found):
        raise ValueError("classes is empty; give at least one name, or None for all")
    if threshold is not None:
        found = found[clipwise[found] >= threshold]
    if leaves:
        found = np.array(leaves_of(clipwise, labels, found.tolist(), is_decided=threshold is not None), int)
    order = found[np.argsort(-clipwise[found], kind="stable")][:k]
    return [Tag(labels[i], float(clipwise[i])) for i in order]


def leaves_of(clipwise: FloatArray, labels: LabelSet, found: Sequence[int], *, is_decided: bool) -> list[int]:
    """The most specific of the classes ``found``.

    A class is left out if a remaining class is below it in AudioSet's tree. If ``found`` is no decision but
    merely all classes, the class below must also have half of its probability, as a far less probable class
    explains nothing. So for each class left out, a kind of it remains.
    """
    labels.tree  # noqa: B018  raises ValueError for labels that are not in it
    remaining: set[int] = set()
    for i in sorted(found, key=lambda i: len(labels.below[i])):  # what stands below has fewer below itself
        least = 0.0 if is_decided else LIKELY * clipwise[i]
        if not any(each in remaining and clipwise[each] >= least for each in labels.below[i]):
            remaining.add(i)
    return sorted(remaining)

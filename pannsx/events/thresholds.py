"""Thresholds of each class, from any of the accepted forms."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pannsx.events.operating_points import (
    DEFAULT_THRESHOLD,
    OperatingPoints,
    check_threshold,
    read_operating_points,
)
from pannsx.events.selection import asked_for
from pannsx.labels import LabelSet
from pannsx.types import FloatArray

Threshold: TypeAlias = (
    float | Sequence[float] | npt.NDArray[np.floating] | Mapping[str, float] | OperatingPoints | str
    | os.PathLike[str]
)  # fmt: skip


def resolve_thresholds(
    threshold: Threshold, off_threshold: Threshold | None, labels: LabelSet, names: tuple[str, ...]
) -> tuple[FloatArray, FloatArray]:
    """``(C,)`` thresholds at which events of the classes ``names`` begin, and ``(C,)`` below which they end.

    Args:
        threshold: as in :class:`pannsx.events.EventSettings`.
        off_threshold: the same, or None. With operating points, one number holds for all classes whose
            threshold is not below it; the others end at their threshold.
        labels: the ``K`` labels, in the order of a sequence of numbers.
        names: ``C`` classes and super-classes that need thresholds.

    Raises:
        OSError: a file cannot be read.
        ValueError: a value that is not a probability, an unknown class, a sequence whose length is not the
            number of labels, or an off-threshold above the threshold.
    """
    if isinstance(threshold, (str, os.PathLike)):
        threshold = read_operating_points(threshold)
    on = _by_class(threshold, labels, names, "threshold")
    if off_threshold is not None:
        if isinstance(off_threshold, (str, os.PathLike)):
            off_threshold = read_operating_points(off_threshold)
        off = _by_class(off_threshold, labels, names, "off_threshold", on)
        if isinstance(threshold, OperatingPoints) and isinstance(off_threshold, (int, float)):
            off = np.minimum(off, on)  # one number for classes whose thresholds may be below it
    elif isinstance(threshold, OperatingPoints):
        off = _by_class(threshold, labels, names, "threshold", on)
    else:
        off = on
    above = np.flatnonzero(off > on)
    if len(above):
        c = int(above[0])
        raise ValueError(
            f"off_threshold is {off[c]:.4g} for {names[c]!r}, above its threshold {on[c]:.4g}; an event "
            "would end where it begins"
        )
    return on, off


def _by_class(
    given: Threshold, labels: LabelSet, names: tuple[str, ...], what: str, on: FloatArray | None = None
) -> FloatArray:
    """``(C,)`` thresholds of ``names``; with ``on``, the off-thresholds, ``on`` where none is given."""
    named: Mapping[str, float]
    default = DEFAULT_THRESHOLD
    known = tuple(dict.fromkeys((*labels, *names)))
    if isinstance(given, OperatingPoints):
        given.check(known)
        named, default = given.thresholds() if on is None else given.off_thresholds(), given.default
    elif isinstance(given, Mapping):
        named = _by_request(given, labels, tuple(name for name in names if name not in labels.names), what)
    elif isinstance(given, (Sequence, np.ndarray)) and np.ndim(given) == 1:
        if len(given) != len(labels):
            raise ValueError(
                f"{what} has {len(given)} numbers; one for each of {len(labels)} labels is needed"
            )
        each_label = zip(labels, given, strict=True)
        named = {label: check_threshold(_plain(each), f"{what} of {label!r}") for label, each in each_label}
    else:
        return np.full(len(names), check_threshold(_plain(given), what), np.float32)
    defaults = [default] * len(names) if on is None else on.tolist()
    return np.array([named.get(name, other) for name, other in zip(names, defaults, strict=True)], np.float32)


def _by_request(
    given: Mapping[str, float], labels: LabelSet, super_classes: tuple[str, ...], what: str
) -> dict[str, float]:
    """By class, what a mapping from requests says; the request for fewer classes wins."""
    requests = []
    for text, value in given.items():
        try:
            found = asked_for(text, labels, super_classes)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
        requests.append((len(found), text, found, check_threshold(_plain(value), f"{what} of {text!r}")))
    named: dict[str, float] = {}
    by: dict[str, tuple[int, str]] = {}
    for n_classes, text, found, number in sorted(requests, key=lambda request: request[0]):
        for name in found:
            n_first, first = by.setdefault(name, (n_classes, text))
            if n_classes == n_first and named.setdefault(name, number) != number:
                raise ValueError(f"{what} of {name!r} is given twice, by {first!r} and by {text!r}")
    return named


def _plain(value: object) -> object:
    """NumPy numbers as Python numbers; anything else unchanged."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and np.size(value) == 1 else value

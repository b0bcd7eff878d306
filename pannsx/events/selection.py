"""Selection of columns: classes by name, and super-classes composed of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from pannsx.events.super_classes import SuperClasses, noisy_or, resolve_super_classes
from pannsx.labels import LabelSet
from pannsx.types import FloatArray, PathLike


def asked_for(text: str, labels: LabelSet, super_classes: Collection[str]) -> tuple[str, ...]:
    """The super-class or the labels that a text asks for, as in :meth:`LabelSet.select`.

    Exact spelling wins over a match that ignores case, and a super-class over a label.

    Raises:
        ValueError: there is none; close names are suggested.
    """
    if text in super_classes:
        return (text,)
    if isinstance(text, str) and text not in labels.names:
        for name in super_classes:
            if name.casefold() == text.casefold():
                return (name,)
    return tuple(labels[i] for i in labels.matches(text, super_classes))


class Selection:
    """The classes to find among ``K`` labels.

    Attributes:
        labels: the ``K`` labels.
        super_classes: the members of each super-class.
        names: the ``C`` classes and super-classes, in the order of the columns of :meth:`scores`. A
            super-class replaces a label of the same name.
    """

    def __init__(
        self,
        labels: Sequence[str] | LabelSet,
        super_classes: SuperClasses | PathLike | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.labels = labels if isinstance(labels, LabelSet) else LabelSet(tuple(labels))
        self.super_classes = groups = resolve_super_classes(super_classes, self.labels)
        if isinstance(classes, str):
            raise ValueError(f"classes is the text {classes!r}; a list of names is needed: [{classes!r}]")
        if classes is None:
            wanted = tuple(groups or self.labels)
        else:
            found = (name for text in classes for name in asked_for(text, self.labels, groups))
            wanted = tuple(dict.fromkeys(found))
        if not wanted:
            raise ValueError("classes is empty; give at least one name, or None for all")
        self.names = wanted
        position = {label: i for i, label in enumerate(self.labels)}
        self._members = [
            np.array([position[member] for member in groups[name]]) if name in groups else None
            for name in wanted
        ]
        self._columns = np.array([position.get(name, 0) for name in wanted])
        self._is_all = wanted == self.labels.names and not groups

    def scores(self, framewise: npt.ArrayLike) -> FloatArray:
        """``(n, K)`` probabilities -> ``(n, C)`` float32 of the selected classes, contiguous.

        Raises:
            ValueError: a wrong shape, values outside [0, 1], or NaN.
        """
        given = np.asarray(framewise)
        if given.ndim != 2 or given.shape[1] != len(self.labels):
            raise ValueError(
                f"framewise is {given.shape}; (frames, {len(self.labels)}) is needed, one column per label"
            )
        if given.dtype.kind not in "fiu":
            raise ValueError(f"framewise is of type {given.dtype}; probabilities are needed")
        if given.size and not (given.min() >= 0 and given.max() <= 1):  # NaN fails this form of the test too
            bad = np.argwhere(~((given >= 0) & (given <= 1)))[0]
            raise ValueError(
                f"framewise holds {given[tuple(bad)]} in frame {bad[0]}, class {self.labels[bad[1]]!r}; "
                "probabilities from 0 to 1 are needed, not logits"
            )
        if self._is_all:
            return np.ascontiguousarray(given, np.float32)
        chosen = np.ascontiguousarray(given[:, self._columns], np.float32)
        for c, members in enumerate(self._members):
            if members is not None:
                chosen[:, c] = noisy_or(np.asarray(given[:, members], np.float32))
        return chosen

"""Selection of columns: classes by name, and super-classes composed of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pannsx.errors import did_you_mean
from pannsx.events.super_classes import SuperClasses, check_super_classes, noisy_or, read_super_classes
from pannsx.types import FloatArray, PathLike


class Selection:
    """The classes to find among ``K`` labels.

    Attributes:
        names: the ``C`` classes and super-classes, in the order of the columns of :meth:`scores`. A
            super-class replaces a label of the same name.
    """

    def __init__(
        self,
        labels: Sequence[str],
        super_classes: SuperClasses | PathLike | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self._labels = tuple(labels)
        position = {label: i for i, label in enumerate(self._labels)}
        if len(position) != len(self._labels):
            raise ValueError("a label is repeated; every class needs its own")
        if super_classes is None:
            groups: SuperClasses = {}
        elif isinstance(super_classes, (str, os.PathLike)):
            groups = read_super_classes(super_classes, self._labels)
        else:
            check_super_classes(super_classes, self._labels)
            groups = super_classes
        if isinstance(classes, str):
            raise ValueError(f"classes is the text {classes!r}; a list of names is needed: [{classes!r}]")
        if classes is None:
            wanted = tuple(groups or self._labels)
        else:
            wanted = tuple(dict.fromkeys(classes))
            known = [*groups, *self._labels]
            for name in wanted:
                if name not in groups and name not in position:
                    raise ValueError(
                        f"unknown class {name!r} among {len(known)} classes{did_you_mean(name, known)}"
                    )
        if not wanted:
            raise ValueError("classes is empty; give at least one name, or None for all")
        self.names = wanted
        self._members = [
            np.array([position[member] for member in groups[name]]) if name in groups else None
            for name in wanted
        ]
        self._columns = np.array([position.get(name, 0) for name in wanted])
        self._is_all = wanted == self._labels and not groups

    def scores(self, framewise: npt.ArrayLike) -> FloatArray:
        """``(n, K)`` probabilities -> ``(n, C)`` float32 of the selected classes, contiguous.

        Raises:
            ValueError: a wrong shape, values outside [0, 1], or NaN.
        """
        given = np.asarray(framewise)
        if given.ndim != 2 or given.shape[1] != len(self._labels):
            raise ValueError(
                f"framewise is {given.shape}; (frames, {len(self._labels)}) is needed, one column per label"
            )
        if given.dtype.kind not in "fiu":
            raise ValueError(f"framewise is of type {given.dtype}; probabilities are needed")
        if given.size and not (given.min() >= 0 and given.max() <= 1):  # NaN fails this form of the test too
            bad = np.argwhere(~((given >= 0) & (given <= 1)))[0]
            raise ValueError(
                f"framewise holds {given[tuple(bad)]} in frame {bad[0]}, class {self._labels[bad[1]]!r}; "
                "probabilities from 0 to 1 are needed, not logits"
            )
        if self._is_all:
            return np.ascontiguousarray(given, np.float32)
        chosen = np.ascontiguousarray(given[:, self._columns], np.float32)
        for c, members in enumerate(self._members):
            if members is not None:
                chosen[:, c] = noisy_or(np.asarray(given[:, members], np.float32))
        return chosen

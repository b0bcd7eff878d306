"""Targets as bits are the booleans they were made of, however they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from train.data import targets as module
from train.data.targets import Targets


def booleans(n_clips: int, n_classes: int, seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random((n_clips, n_classes)) < 0.2


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 3))
def test_rows_are_the_booleans(n_clips: int, n_classes: int, seed: int) -> None:
    labelled = booleans(n_clips, n_classes, seed)
    packed = Targets.of(labelled)
    rows = np.random.default_rng(seed).integers(-n_clips, n_clips, 12)
    assert packed.shape == labelled.shape
    np.testing.assert_array_equal(packed[:], labelled)
    np.testing.assert_array_equal(packed[rows], labelled[rows])
    np.testing.assert_array_equal(packed[n_clips - 1], labelled[n_clips - 1])
    np.testing.assert_array_equal(packed[1:n_clips:2], labelled[1:n_clips:2])


@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 9), st.integers(0, 3))
def test_rows_of_classes_are_the_columns(n_clips: int, n_classes: int, block: int, seed: int) -> None:
    labelled = booleans(n_clips, n_classes, seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_BLOCK", block)
        columns = Targets.of(labelled).rows_of_classes
    assert [rows.tolist() for rows in columns] == [np.flatnonzero(column).tolist() for column in labelled.T]


def test_parts_follow_each_other_with_the_rows_that_are_meant() -> None:
    first, second = booleans(6, 11, 0), booleans(9, 11, 1)
    chosen = np.array([0, 3, 8])
    bits = [np.packbits(part, axis=1, bitorder="little") for part in (first, second)]
    both = Targets([(bits[0], None), (bits[1], chosen)], 11)
    np.testing.assert_array_equal(both[:], np.concatenate([first, second[chosen]]))
    assert len(both) == 9


def test_no_labels_cost_nothing_and_a_row_beyond_the_end_is_refused() -> None:
    none = Targets.none(2_000_000, 527)
    assert not none[1_999_990:].any()
    assert sum(map(len, none.rows_of_classes)) == 0
    with pytest.raises(IndexError, match="of 2000000 clips"):
        none[np.array([2_000_000])]

"""Tagging metrics against their definitions, computed threshold by threshold in float64."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pannsx.metrics import TaggingScores, accuracy, d_prime_of, tagging_scores

# Ours adds up ranks, the definition adds up areas: float64 rounding of some thousand terms.
TOLERANCE = 1e-12


def by_thresholds(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, float]:
    """``(N,)``, ``(N,)`` -> average precision as a step sum, AUC as trapezoids under the ROC curve."""
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    precision_sum, area, recall, hits, alarms = 0.0, 0.0, 0.0, 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        taken = scores >= threshold
        new_hits = np.count_nonzero(taken & truth) / n_positive if n_positive else math.nan
        new_alarms = np.count_nonzero(taken & ~truth) / n_negative if n_negative else math.nan
        precision_sum += (new_hits - recall) * np.count_nonzero(taken & truth) / np.count_nonzero(taken)
        area += (new_alarms - alarms) * (new_hits + hits) / 2
        recall = hits = new_hits
        alarms = new_alarms
    return precision_sum, area


def assert_equal_to_definition(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
    found = tagging_scores(truth, scores)
    for k in range(truth.shape[1]):
        average_precision, auc = by_thresholds(truth[:, k], scores[:, k])
        if not truth[:, k].any():
            average_precision = auc = math.nan
        assert found.average_precision[k] == pytest.approx(average_precision, abs=TOLERANCE, nan_ok=True)
        assert found.auc[k] == pytest.approx(auc, abs=TOLERANCE, nan_ok=True)


def test_a_case_by_hand() -> None:
    # Ranked: + - + -. Precision at the positives is 1 and 2/3; 3 of 4 pairs stand in order.
    found = tagging_scores([[1], [0], [1], [0]], [[0.9], [0.8], [0.7], [0.1]])
    assert found.average_precision[0] == pytest.approx((1 + 2 / 3) / 2)
    assert found.auc[0] == 0.75
    assert found.d_prime[0] == pytest.approx(math.sqrt(2) * NormalDist().inv_cdf(0.75))


def test_ties_are_one_threshold() -> None:
    found = tagging_scores([[1], [0], [0], [1]], [[0.5], [0.5], [0.5], [0.5]])
    assert found.average_precision[0] == 0.5
    assert found.auc[0] == 0.5
    assert found.d_prime[0] == 0.0


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    st.data(),
    st.integers(1, 40),
    st.integers(1, 4),
    st.sampled_from([4, 1000]),
)
def test_definition(data: st.DataObject, n_clips: int, n_classes: int, n_levels: int) -> None:
    """With few levels most scores are tied, with many hardly any."""
    truth = data.draw(arrays.arrays(np.bool_, (n_clips, n_classes)))
    scores = data.draw(arrays.arrays(np.int64, (n_clips, n_classes), elements=st.integers(0, n_levels)))
    assert_equal_to_definition(truth, scores / n_levels)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_definition_at_size(dtype: type) -> None:
    """The precision of the scores is theirs: rounded ones tie, and are the same numbers in float64."""
    rng = np.random.default_rng(0)
    truth = rng.random((2000, 12)) < np.geomspace(0.0006, 0.5, 12)
    scores = (rng.standard_normal((2000, 12)) + truth).astype(dtype)
    found = tagging_scores(truth, scores)
    exact = tagging_scores(truth, scores.astype(np.float64))
    np.testing.assert_array_equal(found.auc, exact.auc)
    np.testing.assert_array_equal(found.average_precision, exact.average_precision)
    assert_equal_to_definition(truth, scores.astype(np.float64))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(arrays.arrays(np.float64, (30, 2), elements=st.floats(-30, 30)), st.integers(0, 2**32 - 1))
def test_laws(scores: NDArray[np.float64], seed: int) -> None:
    """Order of clips and any increasing map change nothing; reversed scores mirror the AUC."""
    rng = np.random.default_rng(seed)
    truth = rng.random(scores.shape) < 0.4
    found = tagging_scores(truth, scores)
    shuffled = rng.permutation(len(scores))
    for other in (tagging_scores(truth[shuffled], scores[shuffled]), tagging_scores(truth, 2 * scores)):
        np.testing.assert_array_equal(found.average_precision, other.average_precision)
        np.testing.assert_array_equal(found.auc, other.auc)
    np.testing.assert_allclose(tagging_scores(truth, -scores).auc, 1 - found.auc, atol=TOLERANCE)


def test_classes_without_positives_are_left_out_and_named() -> None:
    targets = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    found = tagging_scores(targets, np.array([[0.2, 0.1, 0.1], [0.5, 0.2, 0.2], [0.9, 0.3, 0.3]]))
    assert found.left_out == (1,)
    assert np.isnan(found.average_precision[1])
    assert np.isnan(found.auc[1:]).all(), "class 2 has no negative clip, so no pair to order"
    assert found.average_precision[2] == 1.0
    assert found.mAP == pytest.approx((found.average_precision[0] + 1.0) / 2)
    assert found.mean_auc == found.auc[0] == 0.5
    assert str(found) == (
        "mAP 0.9167, AUC 0.5000, d-prime 0.000 over 2 of 3 classes, 3 clips; "
        "1 left out, having no positive clip"
    )


def test_no_class_at_all_has_a_score() -> None:
    found = tagging_scores(np.zeros((4, 2)), np.zeros((4, 2)))
    assert math.isnan(found.mAP)
    assert math.isnan(found.mean_d_prime)


def test_d_prime_of_the_mean_auc_as_published() -> None:
    """The published Cnn14 has an AUC of 0.973 and a d-prime of 2.732: of the mean AUC, up to its rounding."""
    assert d_prime_of(0.9725) < 2.732 < d_prime_of(0.9735)
    scores = TaggingScores(np.ones(2), np.array([0.6, 0.9]), np.zeros(2), np.ones(2, np.int64), 9)
    assert scores.mean_d_prime == pytest.approx(math.sqrt(2) * NormalDist().inv_cdf(0.75))
    assert (d_prime_of(1.0), d_prime_of(0.0)) == (math.inf, -math.inf)


def test_accuracy() -> None:
    assert accuracy([0, 1, 1, 2], np.eye(3)[[0, 1, 2, 2]]) == 0.75
    with pytest.raises(ValueError, match=r"targets are \(2,\) and scores \(3, 3\)"):
        accuracy([0, 1], np.eye(3))


@pytest.mark.parametrize(
    ("targets", "scores", "complaint"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"targets are \(2, 3\) and scores \(3, 2\)"),
        (np.zeros(3), np.zeros(3), r"both must be \(N, K\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "at least one clip"),
        (np.full((2, 1), 0.5), np.zeros((2, 1)), "values other than 0 and 1"),
        (
            np.zeros((2, 2)),
            np.array([[0, 1], [2, np.nan]]),
            "1 scores are NaN, the first of them clip 1, class 1",
        ),
        (np.zeros((1, 1)), np.array([["a"]]), "numbers are needed"),
    ],
)
def test_what_cannot_be_scored(
    targets: NDArray[np.float64], scores: NDArray[np.float64], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        tagging_scores(targets, scores)


def test_scores_travel_between_processes(tmp_path: Path) -> None:
    found = tagging_scores([[1], [0]], [[0.9], [0.1]])
    again = pickle.loads(pickle.dumps(found))
    assert again.mAP == found.mAP == 1.0

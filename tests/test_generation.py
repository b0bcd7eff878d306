"""Scores of generated audio: the field's published numbers, definitions in higher precision, and laws."""

from __future__ import annotations

import math
import re
from itertools import combinations
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from seeded_models import golden_arrays, golden_json

from pannsx.metrics import bootstrap, pairwise
from pannsx.metrics.bootstrap import bootstrap_interval, kernel_interval
from pannsx.metrics.generation import (
    EmbeddingStatistics,
    frechet,
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_audio_distance,
    kernel_inception_distance,
    kernels,
    kl_divergence,
    kl_divergences,
)
from pannsx.metrics.generation.kernels import weighted_kernel_distances, weighted_polynomial_mmd

# The tools' own rounding: their logits are softmaxed in float32, their sqrtm leaves 4e-8.
OF_TOOLS = 1e-5
# kadtk computes squared distances of up to 500 in float32, which moves a KAD of 1 by up to this much;
# the same definition in float64 is met within OF_DEFINITION.
OF_KADTK = 2e-5
OF_DEFINITION = 1e-9
# Sums in another order, in float64.
ROUNDING = 1e-10

NARROW_EXACT = (
    67.61019621  # nuclear norm of the two centred sets' product; the tools' sqrtm gives 67.61019361
)

Rows = NDArray[Any]


def golden(name: str) -> tuple[Rows, Rows]:
    arrays = golden_arrays("generation.npz")
    return arrays[f"{name}/reference"], arrays[f"{name}/generated"]


def published(name: str) -> dict[str, Any]:
    found: dict[str, Any] = golden_json("generation.json")[name]
    return found


def random_sets(n: int, m: int, size: int, seed: int = 0) -> tuple[Rows, Rows]:
    """Correlated columns of unequal spread, as embeddings have, and a generated set that is shifted."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((size, size)) * np.geomspace(1, 0.01, size)
    return rng.standard_normal((n, size)) @ mix, rng.standard_normal((m, size)) @ mix * 1.1 + 0.1


def by_mpmath(x: Rows, y: Rows) -> float:
    """The Frechet distance with 60 digits, from covariances and their square roots."""
    with mpmath.workdps(60):

        def moments(rows: Rows) -> tuple[Any, Any]:
            exact = mpmath.matrix(rows.tolist())
            mean = mpmath.matrix([mpmath.fsum(exact[:, j]) / len(rows) for j in range(rows.shape[1])])
            for i in range(len(rows)):
                for j in range(rows.shape[1]):
                    exact[i, j] -= mean[j]
            return mean, exact.T * exact / (len(rows) - 1)

        def root(matrix: Any) -> Any:
            values, vectors = mpmath.eigsy(matrix)
            return vectors * mpmath.diag([mpmath.sqrt(max(value, 0)) for value in values]) * vectors.T

        (m1, s1), (m2, s2) = moments(x), moments(y)
        half = root(s1)
        eigenvalues = mpmath.eigsy(half * s2 * half, eigvals_only=True)
        cross = mpmath.fsum(mpmath.sqrt(max(value, 0)) for value in eigenvalues)
        traces = mpmath.fsum(s1[i, i] + s2[i, i] for i in range(x.shape[1]))
        return float(mpmath.fsum((a - b) ** 2 for a, b in zip(m1, m2, strict=True)) + traces - 2 * cross)


def mmd_by_loops(x: Rows, y: Rows, kernel: Any) -> float:
    """The unbiased squared MMD, pair by pair, times 100."""
    xx = math.fsum(kernel(a, b) for a, b in combinations(x, 2)) * 2 / (len(x) * (len(x) - 1))
    yy = math.fsum(kernel(a, b) for a, b in combinations(y, 2)) * 2 / (len(y) * (len(y) - 1))
    xy = math.fsum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    return 100 * (xx + yy - 2 * xy)


# published numbers


@pytest.mark.parametrize("name", ["wide", "narrow"])
@pytest.mark.parametrize("tool", ["audioldm_eval frechet_distance", "av_bench FD"])
def test_frechet_distance_is_the_tools(name: str, tool: str) -> None:
    assert frechet_distance(*golden(name)) == pytest.approx(published(name)[tool], rel=OF_TOOLS)


def test_frechet_distance_of_fewer_rows_than_columns_is_exact() -> None:
    assert round(frechet_distance(*golden("narrow")), 8) == NARROW_EXACT


@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_kernel_audio_distance_is_kadtks(name: str) -> None:
    found = kernel_audio_distance(*golden(name))
    assert found == pytest.approx(
        published(name)["kadtk KAD gaussian, bandwidth median of reference"], rel=OF_KADTK
    )


@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_median_distance_is_kadtks(name: str) -> None:
    expected = published(name)["kadtk median bandwidth"]
    assert pairwise.median_distance(golden(name)[0]) == pytest.approx(expected, rel=OF_TOOLS)


@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_kernel_inception_distance_is_audioldm_evals(name: str) -> None:
    found = kernel_inception_distance(*golden(name), n_subsets=100, subset_size=20, degree=3, seed=2020)
    expected = published(name)["audioldm_eval KID subsets 100 size 20 degree 3 seed 2020"]
    assert found.mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=OF_TOOLS)
    assert found.std == pytest.approx(expected["kernel_inception_distance_std"], rel=OF_TOOLS)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_kl_divergence_is_that_of_either_tool(kind: Any) -> None:
    scores = published("logits")
    logits = golden("logits")
    exact, padded = f"av_bench kl_{kind}", f"audioldm_eval kullback_leibler_divergence_{kind}"
    assert kl_divergence(*logits, kind=kind) == pytest.approx(scores[exact], rel=OF_TOOLS)
    found = kl_divergence(*logits, kind=kind, convention="audioldm_eval")
    assert found == pytest.approx(scores[padded], rel=OF_TOOLS)


@pytest.mark.parametrize("tool", ["audioldm_eval", "av_bench"])
def test_inception_score_is_the_tools(tool: str) -> None:
    found = inception_score(golden("logits")[1])
    expected = published("logits")
    assert found.mean == pytest.approx(expected[f"{tool} inception_score_mean"], rel=ROUNDING)
    assert found.std == pytest.approx(expected[f"{tool} inception_score_std"], rel=ROUNDING)


# definitions


@pytest.mark.parametrize(("n", "m", "size"), [(40, 30, 6), (9, 7, 12), (30, 8, 12), (13, 12, 12), (2, 2, 5)])
def test_frechet_distance_equals_sixty_digits(n: int, m: int, size: int) -> None:
    x, y = random_sets(n, m, size)
    assert frechet_distance(x, y) == pytest.approx(by_mpmath(x, y), rel=OF_DEFINITION)


@pytest.mark.parametrize(("n", "m", "size"), [(40, 30, 6), (9, 7, 12), (30, 8, 12)])
def test_stored_statistics_give_the_same_distance(n: int, m: int, size: int) -> None:
    x, y = random_sets(n, m, size)
    one, other = EmbeddingStatistics.of(x), EmbeddingStatistics.of(y)
    assert (one.centred is None) == (n >= size)
    expected = pytest.approx(by_mpmath(x, y), rel=OF_DEFINITION)
    assert frechet_distance(one, other) == expected
    assert frechet_distance(x, other) == expected


def test_covariance_is_numpys() -> None:
    x, _ = random_sets(41, 5, 6)
    np.testing.assert_allclose(EmbeddingStatistics.of(x).covariance, np.cov(x, rowvar=False), rtol=ROUNDING)


@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_kernel_audio_distance_equals_its_definition(name: str) -> None:
    x, y = (rows.astype(np.float64) for rows in golden(name))
    distances = sorted(float(np.linalg.norm(a - b)) for a, b in combinations(x, 2))
    width = distances[(len(distances) - 1) // 2]

    def kernel(a: Rows, b: Rows) -> float:
        return math.exp(-float(np.sum((a - b) ** 2)) / (2 * width**2))

    assert kernel_audio_distance(*golden(name)) == pytest.approx(
        mmd_by_loops(x, y, kernel), rel=OF_DEFINITION
    )


@pytest.mark.parametrize("kernel", ["inverse_quadratic", "inverse_multiquadric"])
def test_other_kernels_equal_their_definition(kernel: Any) -> None:
    x, y = random_sets(12, 9, 4)
    power = 1.0 if kernel == "inverse_quadratic" else 0.5

    def by_hand(a: Rows, b: Rows) -> float:
        return float((1 + np.sum((a - b) ** 2) / 2) ** -power)

    found = kernel_audio_distance(x, y, bandwidth=1.0, kernel=kernel)
    assert found == pytest.approx(mmd_by_loops(x, y, by_hand), rel=OF_DEFINITION)


def test_blocks_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = random_sets(61, 40, 5)
    expected = kernel_audio_distance(x, y)
    monkeypatch.setattr(pairwise, "BLOCK_ROWS", 7)
    assert kernel_audio_distance(x, y) == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("bits", [1, 20])
@pytest.mark.parametrize("collected", [3, 1 << 22])
@pytest.mark.parametrize("n", [2, 3, 4, 40])
def test_median_distance_is_exact(monkeypatch: pytest.MonkeyPatch, bits: int, collected: int, n: int) -> None:
    monkeypatch.setattr(pairwise, "_BITS", bits)
    monkeypatch.setattr(pairwise, "_MOST_COLLECTED", collected)
    monkeypatch.setattr(pairwise, "BLOCK_ROWS", 16)
    x, _ = random_sets(n, 2, 3)
    distances = sorted(float(np.linalg.norm(a - b)) for a, b in combinations(x, 2))
    assert pairwise.median_distance(x) == pytest.approx(
        distances[(len(distances) - 1) // 2], rel=OF_DEFINITION
    )


@pytest.mark.parametrize("collected", [3, 1 << 22])
def test_median_distance_of_rows_much_closer_than_the_furthest(
    monkeypatch: pytest.MonkeyPatch, collected: int
) -> None:
    monkeypatch.setattr(pairwise, "_MOST_COLLECTED", collected)
    rows = np.arange(1, 20.0)[:, None] ** 2  # of unequal distances
    distances = sorted(abs(a - b) for a, b in combinations([*rows[:, 0], 1e6], 2))
    # Of the centred rows in float64, whose squares are 1e12.
    expected = pytest.approx(distances[(len(distances) - 1) // 2], rel=1e-6)
    assert pairwise.median_distance(np.concatenate([rows, [[1e6]]])) == expected
    assert pairwise.median_distance(np.zeros((5, 3))) == 0.0
    assert pairwise.median_distance(np.array([[0.0], [0.0], [0.0], [7.0]])) == 0.0


def test_median_distance_of_many_equal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise, "_MOST_COLLECTED", 10)
    rows = np.repeat([[0.0, 3.0], [4.0, 0.0]], 30, axis=0)
    assert pairwise.median_distance(rows) == pytest.approx(5.0, rel=OF_DEFINITION)


def test_no_memory_for_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    of_block = pairwise.squared_distances

    def watched(left: Rows, right: Rows) -> Rows:
        found = of_block(left, right)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(pairwise, "squared_distances", watched)
    monkeypatch.setattr(kernels, "squared_distances", watched)
    monkeypatch.setattr(pairwise, "BLOCK_ROWS", 128)
    x, y = random_sets(400, 300, 2)
    kernel_audio_distance(x, y)
    assert max(sizes) == 128**2


def test_kl_divergence_of_extreme_logits_is_exact() -> None:
    p, q = np.array([[0.0, 0.0]]), np.array([[0.0, -200.0]])
    # log q of the second class is -200 to all digits that float64 has.
    assert kl_divergence(p, q) == pytest.approx(0.5 * (math.log(0.5) + math.log(0.5) + 200), rel=ROUNDING)


def test_kl_divergence_pairs_by_name() -> None:
    reference, generated = golden("logits")
    names = [f"clip{i}" for i in range(len(reference))]
    order = np.random.default_rng(0).permutation(len(reference))
    shuffled = [names[i] for i in order]
    expected = kl_divergence(reference, generated)
    found = kl_divergence(reference, generated[order], reference_names=names, generated_names=shuffled)
    assert found == pytest.approx(expected, rel=ROUNDING)
    twice = np.concatenate([generated, generated[order] * 0.5])
    found = kl_divergence(reference, twice, reference_names=names, generated_names=names + shuffled)
    assert found == pytest.approx((expected + kl_divergence(reference, generated * 0.5)) / 2, rel=ROUNDING)


def test_extrapolation_removes_the_bias_of_few_clips() -> None:
    rng = np.random.default_rng(0)
    size = 8
    reference = rng.standard_normal((20_000, size))
    true = 0.25 * size  # means differ by 0.5 in each dimension, covariances are equal
    found = frechet_infinity(reference, rng.standard_normal((150, size)) + 0.5, seed=3)
    assert found.distances[0] > found.distances[-1] > found.score
    assert found.slope > 0
    assert found.n_rows[0] == 50
    assert found.n_rows[-1] == 150
    generated = rng.standard_normal((20_000, size)) + 0.5
    many = frechet_infinity(reference, generated, seed=3)
    assert many.score == pytest.approx(true, rel=0.05)  # of 20,000 clips the mean's own spread is 1 %
    assert found.seed == 3
    assert many == frechet_infinity(reference, generated, seed=3)


def test_a_line_is_explained_wholly(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    of_rows = frechet._gaussian_of_rows

    def counted(rows: Rows) -> frechet.Gaussian:
        seen.append(len(rows))
        return of_rows(rows)

    monkeypatch.setattr(frechet, "_gaussian_of_rows", counted)
    monkeypatch.setattr(frechet, "_frechet", lambda one, other: 3.0 + 12.0 / seen[-1])
    found = frechet_infinity(*random_sets(5, 90, 2))
    assert found.score == pytest.approx(3.0, rel=OF_DEFINITION)
    assert found.slope == pytest.approx(12.0, rel=OF_DEFINITION)
    assert found.r_squared == pytest.approx(1.0, rel=OF_DEFINITION)


# laws

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(2, 20), m=st.integers(2, 20), size=st.integers(1, 12))
def test_laws_of_distances(seed: int, n: int, m: int, size: int) -> None:
    x, y = random_sets(n, m, size, seed)
    scale = float(np.var(x, axis=0).sum() + np.var(y, axis=0).sum()) + 1
    distance = frechet_distance(x, y)
    assert distance >= 0
    assert frechet_distance(x, x) <= ROUNDING * scale
    assert frechet_distance(y, x) == pytest.approx(distance, abs=ROUNDING * scale)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]
    assert frechet_distance(x @ rotation + 3, y @ rotation + 3) == pytest.approx(distance, abs=1e-8 * scale)
    assert frechet_distance(2 * x, 2 * y) == pytest.approx(4 * distance, abs=ROUNDING * scale)
    assert frechet_distance(x[::-1], y) == pytest.approx(distance, abs=ROUNDING * scale)
    width = 1.0
    kernel_distance = kernel_audio_distance(x, y, bandwidth=width)
    assert kernel_audio_distance(y, x, bandwidth=width) == pytest.approx(kernel_distance, abs=1e-8)
    assert kernel_audio_distance(x + 5, y + 5, bandwidth=width) == pytest.approx(kernel_distance, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(1, 12), n_classes=st.integers(2, 9))
def test_laws_of_logits(seed: int, n: int, n_classes: int) -> None:
    p, q = 5 * np.random.default_rng(seed).standard_normal((2, n, n_classes))
    assert kl_divergence(p, p) == pytest.approx(0.0, abs=ROUNDING)
    assert kl_divergence(p, q) >= 0
    shifted = kl_divergence(p + 7, q - 3)  # the softmax does not see a constant
    assert shifted == pytest.approx(kl_divergence(p, q), abs=1e-8)
    assert 1 - ROUNDING <= inception_score(p, splits=1).mean <= n_classes + ROUNDING
    assert inception_score(np.repeat(p[:1], n, axis=0), splits=1).mean == pytest.approx(1.0, abs=ROUNDING)


def test_unbiased_kernel_distance_of_one_source_averages_to_zero() -> None:
    rng = np.random.default_rng(0)
    found = [kernel_audio_distance(*rng.standard_normal((2, 15, 3)), bandwidth=2.0) for _ in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(len(found))
    assert min(found) < 0


# intervals


@pytest.mark.parametrize("shape", [(30, 25, 4), (12, 10, 20)])  # by QR of the draws, and by the product
def test_frechet_interval_is_that_of_drawn_rows(shape: tuple[int, int, int]) -> None:
    x, y = random_sets(*shape)
    fast = bootstrap._frechet_distances(x, y, 8, seed=5)
    rng = np.random.default_rng(5)
    counts = bootstrap._counts(rng, len(x), 8), bootstrap._counts(rng, len(y), 8)
    slow = [
        by_mpmath(np.repeat(x, v.astype(int), axis=0), np.repeat(y, w.astype(int), axis=0))
        for v, w in zip(counts[0][:2], counts[1][:2], strict=True)
    ]
    np.testing.assert_allclose(fast[:2], slow, rtol=OF_DEFINITION)


def test_kernel_interval_is_that_of_drawn_rows() -> None:
    x, y = random_sets(14, 11, 3)
    rng = np.random.default_rng(0)
    v, w = bootstrap._counts(rng, 14, 5), bootstrap._counts(rng, 11, 5)
    found = weighted_kernel_distances(x, y, 1.5, "gaussian", v.T, w.T)
    for i in range(5):
        drawn = np.repeat(x, v[i].astype(int), axis=0), np.repeat(y, w[i].astype(int), axis=0)
        assert found[i] == pytest.approx(kernel_audio_distance(*drawn, bandwidth=1.5), rel=1e-8)


def test_inception_interval_is_that_of_drawn_rows() -> None:
    x, y = random_sets(14, 11, 3)
    rng = np.random.default_rng(0)
    v, w = bootstrap._counts(rng, 14, 5), bootstrap._counts(rng, 11, 5)
    found = weighted_polynomial_mmd(x, y, 3, v.T, w.T)
    for i in range(5):
        a, b = np.repeat(x, v[i].astype(int), axis=0), np.repeat(y, w[i].astype(int), axis=0)
        expected = mmd_by_loops(a, b, lambda p, q: (p @ q / 3 + 1) ** 3) / 100
        assert found[i] == pytest.approx(expected, rel=1e-8)
    interval = bootstrap.kernel_inception_interval(x, y, subset_size=10)
    assert interval.low < kernel_inception_distance(x, y, subset_size=10).mean < interval.high


def test_interval_covers_the_expected_score() -> None:
    # What the score of 40 clips is on average, over many draws of 40, lies in the interval of one draw
    # in about 95 % of all cases; of 60 at least 48 do, whatever the seed (a share of 0.9 gives fewer in 1 %).
    rng = np.random.default_rng(1)

    def sets() -> tuple[Rows, Rows]:
        return rng.standard_normal((40, 3)), rng.standard_normal((40, 3)) * 1.5 + 1

    for score, interval in (
        (frechet_distance, lambda x, y: bootstrap_interval(frechet_distance, x, y, n_resamples=40)),
        (kernel_audio_distance, lambda x, y: kernel_interval(x, y, n_resamples=40)),
    ):
        expected = np.mean([score(*sets()) for _ in range(200)])
        found = [interval(*sets()) for _ in range(60)]
        assert sum(each.low <= expected <= each.high for each in found) >= 48


def test_interval_of_any_score() -> None:
    values = np.random.default_rng(0).standard_normal(400) + 2
    found = bootstrap_interval(lambda v: float(v.mean()), values, n_resamples=400)
    assert found.low < values.mean() < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 / math.sqrt(400), rel=0.2)  # of a normal mean
    assert found == bootstrap_interval(lambda v: float(v.mean()), values, n_resamples=400)
    pair = bootstrap_interval(lambda a, b: float((a - b).mean()), values, values + 1, paired=True)
    assert (pair.low, pair.high) == (pytest.approx(-1), pytest.approx(-1))


# errors


def refused(call: Any, *parts: str) -> None:
    with pytest.raises(ValueError, match=re.escape(parts[0])) as caught:
        call()
    for part in parts[1:]:
        assert part in str(caught.value)


def test_bad_sets_are_refused() -> None:
    good = np.ones((4, 3))
    for score in (frechet_distance, kernel_audio_distance):
        refused(lambda score=score: score(good[:1], good), "reference: 1 rows; at least 2")
        refused(lambda score=score: score(good, good[:, :2]), "reference has 3 dimensions", "set 2")
        bad = good.copy()
        bad[2, 1] = np.nan
        refused(lambda score=score, bad=bad: score(good, bad), "generated: 1 rows hold NaN", "row 2")
        refused(lambda score=score: score(good[0], good), "(3,)")
    refused(lambda: kernel_audio_distance(good, good), "bandwidth is 0")
    refused(lambda: kernel_audio_distance(good, good, kernel="linear"), "'linear'", "gaussian")  # type: ignore[arg-type]
    refused(lambda: kernel_inception_distance(good, good, subset_size=5), "subset_size is 5", "4 rows")
    refused(lambda: frechet_infinity(good, good, min_rows=3), "2 more")
    refused(lambda: inception_score(good), "splits is 10", "4 rows")
    refused(lambda: bootstrap_interval(frechet_distance, good, good, level=1.0), "level is 1.0")
    refused(lambda: bootstrap_interval(frechet_distance, good, good[:3], paired=True), "[4, 3]")


def test_unpaired_names_are_refused() -> None:
    p = np.zeros((2, 3))

    def named(reference: list[str], generated: list[str]) -> Any:
        return lambda: kl_divergence(p, p, reference_names=reference, generated_names=generated)

    refused(named(["a", "b"], ["a", "c"]), "1 generated without a partner: 'c'", "1 reference", "'b'")
    refused(named(["a", "a"], ["a", "a"]), "repeated: 'a'")
    refused(named(["a"], ["a", "b"]), "1 and 2 names of 2 reference and 2")
    refused(lambda: kl_divergence(p, p, reference_names=["a", "b"]), "for both sets")
    refused(lambda: kl_divergence(p, p[:1]), "2 reference and 1 generated")
    refused(lambda: kl_divergence(p, p, kind="tanh"), "'tanh'")  # type: ignore[arg-type]
    refused(lambda: kl_divergence(p, p[:, :2]), "3 classes")
    assert kl_divergences(p, p).tolist() == [0.0, 0.0]


def test_bad_statistics_are_refused() -> None:
    mean, square = np.zeros(2), np.eye(2)
    refused(lambda: EmbeddingStatistics(mean, 1, covariance=square), "1 rows")
    refused(lambda: EmbeddingStatistics(mean, 5), "either")
    refused(lambda: EmbeddingStatistics(mean, 5, covariance=np.eye(3)), "(2, 2)", "(3, 3)")
    refused(lambda: EmbeddingStatistics(mean, 5, covariance=square * np.nan), "not finite")
    negative = EmbeddingStatistics(mean, 5, covariance=-square)
    refused(lambda: frechet_distance(negative, negative), "reference", "eigenvalue")

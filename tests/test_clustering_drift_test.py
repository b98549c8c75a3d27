"""Drift and outliers against known answers: made-up arrivals like the fit's rows, and unlike."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.cluster_stats import (
    Drift,
    Spread,
    drift,
    left_out,
    outlier_limits,
    pooled,
    spread,
)
from imgclust.clustering.kmeans import assign, fit


def drawn(n: int, d: int, groups: int, *, seed: int, centres: int = 7) -> NDArray[np.float32]:
    """Rows of overlapping groups whose members differ in how far out they lie."""
    random = np.random.default_rng(seed)
    middle = np.random.default_rng(centres).standard_normal((groups, d))
    own = random.standard_normal((n, d)) * (0.5 + random.random((n, 1)))
    return (2 * middle[random.integers(0, groups, n)] + own).astype(np.float32)


def judged(
    rows: NDArray[np.float32], arrivals: NDArray[np.float32], k: int
) -> tuple[Drift, list[Drift], float]:
    """Drift overall and by cluster, and the plain ratio of mean distances."""
    done = fit(rows, k)
    without = left_out(rows, done.centroids, done.assigned, done.distances)
    positions, distances = assign(arrivals, done.centroids)
    nothing = Spread(0, 0.0, 0.0)
    before = [spread(without[done.assigned == one]) for one in range(k)]
    since = [
        spread(distances[positions == one]) if (positions == one).any() else nothing
        for one in range(k)
    ]
    each = [drift(*pair, comparisons=k) for pair in zip(before, since, strict=True)]
    plain = float(distances.mean() / done.distances.mean())
    return drift(pooled(before), pooled(since)), each, plain


@pytest.mark.parametrize(
    ("n", "came", "d", "groups", "k"),
    [(2000, 500, 8, 10, 10), (500, 200, 64, 5, 20), (300, 300, 32, 1, 10)],
)
def test_stationary_arrivals_hardly_ever_seem_to_drift(
    n: int, came: int, d: int, groups: int, k: int
) -> None:
    ratios = []
    for seed in range(20):
        rows = drawn(n + came, d, groups, seed=seed)
        overall, each, _ = judged(rows[:n], rows[n:], k)
        assert not overall.high
        assert not any(one.high for one in each)
        assert overall.ratio is not None
        ratios.append(overall.ratio)
    assert np.mean(ratios) == pytest.approx(1, abs=0.025)


def test_without_leaving_out_every_arrival_would_seem_further_away() -> None:
    for seed in range(5):
        rows = drawn(600, 32, 1, seed=seed)
        overall, _, plain = judged(rows[:300], rows[300:], 10)
        assert overall.ratio is not None
        assert plain > overall.ratio + 0.02


@pytest.mark.parametrize(("n", "d", "groups", "k"), [(2000, 8, 10, 10), (2000, 64, 10, 30)])
def test_arrivals_of_another_kind_drift(n: int, d: int, groups: int, k: int) -> None:
    for seed in range(5):
        rows = drawn(n, d, groups, seed=seed)
        others = drawn(2000, d, groups, seed=seed, centres=8)
        overall, each, _ = judged(rows, others, k)
        assert overall.high
        assert any(one.high for one in each)


def test_a_few_arrivals_prove_nothing_and_a_small_difference_does_not_matter() -> None:
    fitted = Spread(10_000, 1.0, 0.2)
    assert not drift(fitted, Spread(29, 2.0, 0.2)).high
    assert drift(fitted, Spread(30, 2.0, 0.2)).high
    assert not drift(fitted, Spread(100_000, 1.04, 0.2)).high
    assert drift(fitted, Spread(100_000, 1.06, 0.2)).high
    assert not drift(fitted, Spread(30, 1.1, 0.5)).high
    # A difference of 3.5 standard errors: enough for one cluster, not for the worst of a thousand.
    there = Spread(100, 1.07, 0.2)
    assert drift(fitted, there).high
    assert not drift(fitted, there, comparisons=1000).high


def test_drift_without_arrivals_and_of_equal_images() -> None:
    assert drift(Spread(5, 1.0, 0.1), Spread(0, 0.0, 0.0)) == Drift(0, None, False)
    assert drift(Spread(50, 0.0, 0.0), Spread(40, 0.0, 0.0)) == Drift(40, None, False)
    assert drift(Spread(50, 0.0, 0.0), Spread(40, 0.3, 0.1)) == Drift(40, None, True)


def test_left_out_is_what_a_fit_without_the_row_gives() -> None:
    random = np.random.default_rng(3)
    rows = np.concatenate([random.standard_normal((9, 4)), 30 + random.standard_normal((6, 4))])
    rows = rows.astype(np.float32)
    assigned = np.repeat([0, 1], [9, 6]).astype(np.int32)
    centroids = np.stack([rows[:9].mean(0), rows[9:].mean(0)])
    distances = np.linalg.norm(rows - centroids[assigned], axis=1)
    found = left_out(rows, centroids, assigned, distances)
    for row, own in enumerate(assigned):
        rest = (assigned == own) & (np.arange(15) != row)
        expected = np.linalg.norm(rows[row] - rows[rest].mean(0))
        assert found[row] == pytest.approx(expected, rel=1e-4)


def test_left_out_of_clusters_of_one() -> None:
    rows = np.array([[0.0, 0.0], [3.0, 4.0]], np.float32)
    both = np.array([0, 1], np.int32)
    np.testing.assert_allclose(left_out(rows, rows, both, np.zeros(2)), [5, 5])
    np.testing.assert_array_equal(left_out(rows[:1], rows[:1], both[:1], np.zeros(1)), [0])


def test_pooled_is_the_spread_of_all_together() -> None:
    random = np.random.default_rng(0)
    one, two = random.random(30), 5 + random.random(70)
    found, expected = pooled([spread(one), spread(two)]), spread(np.concatenate([one, two]))
    assert found.count == 100
    assert (found.mean, found.deviation) == pytest.approx((expected.mean, expected.deviation))
    assert pooled([]) == Spread(0, 0.0, 0.0)


def test_outlier_limits_are_those_of_iglewicz_and_hoaglin() -> None:
    distances = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 100, 1, 1, 2])
    assigned = np.repeat([0, 1], [10, 3]).astype(np.int32)
    limits = outlier_limits(distances, assigned, 3)
    assert limits[0] == pytest.approx(5.5 + 3.5 * 1.4826 * 2.5)
    # Too few members for a deviation of its own: that of all.
    assert limits[1] == pytest.approx(1 + 3.5 * 1.4826 * 1.5)
    assert (distances > limits[assigned]).nonzero()[0].tolist() == [9]
    assert np.isinf(outlier_limits(np.ones(20), np.zeros(20, np.int32), 1)).all()


def test_normal_images_are_hardly_ever_outliers() -> None:
    rows = drawn(4000, 16, 8, seed=0)
    done = fit(rows, 8)
    without = left_out(rows, done.centroids, done.assigned, done.distances)
    limits = outlier_limits(without, done.assigned, 8)
    assert float((done.distances > limits[done.assigned]).mean()) < 0.005
    far = np.full((1, 16), 20, np.float32)
    position, distance = assign(far, done.centroids)
    assert distance[0] > limits[position[0]]

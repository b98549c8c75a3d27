"""Smoothing: known answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.kmeans import assign, fit
from imgclust.clustering.smoother import smooth
from imgclust.errors import ClusteringError


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


def groups(k: int, each: int, dims: int = 40, seed: int = 0) -> NDArray[np.float32]:
    """k groups about orthogonal directions, one after the other."""
    random = np.random.default_rng(seed)
    centres = np.linalg.qr(random.standard_normal((dims, k)))[0].T
    return unit(np.repeat(centres, each, axis=0) + 0.08 * random.standard_normal((k * each, dims)))


def by_hand(points: NDArray[np.float32], rounds: int, neighbours: int) -> NDArray[np.float64]:
    """The definition, row by row."""
    wide = points.astype(np.float64)
    cosines = wide @ wide.T
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :neighbours]
    for _ in range(rounds):
        rows = [
            (np.maximum(cosines[row, near[row]], 0)[:, np.newaxis] * wide[near[row]]).sum(axis=0)
            for row in range(len(wide))
        ]
        wide = np.stack([row / np.linalg.norm(row) for row in rows])
    return wide


@pytest.mark.parametrize("rounds", [1, 3])
def test_it_is_the_weighted_mean_of_the_neighbours(rounds: int) -> None:
    points = groups(4, 15)
    found = smooth(points, rounds=rounds, neighbours=5).smoothed
    assert np.allclose(found, by_hand(points, rounds, 5), atol=1e-5)


def test_separated_groups_draw_together_and_stay_apart() -> None:
    points = groups(5, 30)
    member = np.repeat(np.arange(5), 30)
    found = smooth(points)

    def inside(rows: NDArray[np.float32]) -> float:
        means = np.stack([rows[member == one].mean(axis=0) for one in range(5)])
        return float(((rows - means[member]) ** 2).sum(axis=1).mean())

    assert inside(found.smoothed) < 0.5 * inside(points)
    means = np.stack([found.smoothed[member == one].mean(axis=0) for one in range(5)])
    between = means @ means.T
    assert between[~np.eye(5, dtype=bool)].max() < 0.2
    assert np.allclose(np.linalg.norm(found.smoothed, axis=1), 1, atol=1e-5)


def test_an_isolated_row_stays() -> None:
    points = np.zeros((31, 41), np.float32)
    points[:30, :40] = groups(1, 30)
    points[30, 40] = 1  # at right angles to all others
    assert np.allclose(smooth(points).smoothed[30], points[30], atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 20, 50])
def test_few_rows(n: int) -> None:
    points = groups(1, n)
    found = smooth(points).smoothed
    assert found.shape == points.shape
    assert np.isfinite(found).all()
    if n == 1:
        assert np.array_equal(found, points)
    else:
        assert np.allclose(found, by_hand(points, 3, min(10, n)), atol=1e-5)


def test_equal_rows_stay_and_zeros_stay_zeros() -> None:
    points = np.repeat(groups(1, 1), 50, axis=0)
    assert np.allclose(smooth(points).smoothed, points, atol=1e-6)
    with_zeros = np.concatenate([groups(2, 20), np.zeros((3, 40), np.float32)])
    assert not smooth(with_zeros).smoothed[-3:].any()
    assert np.isfinite(smooth(with_zeros).smoothed).all()
    assert not smooth(np.zeros((4, 3), np.float32)).smoothed.any()


def test_many_equal_rows_each_count_themselves() -> None:
    points = np.concatenate([np.repeat(groups(1, 1), 40, axis=0), groups(3, 20, seed=1)])
    assert np.allclose(smooth(points).smoothed[:40], points[:40], atol=1e-6)


def test_the_order_of_rows_does_not_matter() -> None:
    points = groups(6, 25)
    order = np.random.default_rng(1).permutation(len(points))
    assert np.allclose(smooth(points[order]).smoothed, smooth(points).smoothed[order], atol=1e-5)


def test_above_the_exact_limit_nearly_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    points = unit(random.standard_normal((3000, 30)))
    exact = smooth(points).smoothed
    monkeypatch.setattr("imgclust.clustering.smoother.EXACT_ROWS", 1000)
    nearly = smooth(points).smoothed
    assert not np.array_equal(exact, nearly)
    assert (np.einsum("ij,ij->i", exact, nearly) > 0.9).mean() > 0.95


@pytest.mark.parametrize("kind", ["one cloud", "groups", "equal rows"])
def test_above_the_exact_limit_nine_of_ten_neighbours_are_found(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(1)
    rows = random.standard_normal((3000, 24))
    if kind == "groups":
        rows += 2 * random.standard_normal((40, 24))[random.integers(0, 40, 3000)]
    elif kind == "equal rows":
        rows[1000:] = rows[random.integers(0, 1000, 2000)]
    points = unit(rows)
    cosines = points @ points.T
    tenth = np.sort(cosines, axis=1)[:, -10]
    monkeypatch.setattr("imgclust.clustering.smoother.EXACT_ROWS", 1000)
    found = smooth(points)
    assert found.around is not None
    near, positions = found.around
    assert (positions == np.arange(3000)[:, np.newaxis]).any(axis=1).all()
    assert [len(set(row)) for row in positions.tolist()] == [10] * 3000
    assert np.allclose(near, np.take_along_axis(cosines, positions, axis=1), atol=1e-5)
    # As near as the tenth: of equally near ones any will do.
    assert (near >= tenth[:, np.newaxis] - 1e-5).mean() > 0.9
    again = smooth(points)
    assert np.array_equal(again.smoothed, found.smoothed)


def test_arrivals_go_where_all_together_would_put_them() -> None:
    random = np.random.default_rng(0)
    centres = random.standard_normal((12, 30))
    points = unit(centres[random.integers(0, 12, 660)] + 0.9 * random.standard_normal((660, 30)))
    before, arrivals = points[:600], points[600:]
    stored = smooth(before)
    centroids = fit(stored.smoothed, 12).centroids
    placed, _ = assign(stored.place(arrivals), centroids)
    together = [
        assign(smooth(np.concatenate([before, one[np.newaxis]])).smoothed[-1:], centroids)[0][0]
        for one in arrivals
    ]
    assert (placed == np.array(together)).mean() >= 0.95
    one_by_one = np.concatenate([stored.place(arrivals[row : row + 1]) for row in range(60)])
    assert np.allclose(one_by_one, stored.place(arrivals), atol=1e-5)


def test_arrivals_that_lie_apart_or_nowhere_stay() -> None:
    stored = smooth(np.eye(3, 5, dtype=np.float32))
    apart = np.eye(5, dtype=np.float32)[3:4]
    assert np.allclose(stored.place(apart), apart)
    assert not stored.place(np.zeros((1, 5), np.float32)).any()
    assert stored.place(np.empty((0, 5), np.float32)).shape == (0, 5)
    with pytest.raises(ClusteringError, match="do not fit"):
        stored.place(np.ones((1, 4), np.float32))


def test_what_is_refused() -> None:
    with pytest.raises(ClusteringError, match="rounds"):
        smooth(groups(1, 3), rounds=-1)
    with pytest.raises(ClusteringError, match="neighbours"):
        smooth(groups(1, 3), neighbours=0)
    with pytest.raises(ClusteringError, match="NaN"):
        smooth(np.full((3, 2), np.nan))


def test_a_last_list_that_no_row_asks_for_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    lists = np.arange(400) % 3
    other = np.where(lists == 0, 1, 0)
    near = np.stack([lists, other], axis=1).astype(np.int32)
    monkeypatch.setattr("imgclust.clustering.smoother.EXACT_ROWS", 100)
    monkeypatch.setattr("imgclust.clustering.smoother._TOGETHER", 10)
    monkeypatch.setattr("imgclust.clustering.smoother._nearest_lists", lambda _: near)
    assert np.isfinite(smooth(rows).smoothed).all()

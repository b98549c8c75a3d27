"""Fits, assignment, sweeps: known answers, and a float64 oracle that shares no code."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering import faiss_kmeans
from imgclust.clustering.k_sweep import default_k_max, sweep
from imgclust.clustering.kmeans import Fit, assign, fit
from imgclust.devices import faiss_gpus
from imgclust.errors import ClusteringError, StoppedError
from imgclust.progress import StopFlag


def groups(
    k: int, d: int, *, n: int = 400, spread: float = 8.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gaussian groups far apart, all occupied, and which row is in which."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((k, d)) * spread
    member = np.concatenate([np.arange(k), random.integers(0, k, n - k)])
    rows = centres[member] + random.standard_normal((n, d))
    return rows.astype(np.float32), member


def oracle_inertia(rows: NDArray[Any], centroids: NDArray[Any]) -> float:
    """Every distance in float64, one centroid at a time."""
    wide = rows.astype(np.float64)
    each = [((wide - one) ** 2).sum(axis=1) for one in centroids.astype(np.float64)]
    return float(np.min(each, axis=0).sum())


def same_partition(one: NDArray[Any], other: NDArray[Any]) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


@pytest.mark.parametrize("d", [16, 2048])
@pytest.mark.parametrize("k", [3, 8, 25])
def test_separated_groups_are_found_exactly(k: int, d: int) -> None:
    rows, member = groups(k, d)
    found = sweep(rows, k_max=k)
    assigned, _ = assign(rows, found.centroids[-1])
    assert same_partition(assigned, member)


@pytest.mark.parametrize("seed", range(8))
def test_separated_groups_are_found_from_any_seed(seed: int) -> None:
    random = np.random.default_rng(seed)
    member = np.repeat(np.arange(12), 30)
    rows = 6 * random.standard_normal((12, 16))[member] + random.standard_normal((360, 16))
    assert same_partition(fit(rows, 12, seed=seed).assigned, member)


def test_of_many_rows_a_sample_comes_first_and_all_decide() -> None:
    """Groups that a sample of 20,000 hardly knows are found where they are, from all their rows."""
    rows, member = groups(30, 12, n=45_000)
    found = fit(rows, 30, seed=1)
    assert same_partition(found.assigned, member)
    means = np.stack([rows[member == one].mean(axis=0, dtype=np.float64) for one in range(30)])
    order = [found.assigned[np.flatnonzero(member == one)[0]] for one in range(30)]
    np.testing.assert_allclose(found.centroids[order], means, rtol=1e-4, atol=1e-4)
    again = fit(rows, 30, seed=1)
    np.testing.assert_array_equal(again.centroids, found.centroids)
    held = fit(rows, 29, seed=1, fixed=means[:1].astype(np.float32))
    assert same_partition(held.assigned, member)
    few = np.repeat(rows[:7], 4_000, axis=0)
    assert fit(few, 9).k == 7


def test_inertia_and_distances_are_those_of_the_centroids() -> None:
    rows, _ = groups(5, 40, spread=1.0)
    found = fit(rows, 7, seed=3)
    assert found.inertia == pytest.approx(oracle_inertia(rows, found.centroids), rel=1e-6)
    own = np.linalg.norm(rows.astype(np.float64) - found.centroids[found.assigned], axis=1)
    np.testing.assert_allclose(found.distances, own, rtol=1e-5)
    assert found.assigned.dtype == np.int32
    assert found.distances.dtype == np.float32
    assert found.centroids.shape == (7, 40)


def test_tight_groups_far_from_the_origin_keep_their_digits() -> None:
    random = np.random.default_rng(0)
    rows = (1000 + np.repeat([[0.0], [1.0]], 50, axis=0)).astype(np.float32)
    rows = rows + random.standard_normal((100, 8)).astype(np.float32) * np.float32(1e-3)
    found = fit(rows, 2)
    assert found.inertia == pytest.approx(oracle_inertia(rows, found.centroids), rel=1e-4)
    assert sorted(np.bincount(found.assigned)) == [50, 50]


def test_the_same_seed_gives_the_same_result() -> None:
    rows, _ = groups(6, 32, spread=0.5)
    one, two = fit(rows, 9, seed=4), fit(rows, 9, seed=4)
    np.testing.assert_array_equal(one.centroids, two.centroids)
    np.testing.assert_array_equal(one.assigned, two.assigned)
    first, second = sweep(rows, k_max=9, seed=4), sweep(rows, k_max=9, seed=4)
    assert first.inertia == second.inertia


def test_one_cluster_is_the_mean() -> None:
    rows, _ = groups(3, 12)
    found = fit(rows, 1)
    np.testing.assert_allclose(found.centroids[0], rows.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert set(found.assigned.tolist()) == {0}


def test_as_many_clusters_as_rows_leave_nothing_over() -> None:
    rows, _ = groups(3, 12, n=20)
    found = fit(rows, 20)
    assert found.k == 20
    assert found.inertia == 0
    assert sorted(found.assigned.tolist()) == list(range(20))


def test_more_clusters_than_rows_are_reduced_and_said() -> None:
    rows, _ = groups(2, 6, n=5)
    found = fit(rows, 9)
    assert (found.k, found.asked_k) == (5, 9)
    assert found.sentence == "k = 5: there are only 5 distinct embeddings; 9 was asked"


def test_identical_rows_make_one_cluster() -> None:
    found = fit(np.full((30, 16), 0.3, dtype=np.float32), 4)
    assert found.k == 1
    assert found.inertia == pytest.approx(0, abs=1e-10)
    assert "only 1 distinct embedding" in found.sentence
    swept = sweep(np.full((30, 16), 0.3, dtype=np.float32), k_max=5)
    assert swept.k == (1,)
    assert "distinct" in swept.notes[0]


def test_duplicates_reduce_k_to_the_distinct_rows() -> None:
    distinct = np.eye(6, 8, dtype=np.float32)
    found = fit(np.repeat(distinct, 10, axis=0), 9)
    assert found.k == 6
    assert found.inertia == pytest.approx(0, abs=1e-10)
    assert sorted(np.bincount(found.assigned)) == [10] * 6


def test_one_row() -> None:
    row = np.array([[1.0, 2.0]], dtype=np.float32)
    found = fit(row, 1)
    assert (found.k, found.inertia, found.assigned.tolist()) == (1, 0.0, [0])
    assert sweep(row).k == (1,)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    rows, _ = groups(2, 4, n=10)
    rows[7, 2] = bad
    for attempt in (
        lambda: fit(rows, 2),
        lambda: sweep(rows),
        lambda: assign(rows, rows[:2]),
    ):
        with pytest.raises(ClusteringError, match="row 7"):
            attempt()


def test_wrong_requests_are_refused() -> None:
    rows, _ = groups(2, 4, n=10)
    with pytest.raises(ClusteringError, match="k = 0"):
        fit(rows, 0)
    with pytest.raises(ClusteringError, match="cannot be clustered"):
        fit(rows[:0], 2)
    with pytest.raises(ClusteringError, match="start has shape"):
        fit(rows, 2, start=rows[:3])
    with pytest.raises(ClusteringError, match="not a range"):
        sweep(rows, k_min=5, k_max=3)
    with pytest.raises(ClusteringError, match="do not fit"):
        assign(rows, rows[:, :2])


def test_every_cluster_is_occupied() -> None:
    rows, _ = groups(4, 8, spread=30)
    start = np.concatenate([rows[:2], np.full((6, 8), 1e4, dtype=np.float32)])
    found = fit(rows, 8, start=start)
    assert found.k == 8
    assert np.bincount(found.assigned, minlength=8).min() > 0


def test_a_start_is_used() -> None:
    rows, member = groups(4, 8, spread=30)
    centres = np.stack([rows[member == group].mean(axis=0) for group in range(4)])
    found = fit(rows, 4, start=centres)
    np.testing.assert_array_equal(found.assigned, member)


def test_a_sample_is_said_and_everything_is_assigned() -> None:
    rows, member = groups(3, 8, n=600)
    found = fit(rows, 3, max_points=100)
    assert "sample of 100 of 600" in found.notes[0]
    assert same_partition(found.assigned, member)
    swept = sweep(rows, k_max=5, max_points=100)
    assert "sample of 100 of 600" in swept.notes[0]
    for inertia, centroids in zip(swept.inertia, swept.centroids, strict=True):
        assert inertia == pytest.approx(oracle_inertia(rows, centroids), rel=1e-5)


def test_a_stop_ends_a_fit() -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(StoppedError):
        fit(groups(3, 8)[0], 3, stop=stop)
    with pytest.raises(StoppedError):
        sweep(groups(3, 8)[0], stop=stop)


def test_assignment_is_to_the_nearest_and_takes_no_rows() -> None:
    rows, _ = groups(5, 20, spread=1.0)
    centroids = rows[:7]
    assigned, distances = assign(rows, centroids)
    every = np.linalg.norm(rows[:, np.newaxis].astype(np.float64) - centroids, axis=2)
    np.testing.assert_array_equal(assigned, every.argmin(axis=1))
    np.testing.assert_allclose(distances, every.min(axis=1), rtol=1e-5, atol=1e-6)
    nobody, _ = assign(rows[:0], centroids)
    assert nobody.shape == (0,)


def test_a_sweep_falls_and_tells_the_inertia_of_its_centroids() -> None:
    rows, _ = groups(10, 30, n=300, spread=0.7)
    swept = sweep(rows, k_max=40)
    assert swept.k == tuple(range(1, 41))
    assert swept.complete
    assert (np.diff(swept.inertia) <= 0).all()
    for k, inertia, centroids in zip(swept.k, swept.inertia, swept.centroids, strict=True):
        assert centroids.shape == (k, 30)
        assert inertia == pytest.approx(oracle_inertia(rows, centroids), rel=1e-5)
        assert len(set(assign(rows, centroids)[0].tolist())) == k


def test_a_sweep_to_the_end_reaches_zero() -> None:
    rows, _ = groups(3, 6, n=25)
    swept = sweep(rows, k_max=60)
    assert swept.k[-1] == 25
    assert swept.inertia[-1] == pytest.approx(0, abs=1e-9)
    assert swept.notes == ("k = 25: there are only 25 distinct embeddings; 60 was asked",)


def test_a_sweep_is_as_good_as_scikit_learn() -> None:
    from sklearn.cluster import KMeans

    rows, _ = groups(20, 24, n=600, spread=0.8)
    swept = sweep(rows, k_max=30)
    ratios = [
        swept.inertia[k - 1] / KMeans(k, n_init=1, random_state=0).fit(rows).inertia_
        for k in range(2, 31, 4)
    ]
    assert np.mean(ratios) <= 1.005
    assert max(ratios) <= 1.02


@pytest.mark.parametrize("seed", range(3))
def test_a_thorough_sweep_of_a_plane_is_as_good_at_every_k(seed: int) -> None:
    from sklearn.cluster import KMeans

    random = np.random.default_rng(seed)
    centres = random.uniform(-10, 10, (14, 2))
    rows = (centres[random.integers(14, size=120)] + random.standard_normal((120, 2))).astype(
        np.float32
    )
    swept = sweep(rows, k_max=24, seed=seed, thorough=True)
    assert (np.diff(swept.inertia) <= 0).all()
    for k, inertia, centroids in zip(swept.k, swept.inertia, swept.centroids, strict=True):
        assert inertia == pytest.approx(oracle_inertia(rows, centroids), rel=1e-5)
        assert inertia <= 1.01 * KMeans(k, random_state=0).fit(rows).inertia_


def test_a_stop_on_the_way_back_keeps_what_is_done() -> None:
    flag = StopFlag()

    def until_the_way_back(step: str, done: int, total: int | None) -> None:
        if step == "sweep, back" and done == 2:
            flag.set()

    rows, _ = groups(3, 2, n=40)
    swept = sweep(rows, k_max=12, thorough=True, progress=until_the_way_back, stop=flag)
    assert swept.k == tuple(range(1, 13))
    assert flag.is_set()
    assert (np.diff(swept.inertia) <= 0).all()


def test_criteria_agree_with_scikit_learn_and_by_hand() -> None:
    from sklearn.metrics import calinski_harabasz_score

    rows, _ = groups(4, 10, spread=2.0)
    swept = sweep(rows, k_max=6)
    assigned, _ = assign(rows, swept.centroids[3])
    expected = calinski_harabasz_score(rows, assigned)
    assert swept.calinski_harabasz[3] == pytest.approx(expected, rel=1e-2)
    every = np.sort(np.linalg.norm(rows[:, np.newaxis] - swept.centroids[3], axis=2), axis=1)
    by_hand = ((every[:, 1] - every[:, 0]) / every[:, 1]).mean()
    assert swept.simplified_silhouette[3] == pytest.approx(by_hand, rel=1e-4)
    assert np.isnan(swept.simplified_silhouette[0])
    assert int(np.argmax(swept.simplified_silhouette[1:])) + 2 == 4
    assert int(np.argmax(swept.bic)) + 1 == 4


def test_a_stopped_sweep_keeps_what_is_done() -> None:
    rows, _ = groups(5, 12)
    stop = StopFlag()
    seen: list[tuple[int, int | None]] = []

    def progress(step: str, done: int, total: int | None) -> None:
        seen.append((done, total))
        if done == 4:
            stop.set()

    swept = sweep(rows, k_max=30, progress=progress, stop=stop)
    assert swept.k == (1, 2, 3, 4)
    assert not swept.complete
    assert seen == [(done, 30) for done in range(5)]


def test_a_sweep_may_begin_anywhere() -> None:
    rows, _ = groups(8, 12)
    assert sweep(rows, k_min=6, k_max=9).k == (6, 7, 8, 9)


@pytest.mark.parametrize(
    ("n", "expected"), [(5, 5), (100, 100), (20_000, 100), (20_001, 141), (100_000, 316)]
)
def test_default_k_max(n: int, expected: int) -> None:
    assert default_k_max(n) == expected


def test_a_gpu_that_disagrees_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows, member = groups(4, 8, spread=30)
    asked: list[bool] = []
    honest = faiss_kmeans._train

    def train(vectors: Any, start: Any, *, iterations: int, seed: int, gpu: bool) -> Any:
        asked.append(gpu)
        centroids, objective = honest(vectors, start, iterations=iterations, seed=seed, gpu=False)
        if gpu:
            centroids[1:] = 1e6  # what the known failure looks like: one cluster takes it all
        return centroids, objective

    searched = faiss_kmeans.nearest
    monkeypatch.setattr(faiss_kmeans, "_train", train)
    monkeypatch.setattr(
        faiss_kmeans, "nearest", lambda rows, centres, count=1, gpu=False: searched(rows, centres)
    )
    with caplog.at_level(logging.WARNING):
        centroids, _ = faiss_kmeans.refine(rows, rows[:4], iterations=10, gpu=True)
    assert asked == [True, False]
    assert "one cluster holds 100%" in caplog.text
    assert np.isfinite(centroids).all()
    assert member.max() == 3


def test_a_gpu_that_agrees_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = groups(4, 8, spread=30)
    searched = faiss_kmeans.nearest
    monkeypatch.setattr(
        faiss_kmeans, "nearest", lambda rows, centres, count=1, gpu=False: searched(rows, centres)
    )
    centroids = fit(rows, 4).centroids
    assert faiss_kmeans.gpu_complaint(rows, centroids) is None
    assert faiss_kmeans.gpu_complaint(rows, np.full_like(centroids, np.nan)) is not None


def test_the_last_assignment_is_not_left_to_a_gpu_that_disagrees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitting = importlib.import_module("imgclust.clustering.kmeans")
    rows = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    searched = faiss_kmeans.nearest

    def nearest(rows: Any, centres: Any, *, count: int = 1, gpu: bool = False) -> Any:
        positions, squared = searched(rows, centres, count=count)
        return (positions * 0, squared * 0 + 5) if gpu else (positions, squared)

    monkeypatch.setattr(faiss_kmeans, "nearest", nearest)
    monkeypatch.setattr(fitting, "nearest", nearest)
    honest = fitting.settle(rows, rows[:5])
    there = fitting.settle(rows, rows[:5], gpu=True)
    np.testing.assert_array_equal(there[1], honest[1])


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu() -> None:
    if not faiss_gpus():
        pytest.skip("FAISS sees no GPU here")
    rows, member = groups(8, 2048, n=4000)
    here: Fit = fit(rows, 8)
    there: Fit = fit(rows, 8, gpu=True)
    assert there.inertia == pytest.approx(here.inertia, rel=1e-3)
    assert same_partition(there.assigned, member)

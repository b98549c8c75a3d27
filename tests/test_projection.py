"""PCA against scikit-learn, t-SNE of known groups, bytes, turns."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.errors import ClusteringError, StoppedError
from imgclust.progress import StopFlag
from imgclust.projection.half_white import projection_from_bytes
from imgclust.projection.pca import PcaProjection, align, fit_pca, refreshed
from imgclust.projection.tsne import TsneProjection, fit_tsne, nearby_others, nearest_others


def rows_of(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (random.standard_normal((n, d)) / np.sqrt(1 + np.arange(d)) + 0.5).astype(np.float32)


def groups(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((5, 60)) * 4
    member = random.integers(0, 5, n)
    return (centres[member] + random.standard_normal((n, 60))).astype(np.float32), member


def neighbours_agree(
    coordinates: NDArray[Any], member: NDArray[Any], others: NDArray[Any], theirs: NDArray[Any]
) -> float:
    """Share of rows whose nearest other row is of their own group."""
    far = np.linalg.norm(coordinates[:, np.newaxis] - others, axis=2)
    if others is coordinates:
        np.fill_diagonal(far, np.inf)
    return float((theirs[far.argmin(axis=1)] == member).mean())


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("n", [40, 500])
def test_pca_is_that_of_scikit_learn(n: int, standardise: bool) -> None:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rows = rows_of(n, 100)
    wide = rows.astype(np.float64)
    if standardise:
        wide = StandardScaler().fit_transform(wide)
    reference = PCA(8, svd_solver="full").fit(wide)
    found = fit_pca(rows, dims=8, standardise=standardise)
    expected = reference.transform(wide)
    got = found.transform(rows)
    signs = np.sign(np.einsum("ij,ij->j", expected, got))
    np.testing.assert_allclose(got * signs, expected, atol=2e-3)
    np.testing.assert_allclose(found.explained, reference.explained_variance_ratio_, rtol=1e-3)


def test_few_axes_of_many_hold_what_the_exact_ones_hold() -> None:
    """Random projections find them: 64 axes of data whose spectrum falls slowly."""
    from sklearn.decomposition import PCA

    random = np.random.default_rng(8)
    rows = random.standard_normal((700, 600)) / np.sqrt(np.arange(1, 601))
    rows = (rows @ np.linalg.qr(random.standard_normal((600, 600)))[0]).astype(np.float32)
    exact = PCA(64, svd_solver="full").fit(rows.astype(np.float64))
    found = fit_pca(rows, dims=64, seed=3)
    held = np.square(found.transform(rows), dtype=np.float64).sum() / (len(rows) - 1)
    assert held / exact.explained_variance_.sum() > 0.999
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(64), atol=1e-5)
    np.testing.assert_array_equal(fit_pca(rows, dims=64, seed=3).components, found.components)


@pytest.mark.parametrize(("n", "d"), [(60_000, 32), (24_000, 600)])
def test_pca_of_many_rows_makes_no_copy_of_them(n: int, d: int) -> None:
    rows = np.random.default_rng(4).random((n, d), np.float32)
    fit_pca(rows[:1000], dims=4)  # what is loaded then does not count
    tracemalloc.start()
    try:
        fit_pca(rows, dims=4, standardise=True, max_rows=n // 2).transform(rows[: n // 2])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < rows.nbytes * 0.75  # half of them are copied


def test_pca_keeps_its_width_where_the_rows_span_less() -> None:
    rows = rows_of(5, 30)
    found = fit_pca(rows, dims=10)
    assert found.transform(rows).shape == (5, 10)
    assert not found.components[4:].any()
    assert fit_pca(rows, dims=100).dims == 30
    one = fit_pca(rows[:1], dims=3)
    assert not one.transform(rows[:1]).any()
    alike = fit_pca(np.ones((20, 6), np.float32), dims=2)
    assert not alike.transform(np.ones((3, 6), np.float32)).any()
    assert found.transform(rows[:0]).shape == (0, 10)


@pytest.mark.parametrize("count", [1, 7, 450])
def test_axes_that_hold_everything_are_carried_on_exactly(count: int) -> None:
    """Rows that span ten axes: nothing lies across those, so nothing is forgotten."""
    random = np.random.default_rng(3)
    basis = np.linalg.qr(random.standard_normal((40, 10)))[0].T
    rows = (random.standard_normal((500 + count, 10)) * np.arange(10, 0, -1) + 2) @ basis
    rows = rows.astype(np.float32)
    first = fit_pca(rows[:500], dims=12)
    before = first.to_bytes()
    kept = projection_from_bytes(before)
    assert isinstance(kept, PcaProjection)
    found = refreshed(kept, rows[500:])
    whole = fit_pca(rows, dims=12)
    assert first.to_bytes() == before
    assert found.rows == len(rows)
    assert found.variances is not None
    np.testing.assert_allclose(found.mean, whole.mean, atol=1e-4)
    np.testing.assert_allclose(found.variances, rows.astype(np.float64).var(axis=0), rtol=1e-3)
    np.testing.assert_allclose(found.explained, whole.explained, atol=1e-4)
    assert found.explained[10:].max() < 1e-6
    there, here = found.transform(rows), whole.transform(rows)
    signs = np.sign(np.einsum("ij,ij->j", there, here))
    np.testing.assert_allclose(there * signs, here, atol=0.02)


def test_axes_carried_on_often_hold_what_a_new_fit_holds() -> None:
    """Half of the rows, of kinds that the first fit has not seen, come in twelve parts."""
    random = np.random.default_rng(4)
    centres = random.standard_normal((12, 150)) * 2
    rows = centres[np.repeat(np.arange(12), 100)]
    rows += random.standard_normal(rows.shape) / np.sqrt(np.arange(1, 151))
    rows = rows.astype(np.float32)
    found = fit_pca(rows[:600], dims=20)
    for start in range(600, 1200, 50):
        found = refreshed(found, rows[start : start + 50])
    held = [
        np.square(one.transform(rows), dtype=np.float64).sum()
        for one in (found, fit_pca(rows, dims=20))
    ]
    assert held[0] / held[1] > 0.995
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(20), atol=1e-5)


def test_what_cannot_be_carried_on() -> None:
    rows = rows_of(60, 20)
    found = fit_pca(rows, dims=4)
    assert refreshed(found, rows[:0]) is found
    still = align(found.transform(rows), found.transform(rows))
    for other in (fit_pca(rows, dims=4, standardise=True), found.turned(still)):
        with pytest.raises(ClusteringError, match="cannot be updated"):
            refreshed(other, rows)
    with pytest.raises(ClusteringError, match="cannot be projected"):
        refreshed(found, rows[:, :5])
    rows[3, 2] = np.nan
    with pytest.raises(ClusteringError, match="row 3"):
        refreshed(found, rows)


@pytest.mark.parametrize("standardise", [False, True])
def test_residuals_are_what_the_axes_leave_over(standardise: bool) -> None:
    rows = rows_of(80, 20)
    found = fit_pca(rows[:60], dims=5, standardise=standardise)
    scale = 1 if found.scale is None else found.scale
    back = found.transform(rows) @ found.components * scale + found.mean
    expected = np.linalg.norm((rows - back) / scale, axis=1)
    np.testing.assert_allclose(found.residuals(rows, found.transform(rows)), expected, rtol=1e-3)


def test_pca_survives_its_bytes() -> None:
    rows = rows_of(50, 20)
    for standardise in (False, True):
        found = fit_pca(rows, dims=4, standardise=standardise)
        again = projection_from_bytes(found.to_bytes())
        assert isinstance(again, PcaProjection)
        np.testing.assert_array_equal(again.transform(rows), found.transform(rows))
        assert found.to_bytes() == again.to_bytes()


@pytest.mark.parametrize("dims", [2, 3])
def test_tsne_keeps_groups_together_and_places_new_ones_in_them(dims: int) -> None:
    rows, member = groups(200)
    found = fit_tsne(rows, dims=dims)
    assert found.coordinates.shape == (200, dims)
    assert not found.placed.any()
    assert neighbours_agree(found.coordinates, member, found.coordinates, member) == 1
    fresh, theirs = groups(60, seed=7)
    placed = found.place(fresh)
    assert neighbours_agree(placed, theirs, found.coordinates, member) == 1
    np.testing.assert_allclose(found.place(rows), found.coordinates, atol=1e-2)


def test_a_row_with_neighbours_in_two_places_is_placed_in_one_of_them() -> None:
    rows, _ = groups(60)
    made = fit_tsne(rows)
    here = np.where(np.arange(60)[:, np.newaxis] % 3 == 0, [50.0, 0.0], [-50.0, 0.0])
    map_of_two = replace(made, coordinates=here.astype(np.float32))
    placed = map_of_two.place(groups(30, seed=3)[0])
    assert (np.abs(np.abs(placed[:, 0]) - 50) < 1).all()


def test_tsne_repeats_and_survives_its_bytes() -> None:
    rows, _ = groups(80)
    found = fit_tsne(rows, seed=3)
    np.testing.assert_array_equal(found.coordinates, fit_tsne(rows, seed=3).coordinates)
    again = projection_from_bytes(found.to_bytes())
    assert isinstance(again, TsneProjection)
    np.testing.assert_array_equal(again.place(rows[:9]), found.place(rows[:9]))
    np.testing.assert_array_equal(again.transform(rows[:9]), found.place(rows[:9]))


@pytest.mark.parametrize("n", [1, 2, 5, 8, 9, 20])
@pytest.mark.parametrize("dims", [2, 3])
def test_tsne_of_a_few_rows(n: int, dims: int) -> None:
    found = fit_tsne(rows_of(n, 64), dims=dims)
    assert found.coordinates.shape == (n, dims)
    assert np.isfinite(found.coordinates).all()
    assert np.isfinite(found.place(rows_of(3, 64, seed=5))).all()


def test_tsne_of_identical_rows_is_a_point() -> None:
    assert not fit_tsne(np.ones((30, 8), np.float32)).coordinates.any()


def test_tsne_with_many_duplicates_is_finite() -> None:
    rows = np.repeat(rows_of(20, 16), 10, axis=0)
    assert np.isfinite(fit_tsne(rows).coordinates).all()


def test_a_large_map_keeps_groups_together_and_repeats() -> None:
    rows, member = groups(300)
    told: list[tuple[int, int | None]] = []
    found = fit_tsne(
        rows, max_points=299, progress=lambda step, done, total: told.append((done, total))
    )
    assert told[-1] == (400, 400)
    assert not found.placed.any()
    assert neighbours_agree(found.coordinates, member, found.coordinates, member) == 1
    fresh, theirs = groups(60, seed=7)
    assert neighbours_agree(found.place(fresh), theirs, found.coordinates, member) == 1
    again = fit_tsne(rows, max_points=299)
    np.testing.assert_array_equal(again.coordinates, found.coordinates)
    assert (fit_tsne(rows, max_points=300).coordinates != found.coordinates).any()


def test_a_large_map_can_be_stopped_and_may_hold_duplicates() -> None:
    rows = np.repeat(rows_of(20, 16), 10, axis=0)
    assert np.isfinite(fit_tsne(rows, max_points=100).coordinates).all()
    stop = StopFlag()

    def stopping(step: str, done: int, total: int | None) -> None:
        if done:
            stop.set()

    with pytest.raises(StoppedError):
        fit_tsne(rows, max_points=100, progress=stopping, stop=stop)


def test_nearby_others_are_most_of_the_nearest_ones() -> None:
    rows = rows_of(1500, 20)
    far = np.linalg.norm(rows[:, np.newaxis] - rows, axis=2)
    np.fill_diagonal(far, np.inf)
    expected = np.argsort(far, axis=1)[:, :10]
    exact, apart = nearest_others(rows, 10)
    np.testing.assert_allclose(apart, np.take_along_axis(far, exact, axis=1), atol=1e-3)
    assert shared(exact, expected) > 0.999
    found, apart = nearby_others(rows, 10)
    np.testing.assert_allclose(apart, np.take_along_axis(far, found, axis=1), atol=1e-3)
    assert shared(found, expected) > 0.8


def shared(found: NDArray[Any], expected: NDArray[Any]) -> float:
    pairs = zip(found, expected, strict=True)
    return float(np.mean([len(np.intersect1d(*pair)) / expected.shape[1] for pair in pairs]))


def test_nearby_others_are_as_many_as_asked_even_far_from_all() -> None:
    rows = np.repeat(rows_of(40, 8) * 100, 2, axis=0)  # lists of two: eight hold too few
    found, apart = nearby_others(rows, 30)
    assert found.shape == apart.shape == (80, 30)
    assert found.min() >= 0
    assert not (found == np.arange(80)[:, np.newaxis]).any()
    assert all(len(set(row)) == 30 for row in found.tolist())


def test_a_map_of_a_sample_places_the_others() -> None:
    rows, member = groups(300)
    found = fit_tsne(rows, dims=3, max_points=150)
    assert int(found.placed.sum()) == 150
    placed, fitted = found.placed, ~found.placed
    agreement = neighbours_agree(
        found.coordinates[placed], member[placed], found.coordinates[fitted], member[fitted]
    )
    assert agreement == 1


def test_a_stop_ends_tsne() -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(StoppedError):
        fit_tsne(groups(60)[0], stop=stop)


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int | None]] = []
    fit_tsne(groups(60)[0], progress=lambda step, done, total: told.append((done, total)))
    assert told[0] == (0, 750)
    assert told[-1] == (750, 750)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_turn_undoes_rotation_mirror_and_shift(dims: int) -> None:
    random = np.random.default_rng(dims)
    old = random.standard_normal((40, dims))
    rotation = np.linalg.qr(random.standard_normal((dims, dims)))[0]
    rotation[:, 0] *= -np.sign(np.linalg.det(rotation))  # a mirror too
    new = old @ rotation + 7
    gaps = old.copy()
    gaps[::5] = np.nan
    np.testing.assert_allclose(align(new, gaps).apply(new), old, atol=1e-4)
    nothing = align(new, np.full_like(old, np.nan)).apply(new)
    np.testing.assert_allclose(nothing, new, rtol=1e-6)


@pytest.mark.parametrize("standardise", [False, True])
def test_turned_projections_give_turned_coordinates(standardise: bool) -> None:
    rows = rows_of(60, 20)
    pca = fit_pca(rows, dims=3, standardise=standardise)
    turn = align(pca.transform(rows), pca.transform(rows)[:, [1, 0, 2]] - 2)
    np.testing.assert_allclose(
        pca.turned(turn).transform(rows), turn.apply(pca.transform(rows)), atol=1e-4
    )
    tsne = fit_tsne(groups(60)[0])
    turn = align(tsne.coordinates, tsne.coordinates[:, ::-1] + 5)
    np.testing.assert_allclose(tsne.turned(turn).coordinates, turn.apply(tsne.coordinates))


def test_what_cannot_be_projected_is_refused() -> None:
    rows = rows_of(10, 6)
    rows[4, 1] = np.nan
    with pytest.raises(ClusteringError, match="row 4"):
        fit_pca(rows, dims=2)
    with pytest.raises(ClusteringError, match="row 4"):
        fit_tsne(rows)
    with pytest.raises(ClusteringError, match="2 or 3"):
        fit_tsne(rows[:3], dims=4)
    with pytest.raises(ClusteringError, match="dims = 0"):
        fit_pca(rows[:3], dims=0)
    with pytest.raises(ClusteringError, match="cannot be projected"):
        fit_pca(rows[:3], dims=2).transform(rows[:3, :4])


def test_bytes_that_are_no_projection_are_refused() -> None:
    blob = fit_pca(rows_of(10, 6), dims=2).to_bytes()
    pickled = io.BytesIO()
    np.savez(pickled, kind=np.array([{"a": 1}], dtype=object))
    for bad in (b"", b"nonsense", blob[: len(blob) // 2], pickled.getvalue()):
        with pytest.raises(ClusteringError, match="cannot be read"):
            projection_from_bytes(bad)
    newer = io.BytesIO()
    np.savez(newer, kind=np.array("pca"), format=np.array(99))
    with pytest.raises(ClusteringError, match="format 99"):
        projection_from_bytes(newer.getvalue())
    poor = io.BytesIO()
    np.savez(poor, kind=np.array("pca"), format=np.array(1))
    with pytest.raises(ClusteringError, match="lacks 'mean'"):
        projection_from_bytes(poor.getvalue())
    other = io.BytesIO()
    np.savez(other, kind=np.array("umap"), format=np.array(1))
    with pytest.raises(ClusteringError, match="unknown kind 'umap'"):
        projection_from_bytes(other.getvalue())

"""Half whitening: known answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.projection.half_white import HalfWhiteProjection, fit_half_white
from imgclust.projection.pca import unpacked


def spread(n: int, *deviations: float, seed: int = 0, dims: int = 12) -> NDArray[np.float32]:
    """Rows of exactly these standard deviations along hidden axes, about a mean of 5."""
    random = np.random.default_rng(seed)
    scores = random.standard_normal((n, len(deviations)))
    scores -= scores.mean(axis=0)
    scores = np.linalg.qr(scores)[0] * np.sqrt(n) * deviations
    axes = np.linalg.qr(random.standard_normal((dims, dims)))[0][:, : len(deviations)]
    return np.asarray(5 + scores @ axes.T, np.float32)


@pytest.mark.parametrize("n", [10, 400], ids=["by rows", "by values"])
def test_axes_are_divided_by_the_root_of_their_deviation(n: int) -> None:
    rows = spread(n, 4, 1, 0.25)
    found = fit_half_white(rows)
    assert found.dims == 3
    assert np.allclose(found.mean, rows.mean(axis=0), atol=1e-4)
    scores = (rows - found.mean) @ found.axes.T
    assert np.allclose(scores.std(axis=0), [2, 1, 0.5], rtol=1e-3)
    assert np.allclose(np.linalg.norm(found.axes, axis=1), [0.5, 1, 2], rtol=1e-3)


def test_rows_get_unit_length_and_the_mean_stays_zero() -> None:
    rows = spread(50, 3, 2, 1)
    found = fit_half_white(rows)
    placed = found.transform(rows)
    assert placed.dtype == np.float32
    assert np.allclose(np.linalg.norm(placed, axis=1), 1, atol=1e-5)
    assert not found.transform(found.mean[np.newaxis]).any()
    assert found.transform(np.empty((0, 12), np.float32)).shape == (0, 3)


def test_an_axis_without_variance_is_dropped() -> None:
    assert fit_half_white(spread(60, 2, 1)).dims == 2
    assert fit_half_white(spread(8, 2, 1)).dims == 2


@pytest.mark.parametrize(("n", "axes"), [(1, 1), (2, 1), (5, 2), (20, 10), (50, 12)])
def test_at_most_half_as_many_axes_as_rows(n: int, axes: int) -> None:
    rows = np.random.default_rng(0).standard_normal((n, 12)).astype(np.float32)
    found = fit_half_white(rows)
    assert found.dims == axes
    placed = found.transform(rows)
    assert np.isfinite(placed).all()
    if n == 1:
        assert not placed.any()


def test_equal_rows_become_zeros() -> None:
    rows = np.full((20, 6), 0.3, np.float32)
    assert not fit_half_white(rows).transform(rows).any()


def test_only_the_rows_that_count_are_fitted() -> None:
    random = np.random.default_rng(0)
    rows = spread(200, 3, 2, 1)
    flood = np.repeat(rows[:1] + 20 * np.eye(1, 12, 3), 900, axis=0)
    flood += 0.01 * random.standard_normal(flood.shape)
    both = np.concatenate([rows, flood]).astype(np.float32)
    alone, beside = fit_half_white(rows), fit_half_white(both, rows=np.arange(200))
    assert np.array_equal(alone.axes, beside.axes)
    assert beside.rows == 200


def test_a_sample_of_many_rows_has_nearly_the_same_axes() -> None:
    rows = spread(4000, 4, 2, 1)
    whole, sample = fit_half_white(rows), fit_half_white(rows, max_rows=2000)
    assert sample.rows == 2000
    assert np.allclose(
        np.abs(whole.axes @ sample.axes.T) / np.sum(whole.axes**2, axis=1), np.eye(3), atol=0.1
    )


def test_it_survives_being_stored() -> None:
    found = fit_half_white(spread(50, 3, 2, 1))
    kind, arrays = unpacked(found.to_bytes())
    again = HalfWhiteProjection.of(arrays)
    assert kind == "half_white"
    assert np.array_equal(again.axes, found.axes)
    assert np.array_equal(again.mean, found.mean)
    assert again.rows == 50


def test_what_is_refused() -> None:
    rows = spread(5, 1)
    with pytest.raises(ClusteringError, match="dims"):
        fit_half_white(rows, dims=0)
    with pytest.raises(ClusteringError, match="no row counts"):
        fit_half_white(rows, rows=np.empty(0, np.int64))
    with pytest.raises(ClusteringError, match="NaN"):
        fit_half_white(np.full((3, 2), np.nan))

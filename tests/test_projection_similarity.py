"""Similarity of embeddings: known answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.errors import ClusteringError
from imgclust.projection.half_white import (
    HalfWhiteProjection,
    SimilarityProjection,
    fit_half_white,
    fit_similarity,
)
from imgclust.projection.half_white import similarity_from_bytes as from_bytes

Rows = NDArray[np.float32]


def around_a_mean(n: int, dims: int = 40, seed: int = 0) -> Rows:
    """Rows of unit length with wide and narrow axes, far from the origin."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, dims)) * np.linspace(2, 0.2, dims) + 3
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def by_hand(rows: Rows, axes: int) -> NDArray[np.float64]:
    """Similarities of all pairs, by a singular value decomposition in double precision."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    deviations = lengths[:axes] / np.sqrt(len(rows))
    scores = centred @ directions[:axes].T / np.sqrt(deviations)
    scores /= np.linalg.norm(scores, axis=1, keepdims=True)
    return np.asarray(scores @ scores.T)


@pytest.mark.parametrize(("n", "axes"), [(20, 5), (60, 15), (400, 40)])
def test_similarity_is_the_cosine_after_half_whitening(n: int, axes: int) -> None:
    rows = around_a_mean(n)
    found = fit_similarity(rows)
    assert found.half.dims == axes  # one for each four rows, and no more than there are
    expected = by_hand(rows, axes)
    assert found.similarities(rows[:1], rows) == pytest.approx(expected[0], abs=2e-3)
    assert found.similarities(rows[1:], rows[:-1]) == pytest.approx(
        np.diagonal(expected, 1), abs=2e-3
    )
    assert found.similarities(rows[:1], rows[:1])[0] == 1


@pytest.mark.parametrize("n", [20, 60, 245, 700])
def test_rarity_says_no_more_than_the_pairs_show(n: int) -> None:
    rows = around_a_mean(n)
    found = fit_similarity(rows)
    pairs = by_hand(rows, found.half.dims)[np.triu_indices(n, 1)]
    said = found.rarities(pairs.astype(np.float32))
    # Ten pairs or more stand behind each number.
    supported = [
        one
        for one in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
        if one * 10 <= len(pairs)
    ]
    assert said.max() == supported[-1]
    assert set(said.tolist()) == {1, *supported}
    for rarity in supported:
        share = float((said >= rarity).mean())
        assert share == pytest.approx(1 / rarity, abs=0.1 / rarity + 2 / len(pairs))
    assert found.rarities(np.array([1, -1], np.float32)).tolist() == [supported[-1], 1]


def test_an_image_at_the_mean_is_similar_to_nothing() -> None:
    half = HalfWhiteProjection(np.ones(3, np.float32), np.eye(3, dtype=np.float32)[:2])
    found = SimilarityProjection(half, np.array([0.5, 0.9], np.float32))
    rows = np.array([[1, 1, 1], [2, 1, 1], [2, 2, 7], [0, 1, 5]], np.float32)
    assert found.similarities(rows[:1], rows).tolist() == [0, 0, 0, 0]
    likenesses = found.similarities(rows[1:2], rows)
    assert likenesses.tolist() == pytest.approx([0, 1, 0.5**0.5, -1], abs=1e-6)
    assert found.rarities(likenesses).tolist() == [1, 5, 2, 1]


def test_too_few_images_have_no_similarity() -> None:
    with pytest.raises(ClusteringError, match="19 images are too few"):
        fit_similarity(around_a_mean(19))


def test_it_is_read_as_it_was_written() -> None:
    rows = around_a_mean(120)
    found = fit_similarity(rows)
    again = from_bytes(found.to_bytes())
    assert (again.half.axes == found.half.axes).all()
    assert (again.limits == found.limits).all()
    assert (again.similarities(rows[:1], rows) == found.similarities(rows[:1], rows)).all()
    for damaged in (b"", b"nothing", found.half.to_bytes(), found.to_bytes()[:-40]):
        with pytest.raises(ClusteringError):
            from_bytes(damaged)


@pytest.mark.parametrize("count", [30, 200, 900])
def test_axes_that_are_at_hand_serve_as_those_that_are_fitted(count: int) -> None:
    rows = around_a_mean(count, dims=300)
    chosen = np.arange(0, count, 1 if count < 100 else 2)
    fitted = fit_similarity(rows, rows=chosen, seed=3)
    served = fit_similarity(rows, rows=chosen, half=fit_half_white(rows, rows=chosen), seed=3)
    apart = fit_similarity(rows[chosen], seed=3)
    assert served.half.dims == fitted.half.dims == len(chosen) // 4
    assert fitted.to_bytes() == apart.to_bytes()
    pairs = rows[:-1], rows[1:]
    assert served.similarities(*pairs) == pytest.approx(fitted.similarities(*pairs), abs=2e-3)
    assert served.limits == pytest.approx(fitted.limits, abs=2e-3)

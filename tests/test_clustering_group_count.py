"""How many groups: the right number where it is known, none in noise, the same in any order."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.group_count import estimate_group_count
from imgclust.errors import ClusteringError


def separated(k: int, d: int, seed: int) -> NDArray[np.float32]:
    """Gaussian groups of unit variance that do not touch."""
    random = np.random.default_rng(seed)
    member = np.repeat(np.arange(k), random.integers(30, 60, k))
    rows = max(2, 24 / np.sqrt(d)) * random.standard_normal((k, d))[member]
    return np.asarray(rows + random.standard_normal((len(member), d)), np.float32)


def keys(n: int) -> NDArray[np.int64]:
    return np.random.default_rng(7).permutation(n)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("d", [16, 400])
@pytest.mark.parametrize("k", [3, 8])
def test_separated_groups_are_counted(k: int, d: int, seed: int) -> None:
    rows = separated(k, d, seed)
    found = estimate_group_count(rows, keys(len(rows)), seed=seed)
    assert found.k == k
    assert found.ratio == found.ratios[k - 1] == max(found.ratios)


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "correlated"])
@pytest.mark.parametrize("d", [2, 16, 300])
def test_noise_has_no_clear_structure(kind: str, d: int) -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(0, 1, (200, d))
    if kind != "uniform":
        rows = random.standard_normal((200, d))
    if kind == "correlated":
        rows = rows @ random.standard_normal((d, d))
    found = estimate_group_count(rows, keys(200))
    assert found.k is None
    assert found.ratio < 1.25


def test_the_order_of_rows_does_not_matter() -> None:
    rows, given = separated(5, 16, 3), keys(5000)
    given = given[: len(rows)]
    order = np.random.default_rng(1).permutation(len(rows))
    assert estimate_group_count(rows[order], given[order]) == estimate_group_count(rows, given)


@pytest.mark.parametrize("n", [1, 2, 19])
def test_few_rows_have_no_structure(n: int) -> None:
    found = estimate_group_count(separated(1, 16, 0)[:n], keys(n))
    assert (found.k, found.ratio) == (None, 1.0)


def test_equal_rows_have_no_structure() -> None:
    assert estimate_group_count(np.ones((50, 8)), keys(50)).k is None
    assert estimate_group_count(np.zeros((50, 8)), keys(50)).k is None


def test_only_a_clear_gain_changes_the_number() -> None:
    rows = separated(8, 16, 0)
    found = estimate_group_count(rows, keys(len(rows)))
    assert found.clearly_better(3)
    assert not found.clearly_better(8)
    noise = estimate_group_count(np.random.default_rng(0).standard_normal((200, 5)), keys(200))
    assert not noise.clearly_better(4)


def test_what_is_refused() -> None:
    with pytest.raises(ClusteringError, match="keys"):
        estimate_group_count(np.ones((5, 2)), keys(4))
    with pytest.raises(ClusteringError, match="NaN"):
        estimate_group_count(np.full((50, 2), np.nan), keys(50))

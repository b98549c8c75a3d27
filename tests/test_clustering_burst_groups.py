"""Burst groups: near copies together, whatever batches they come in."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.burst_groups import burst_rule, group_bursts, sampled_rule
from imgclust.errors import ClusteringError


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    found = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(found, np.float32)


def plane(*degrees: float) -> NDArray[np.float32]:
    """Unit vectors of two values at these angles."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def bursts(seed: int = 0, dims: int = 300) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Mixed rows of 40 series of one to 30 frames, and the series of each."""
    random = np.random.default_rng(seed)
    member = random.permutation(np.repeat(np.arange(40), random.integers(1, 31, 40)))
    centres = 0.3 * random.standard_normal((40, dims)) + 1
    rows = centres[member] + 0.02 * random.standard_normal((len(member), dims))
    return unit(rows), member


def test_frames_of_a_series_are_one_group_and_its_first_stands_for_it() -> None:
    rows, member = bursts()
    found = group_bursts(rows, bounds=0.99)
    first = np.array([np.flatnonzero(member == series)[0] for series in range(40)])
    assert np.array_equal(found, first[member])


def by_hand(rows: NDArray[np.float32], least: NDArray[np.float64]) -> NDArray[np.int64]:
    """The definition, row by row."""
    cosines = rows.astype(np.float64) @ rows.T.astype(np.float64)
    found = np.arange(len(rows))
    standing = np.zeros(len(rows), np.bool_)
    for row in range(len(rows)):
        there = np.where(standing[:row], cosines[row, :row], -np.inf)
        if there.max(initial=-np.inf) >= least[row]:
            found[row] = there.argmax()
        standing[row] = found[row] == row
    return found


@pytest.mark.parametrize("kind", ["apart", "series", "flood"])
def test_it_is_the_definition_for_many_rows(kind: str) -> None:
    random = np.random.default_rng(2)
    count = {"apart": 3000, "series": 900, "flood": 600}[kind]
    scenes = 1 + 0.4 * random.standard_normal((count, 60))
    member = np.arange(count) if kind == "apart" else random.integers(0, count, 3000)
    if kind == "flood":
        member[random.random(3000) < 0.6] = 0
    rows = unit(scenes[member] + 0.06 * random.standard_normal((len(member), 60)))
    least = random.choice([0.98, 0.985, 0.99, 0.995], len(rows))
    found = group_bursts(rows, bounds=least)
    assert np.array_equal(found, by_hand(rows, least))
    groups = len(np.unique(found))
    assert groups == 3000 if kind == "apart" else 300 < groups < 2500


def test_a_long_series_does_not_chain_beyond_the_bound() -> None:
    bound = float(np.cos(np.radians(5)))
    rows = plane(*range(0, 90, 2))
    found = group_bursts(rows, bounds=bound - 1e-6)
    assert found[:6].tolist() == [0, 0, 0, 3, 3, 3]
    assert np.einsum("ij,ij->i", rows, rows[found]).min() >= bound - 1e-5


def test_a_row_joins_the_most_similar_of_the_representatives_before_it() -> None:
    bound = float(np.cos(np.radians(10.5)))
    # 10 degrees are within the bound of both 0 and 16, and nearer to 16.
    assert group_bursts(plane(0, 16, 10), bounds=bound).tolist() == [0, 1, 1]
    assert group_bursts(plane(0, 10, 16), bounds=bound).tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("size", "first", "last"),
    [(1, 0, 30), (1, 300, 330), (7, 900, 1100), (100, 0, 1500), (1024, 0, 1500)],
)
def test_batches_make_no_difference(size: int, first: int, last: int) -> None:
    random = np.random.default_rng(3)
    # Neighbours at all distances: many cosines lie about the bound.
    rows = unit(1 + 0.1 * np.cumsum(random.standard_normal((1500, 200)), axis=0) ** 1)
    whole = group_bursts(rows, bounds=0.985)
    assert 5 < len(np.unique(whole)) < 1400
    found = whole[:first]
    for start in range(first, last, size):
        until = min(start + size, last)
        found = group_bursts(rows[:until], bounds=0.985, known=found)
    assert np.array_equal(found, whole[: len(found)])


def test_rows_without_their_representative_make_groups_among_themselves() -> None:
    rows, member = bursts()
    found = group_bursts(rows, bounds=0.99)
    series = member[0]
    kept = np.arange(1, len(rows))  # the representative of the first series leaves
    known = np.where(found[kept] == 0, -1, found[kept] - 1)
    again = group_bursts(rows[kept], bounds=0.99, known=known)
    own = member[kept] == series
    assert own.sum() > 1
    assert set(again[own].tolist()) == {int(np.flatnonzero(own)[0])}
    assert np.array_equal(again[~own], known[~own])


def test_few_and_equal_rows() -> None:
    assert group_bursts(plane(0), bounds=0.99).tolist() == [0]
    assert group_bursts(np.repeat(plane(30), 5, axis=0), bounds=0.99).tolist() == [0] * 5
    zeros = np.zeros((3, 4), np.float32)
    assert group_bursts(zeros, bounds=0.99).tolist() == [0, 1, 2]


def test_what_is_refused() -> None:
    with pytest.raises(ClusteringError, match="not a cosine"):
        group_bursts(plane(0, 1), bounds=2)
    with pytest.raises(ClusteringError, match="no representative"):
        group_bursts(plane(0, 1, 2), bounds=0.99, known=np.array([1, 2]))


def test_the_bound_follows_how_alike_different_rows_are() -> None:
    random = np.random.default_rng(0)
    wide = unit(1 + 0.5 * random.standard_normal((400, 300)))
    narrow = unit(1 + 0.16 * random.standard_normal((400, 300)))
    assert np.allclose(burst_rule(wide).bounds(wide), 0.98)
    bounds = burst_rule(narrow).bounds(narrow)
    assert 0.985 < bounds.min() <= bounds.max() < 1
    assert len(np.unique(group_bursts(narrow, bounds=bounds))) == 400


def test_the_rule_of_a_sample_is_made_once() -> None:
    rows, _ = bursts()
    rule = sampled_rule(rows)
    assert np.array_equal(rule.bounds(rows), burst_rule(rows).bounds(rows))
    assert sampled_rule(rows.copy()) is rule
    others = rows[::-1].copy()
    assert sampled_rule(others) is not rule
    assert np.array_equal(sampled_rule(others).bounds(rows), burst_rule(others).bounds(rows))


def test_a_flood_moves_nobodys_bound() -> None:
    random = np.random.default_rng(0)
    narrow = unit(1 + 0.16 * random.standard_normal((300, 300)))
    scene = 1 + 0.5 * random.standard_normal(300)
    flood = unit(scene + 0.05 * random.standard_normal((1000, 300)))
    both = np.concatenate([narrow, flood])[random.permutation(1300)]
    rule = burst_rule(both)
    assert rule.bounds(narrow).min() > 0.985
    assert np.allclose(rule.bounds(flood), 0.98)
    assert len(np.unique(group_bursts(both, bounds=rule.bounds(both)))) == 301


def test_one_narrow_kind_does_not_become_one_group() -> None:
    random = np.random.default_rng(0)
    alike = unit(1 + 0.05 * random.standard_normal((100, 300)))  # cosines of .997
    bounds = burst_rule(alike).bounds(alike)
    assert len(np.unique(group_bursts(alike, bounds=bounds))) > 50

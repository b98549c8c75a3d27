"""What arrivals change: new groups are found, clusters that have met too, and chance is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.arrived_groups import met_clusters, neighbours_among, new_groups

DIMS = 30
Rows = NDArray[np.float32]


def group(random: np.random.Generator, place: int, count: int, width: float = 0.5) -> Any:
    """Rows around one of several orthogonal places."""
    return np.eye(DIMS)[place] * 4 + random.standard_normal((count, DIMS)) * width


def unit(rows: Any) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_neighbours_are_the_nearest_others() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((2_300, 12)))
    rows[7] = rows[3]
    found = neighbours_among(rows, 5)
    products = rows @ rows.T
    np.fill_diagonal(products, -2)
    expected = np.sort(products, axis=1)[:, ::-1][:, :5]
    assert np.allclose(np.take_along_axis(products, found, axis=1), expected, atol=1e-5)
    assert not (found == np.arange(len(rows))[:, np.newaxis]).any()
    assert neighbours_among(rows[:3], 5).shape == (3, 2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [20, 100])
def test_a_new_group_is_found_whole_and_nothing_else(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    old = [group(random, place, 60) for place in range(6)]
    more = [group(random, place, 15) for place in range(6)]
    new = group(random, 9, size)
    rows = unit(np.concatenate([*old, *more, new]))
    arrived = np.arange(len(rows)) >= 360
    (found,) = new_groups(rows, arrived, seed=seed)
    truth = np.arange(450, 450 + size)
    assert len(np.intersect1d(found, truth)) >= 0.9 * size
    assert len(np.setdiff1d(found, truth)) <= 0.1 * size


def test_two_new_groups_are_two() -> None:
    random = np.random.default_rng(5)
    rows = unit(
        np.concatenate(
            [
                *(group(random, place, 60) for place in range(6)),
                group(random, 9, 50),
                group(random, 12, 30),
            ]
        )
    )
    found = new_groups(rows, np.arange(len(rows)) >= 360)
    assert [len(one) for one in found] == pytest.approx([50, 30], abs=4)
    assert (found[0] < 410).mean() > 0.9


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("shape", ["groups", "noise"])
def test_arrivals_of_the_same_kind_are_no_group(share: float, shape: str) -> None:
    """In 95 of 100 draws or more."""
    alarms = 0
    for seed in range(34):
        random = np.random.default_rng(seed)
        rows = (
            np.concatenate([group(random, place, 30) for place in range(6)])
            if shape == "groups"
            else random.standard_normal((180, DIMS)) * np.linspace(2, 0.2, DIMS)
        )
        arrived = random.permutation(180) < share * 180
        owners = np.repeat(np.arange(6), 30)
        alarms += bool(new_groups(unit(rows), arrived, seed=seed))
        alarms += bool(met_clusters(unit(rows), arrived, owners))
    assert alarms <= 1


@pytest.mark.parametrize("arrivals", [0, 5, 14, 120])
def test_nothing_is_new_where_nothing_or_all_came(arrivals: int) -> None:
    rows = unit(np.random.default_rng(0).standard_normal((120, DIMS)))
    assert new_groups(rows, np.arange(120) < arrivals) == []
    assert new_groups(rows[:0], np.empty(0, np.bool_)) == []


def between(random: np.random.Generator, count: int) -> Any:
    """Rows on the way from the first place to the second."""
    share = random.uniform(0, 1, (count, 1))
    places = np.eye(DIMS)[:2] * 4
    return places[0] * (1 - share) + places[1] * share + random.standard_normal((count, DIMS)) * 0.5


@pytest.mark.parametrize("seed", range(6))
def test_clusters_meet_when_arrivals_fill_the_gap(seed: int) -> None:
    random = np.random.default_rng(seed)
    old = np.concatenate([group(random, place, 50) for place in range(6)])
    came = between(random, 220)
    rows = unit(np.concatenate([old, came]))
    arrived = np.arange(len(rows)) >= 300
    centres = np.eye(DIMS)[:2]
    owners = np.concatenate([np.repeat(np.arange(6), 50), (came @ centres.T).argmax(axis=1)]) + 11
    assert met_clusters(rows, arrived, owners) == [(11, 12)]
    few = np.concatenate([np.arange(300), np.arange(300, 312)])
    assert met_clusters(rows[few], arrived[few], owners[few]) == []
    # What always lay side by side has not met.
    assert met_clusters(rows, random.permutation(arrived), owners) == []

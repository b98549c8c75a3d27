"""Constraints of a fit: what is given stays, what is free goes where k-means has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.constraints import (
    Constraints,
    Demands,
    UnsatisfiableError,
    can_be_satisfied,
    constrained_fit,
    contracted,
    is_nowhere,
    nowhere,
    satisfied,
    smallest_conflict,
)
from imgclust.clustering.faiss_kmeans import refine
from imgclust.clustering.id_map import match
from imgclust.clustering.kmeans import fit, settle
from imgclust.errors import ClusteringError

NONE: NDArray[np.float32] = np.empty((0, 2), np.float32)


def blobs(*centres: tuple[float, float], each: int = 30, seed: int = 0) -> NDArray[np.float32]:
    """`each` rows around each centre, one centre after the other."""
    random = np.random.default_rng(seed)
    rows = [np.array(centre) + random.normal(0, 0.1, (each, 2)) for centre in centres]
    return np.concatenate(rows).astype(np.float32)


def free(n: int) -> NDArray[np.int32]:
    return np.full(n, -1, np.int32)


def test_which_contents_are_given() -> None:
    held = Constraints(np.array([3, 5, 9]), np.array([7, 2, 7]), (2, 4, 7))
    assert held.given(np.array([1, 3, 4, 5, 9, 10])).tolist() == [-1, 2, -1, 0, 2, -1]
    assert Constraints.none().given(np.array([1, 2])).tolist() == [-1, -1]
    with pytest.raises(ClusteringError, match="not kept"):
        Constraints(np.array([3]), np.array([8]), (2, 7))
    with pytest.raises(ClusteringError, match="length"):
        Constraints(np.array([3]), np.array([2, 7]), (2, 7))


def test_without_constraints_it_is_plain_k_means() -> None:
    rows = blobs((0, 0), (5, 0), (0, 5), (5, 5))
    plain = fit(rows, 4, seed=3)
    same = constrained_fit(rows, 4, given=free(len(rows)), anchors=NONE, seed=3)
    assert np.array_equal(plain.centroids, same.centroids)
    assert np.array_equal(plain.assigned, same.assigned)
    assert plain.inertia == same.inertia


def test_given_rows_stay_and_their_centroid_is_their_mean() -> None:
    rows = blobs((0, 0), (5, 0), (0, 5), (5, 5))
    given = free(len(rows))
    given[:10] = 0  # a third of one group
    given[[35, 65]] = 1  # one row of the second group and one of the third
    for seed in range(5):
        done = constrained_fit(rows, 5, given=given, anchors=np.zeros((2, 2)), seed=seed)
        assert done.k == 5
        assert (done.assigned[:10] == 0).all()
        assert (done.assigned[[35, 65]] == 1).all()
        assert done.centroids[0] == pytest.approx(rows[:10].mean(axis=0), abs=1e-6)
        assert done.centroids[1] == pytest.approx(rows[[35, 65]].mean(axis=0), abs=1e-6)
        # The rest of the first group joins it, the other three groups are one cluster each.
        assert (done.assigned[10:30] == 0).all()
        parts = [
            set(done.assigned[start : start + 30][given[start : start + 30] < 0])
            for start in (30, 60, 90)
        ]
        assert all(len(one) == 1 for one in parts)
        assert set().union(*parts) == {2, 3, 4}


def test_every_free_row_is_at_the_nearest_centroid_and_the_inertia_is_theirs() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(300, 5)).astype(np.float32)
    given = free(300)
    given[:20], given[20:25] = 0, 1
    done = constrained_fit(rows, 9, given=given, anchors=np.zeros((2, 5)), seed=0)
    apart = ((rows[:, np.newaxis].astype(np.float64) - done.centroids) ** 2).sum(axis=2)
    assert np.array_equal(done.assigned[25:], apart[25:].argmin(axis=1))
    own = apart[np.arange(300), done.assigned]
    assert done.inertia == pytest.approx(own.sum(), rel=1e-6)
    assert done.distances == pytest.approx(np.sqrt(own), rel=1e-4)
    for cluster in range(2, 9):  # a free cluster is the mean of its rows, as far as Lloyd went
        members = rows[done.assigned == cluster]
        assert len(members)
        assert done.centroids[cluster] == pytest.approx(members.mean(axis=0), abs=0.15)


def test_the_objective_does_not_increase() -> None:
    rows = np.random.default_rng(2).normal(size=(500, 8)).astype(np.float32)
    start = rows[:12].copy()
    moved, objective = refine(rows, start, iterations=25, fixed=4)
    assert np.array_equal(moved[:4], start[:4])
    assert not np.array_equal(moved[4:], start[4:])
    assert (np.diff(objective) <= 1e-3).all()
    assert objective[-1] < 0.95 * objective[0]


def test_an_optimum_that_can_be_counted() -> None:
    rows = np.array([[0], [1], [10], [11], [20], [21]], np.float32)
    given = free(6)
    given[:1] = 0
    for seed in range(10):
        done = constrained_fit(rows, 3, given=given, anchors=np.zeros((1, 1)), seed=seed)
        # The given row and 1 to its right: (1 - 0)^2; two pairs: 2 * 2 * 0.5^2.
        assert done.inertia == pytest.approx(2.0)
        assert done.centroids[0].tolist() == [0.0]
        assert done.assigned[:2].tolist() == [0, 0]


def test_k_of_the_given_ones_alone() -> None:
    rows = blobs((0, 0), (5, 0), (0, 5))
    given = free(len(rows))
    given[:5], given[30:35] = 0, 1
    done = constrained_fit(rows, 2, given=given, anchors=np.zeros((2, 2)))
    assert done.k == 2
    assert set(done.assigned[:30]) == {0}
    assert set(done.assigned[30:60]) == {1}
    with pytest.raises(ClusteringError, match="less than the 2 clusters"):
        constrained_fit(rows, 1, given=given, anchors=np.zeros((2, 2)))
    with pytest.raises(ClusteringError, match="do not fit"):
        constrained_fit(rows, 4, given=given[:7], anchors=np.zeros((2, 2)))


def test_nothing_is_free() -> None:
    rows = blobs((0, 0), (5, 0))
    given = np.repeat(np.array([0, 1], np.int32), 30)
    done = constrained_fit(rows, 7, given=given, anchors=np.zeros((2, 2)))
    assert done.k == 2
    assert np.array_equal(done.assigned, given)
    assert done.notes == ("k reduced from 7 to 2: there are no other images",)


def test_free_rows_that_are_all_alike() -> None:
    rows = np.array([[0, 0], [1, 0], [5, 5], [5, 5], [5, 5]], np.float32)
    given = np.array([0, 0, -1, -1, -1], np.int32)
    done = constrained_fit(rows, 4, given=given, anchors=np.zeros((1, 2)))
    assert done.assigned.tolist() == [0, 0, 1, 1, 1]
    assert done.notes == ("k reduced from 4 to 2: no more distinct embeddings",)
    where = np.array([[0.5, 0], [0.5, 0], [0, 0], [1, 0]], np.float32)
    given = np.array([-1, -1, 0, 0], np.int32)
    done = constrained_fit(where, 3, given=given, anchors=np.zeros((1, 2)))
    assert (done.k, done.assigned.tolist()) == (1, [0, 0, 0, 0])  # they lie on its centroid


def test_a_cluster_without_members_lies_at_its_anchor_or_nowhere() -> None:
    rows = blobs((0, 0), (5, 0), (0, 5))
    anchors = np.array([[5, 0], nowhere(2)], np.float32)
    assert is_nowhere(nowhere(2048))
    assert not is_nowhere(np.array([300.0, -200.0]))
    for given in (free(90), np.repeat(np.array([2, -1, -1], np.int32), 30)):
        held = np.concatenate([anchors, np.zeros((int(given.max() == 2), 2))])
        done = constrained_fit(rows, 5, given=given, anchors=held.astype(np.float32))
        assert np.array_equal(done.centroids[:2], anchors)  # left to what arrives
        assert set(done.assigned) == {2, 3, 4}
        assert done.inertia == pytest.approx(fit(rows, 3).inertia)
    # Where everything has to join it, it comes to lie somewhere.
    done = constrained_fit(rows, 1, given=free(90), anchors=nowhere(2)[np.newaxis])
    assert done.centroids[0] == pytest.approx(rows.mean(axis=0), abs=1e-6)


def test_fixed_centroids_may_stay_empty_and_others_may_not() -> None:
    rows = blobs((0, 0), (5, 0))
    centroids = np.array([[90, 90], [0, 0], [80, 80]], np.float32)
    settled, assigned, _ = settle(rows, centroids, fixed=1)
    assert len(settled) == 3
    assert np.array_equal(settled[0], centroids[0])
    assert set(assigned) == {1, 2}


def test_groups_that_a_poor_start_would_miss_are_found_beside_given_clusters() -> None:
    centres = [(float(x), float(y)) for x in range(0, 40, 10) for y in range(0, 40, 10)]
    rows = blobs(*centres, each=20)
    given = free(len(rows))
    given[:20], given[20:25] = 0, 1
    for seed in range(8):
        done = constrained_fit(rows, 16, given=given, anchors=np.zeros((2, 2)), seed=seed)
        groups = done.assigned.reshape(16, 20)
        assert all(len(set(group)) == 1 for group in groups)
        assert len(set(groups[:, 0])) == 16


def test_pinned_clusters_keep_their_id_whatever_they_share() -> None:
    old = np.array([7, 7, 7, 7, 3, 3, 5, 5])
    new = np.array([1, 1, 1, 0, 2, 2, 2, 2])
    # Freely, the new cluster 1 would be 7; pinned, 0 is, and 1 gets an id never used before.
    assert match(old, new, k=3, next_id=9).ids[1] == 7
    found = match(old, new, k=3, next_id=9, pinned=(7,))
    assert (found.ids, found.new, found.gone) == ((7, 9, 3), (9,), (5,))
    assert found.kept == ((3, 2, 0.5), (7, 1, 0.25))
    assert found.moved == 5
    empty = match(np.array([3]), np.array([1]), k=2, next_id=9, pinned=(8,))
    assert (empty.ids, empty.kept) == ((8, 3), ((3, 1, 1.0), (8, 0, 1.0)))


# Demands: rows that have to be somewhere, together or apart


def demands(
    n: int, *, together: Any = (), fixed: Any = None, barred: Any = (), apart: Any = ()
) -> Demands:
    group = np.arange(n)
    for one, other in together:
        group[group == group[other]] = group[one]
    places = np.full(n, -1, np.int32)
    for row, place in (fixed or {}).items():
        places[row] = place
    return Demands(group, places, tuple(barred), tuple(apart))


LINE = np.array([[0.0], [1.0], [10.0], [11.0]], np.float32)
TWO = np.array([[0.5], [10.5]], np.float32)
THREE = np.array([[0.5], [10.5], [4.0]], np.float32)


@pytest.mark.parametrize(
    ("wanted", "centroids", "expected"),
    [
        (demands(4), TWO, [0, 0, 1, 1]),
        (demands(4, fixed={0: 1}), TWO, [1, 0, 1, 1]),
        (demands(4, barred=[(0, 0)]), TWO, [1, 0, 1, 1]),
        (demands(4, barred=[(0, 0)]), THREE, [2, 0, 1, 1]),
        (demands(4, apart=[(0, 1)]), THREE, [0, 2, 1, 1]),
        # Rows 1 and 2 are one point at 5.5, which is nearest to the third centroid.
        (demands(4, together=[(1, 2)]), THREE, [0, 2, 2, 1]),
        (demands(4, together=[(1, 2)], fixed={2: 1}), THREE, [0, 1, 1, 1]),
        (demands(4, together=[(0, 1)], apart=[(1, 2)], fixed={2: 0}), TWO, [1, 1, 0, 1]),
        (demands(4, together=[(0, 1), (1, 2)], barred=[(2, 0)]), TWO, [1, 1, 1, 1]),
        # A cycle of three that have to be apart in three clusters.
        (demands(4, apart=[(1, 2), (2, 3), (1, 3)]), THREE, [0, 0, 1, 2]),
    ],
)
def test_rows_are_where_they_have_to_be(wanted: Demands, centroids: Any, expected: Any) -> None:
    assigned = np.array([0, 0, 1, 1], np.int32)
    found = satisfied(LINE, centroids, assigned, wanted)
    assert found.tolist() == expected
    assert not wanted.violated(found).any()


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        (demands(4, fixed={0: 0}, barred=[(0, 0)]), {0}),
        (demands(4, fixed={0: 0, 1: 1}, together=[(0, 1)]), {0, 1}),
        (demands(4, together=[(0, 1)], apart=[(0, 1)]), {0, 1}),
        (demands(4, fixed={0: 1, 3: 1}, apart=[(0, 3)]), {0, 3}),
        (demands(4, barred=[(2, 0), (2, 1)]), {2}),
        (demands(4, apart=[(0, 1), (1, 2), (0, 2)]), {0, 1, 2}),
    ],
)
def test_what_cannot_be_is_refused_with_its_rows(wanted: Demands, rows: set[int]) -> None:
    with pytest.raises(UnsatisfiableError) as error:
        satisfied(LINE, TWO, np.array([0, 0, 1, 1], np.int32), wanted)
    assert set(error.value.rows) >= rows


def test_a_long_chain_that_has_to_be_apart_is_placed() -> None:
    n = 1_000
    chain = tuple((row, row + 1) for row in range(n - 1))
    wanted = demands(n, apart=chain)
    found = satisfied(np.zeros((n, 1)), TWO, np.zeros(n, np.int32), wanted)
    assert not wanted.violated(found).any()


def test_rows_that_are_together_count_as_one_point_of_their_weight() -> None:
    points = np.array([[0.0], [2.0], [7.0]], np.float32)
    assert contracted(points, np.array([5, 5, 1])).tolist() == [[1.0], [1.0], [7.0]]
    assert contracted(points, np.arange(3)) is points


def clique(rows: range) -> list[tuple[int, int]]:
    return [(one, other) for one in rows for other in rows if one < other]


@pytest.mark.parametrize("k", [1, 2, 5, 12, 30])
def test_as_many_rows_as_there_are_clusters_can_be_kept_apart_and_no_more(k: int) -> None:
    # Without regard to places that nothing tells apart, 30 of 31 take 30! tries.
    assert can_be_satisfied(demands(k, apart=clique(range(k))), k)
    assert not can_be_satisfied(demands(k + 1, apart=clique(range(k + 1))), k)


def test_places_that_something_tells_apart_are_all_tried() -> None:
    # Row 0 can only be in place 2, so that rows 1 and 2, which come first, have to leave it.
    wanted = demands(3, apart=clique(range(3)), barred=[(0, 0), (0, 1)])
    found = satisfied(np.zeros((3, 1)), THREE, np.full(3, 2, np.int32), wanted)
    assert found[0] == 2
    assert sorted(found) == [0, 1, 2]
    # And a row beside a group that is fixed leaves its place to another one.
    fixed = demands(4, apart=[(0, 1), (1, 2), (2, 3), (1, 3)], fixed={0: 0})
    found = satisfied(np.zeros((4, 1)), THREE, np.zeros(4, np.int32), fixed)
    assert not fixed.violated(found).any()


def test_of_what_is_refused_rows_are_named_that_are_tied_to_each_other() -> None:
    wanted = demands(7, apart=[(0, 1), *clique(range(2, 5)), (5, 6)])
    with pytest.raises(UnsatisfiableError) as error:
        satisfied(np.zeros((7, 1)), TWO, np.zeros(7, np.int32), wanted)
    assert error.value.rows == (2, 3, 4)


@pytest.mark.parametrize(
    ("given", "others", "expected"),
    [
        ([], [1, 2, 3], None),  # their sum may be 9
        ([5], [4, 1], [4, 1]),
        ([9], [0, 0, 1, 0, 5], [5]),
        ([10], [1, 2], []),  # impossible by itself
        ([], [10], [10]),
        ([], [8, 0, 0, 7], [8, 7]),
    ],
)
def test_a_smallest_conflict(given: list[int], others: list[int], expected: Any) -> None:
    found = smallest_conflict(given, others, lambda some: sum(some) <= 9)
    assert found == expected or (expected == [5] and found in ([1], [5]))
    if found:
        for one in found:
            rest = [*found]
            rest.remove(one)
            assert sum([*given, *rest]) <= 9

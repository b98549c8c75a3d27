"""Warm start: splits, unions, and rows that stay unless another cluster is clearly nearer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclust.clustering.kmeans import fit
from imgclust.clustering.warm_start import coarser, continued, finer, resized
from imgclust.errors import ClusteringError


def blobs(*centres: tuple[float, float], each: int = 30, seed: int = 0) -> NDArray[np.float32]:
    """`each` rows around each centre, one centre after the other."""
    random = np.random.default_rng(seed)
    rows = [np.array(centre) + random.normal(0, 0.1, (each, 2)) for centre in centres]
    return np.concatenate(rows).astype(np.float32)


CORNERS = ((0.0, 0.0), (5.0, 0.0), (0.0, 5.0), (5.0, 5.0))


def labels(*parts: int, each: int = 30) -> NDArray[np.int32]:
    return np.repeat(np.array(parts, np.int32), each)


def test_what_fits_stays_and_arrivals_join_the_nearest() -> None:
    rows = blobs(*CORNERS, (5, 5))
    found = continued(rows, labels(0, 1, 2, 3, -1), 4)
    assert found.assigned.tolist() == labels(0, 1, 2, 3, 3).tolist()
    assert found.origins == (0, 1, 2, 3)
    assert found.unions == ()
    assert np.allclose(found.centroids[3], rows[90:].mean(axis=0), atol=1e-5)


def test_a_new_group_is_split_off_and_the_larger_part_keeps_the_id() -> None:
    rows = np.concatenate([blobs(*CORNERS[:3]), blobs((9, 9), each=20)])
    before = np.concatenate([labels(0, 1, 2), np.full(20, 2, np.int32)])
    found = continued(rows, before, 4)
    assert found.origins == (0, 1, 2, -1)
    assert found.assigned.tolist() == [*labels(0, 1, 2), *[3] * 20]


def test_the_two_nearest_are_united_and_the_larger_keeps_the_id() -> None:
    rows = np.concatenate([blobs(*CORNERS[:3]), blobs((5.5, 0), each=40)])
    before = np.concatenate([labels(0, 1, 2), np.full(40, 3, np.int32)])
    found = continued(rows, before, 3)
    assert found.origins == (0, 2, 3)
    assert found.unions == ((1, 3),)
    assert found.assigned.tolist() == [*labels(0, 2, 1), *[2] * 40]


def test_a_row_leaves_only_for_a_clear_gain() -> None:
    # Clusters about 0 and 10; a row of the first at 5.2, slightly nearer to the second.
    left, right = np.zeros((50, 1)), np.full((50, 1), 10.0)
    rows = np.concatenate([left, right, [[5.2]]]).astype(np.float32)
    before = np.array([*[0] * 50, *[1] * 50, 0])
    assert continued(rows, before, 2, margin=0).assigned[-1] == 1
    assert continued(rows, before, 2, margin=0.3).assigned[-1] == 0
    assert continued(rows, before, 2).assigned[-1] == 0  # the default asks for a clear gain, too
    rows[-1] = 6.5  # 12.25 against 42.25: less than the half
    assert continued(rows, before, 2, margin=0.3).assigned[-1] == 1
    before[-1] = -1
    rows[-1] = 5.2
    assert continued(rows, before, 2, margin=0.3).assigned[-1] == 1, "an arrival has no home"


def test_clusters_that_share_a_group_are_exchanged_for_one_that_holds_two() -> None:
    rows = blobs(*CORNERS)
    before = np.concatenate([[0] * 15, [1] * 15, labels(2), labels(3, 3)]).astype(np.int32)
    found = continued(rows, before, 4)
    pairs = {
        (int(group), int(one))
        for group, one in zip(labels(0, 1, 2, 3), found.assigned, strict=True)
    }
    assert len(pairs) == 4
    kept = continued(rows, before, 4, exchange=np.inf)
    assert set(kept.assigned[:30].tolist()) == {0, 1}, "Lloyd iterations alone are caught in it"
    assert sorted(found.origins) == [-1, 0, 2, 3] or sorted(found.origins) == [-1, 1, 2, 3]


def test_given_rows_stay_and_no_split_or_union_touches_their_clusters() -> None:
    rows = blobs((0, 0), (5, 0), (0, 5), (5, 5), (4, 5), (0, 4))
    # Cluster 0 is given and holds two groups; the others lie beside each other.
    before = labels(0, 0, 1, 1, 2, 3)
    given = np.where(before == 0, 0, -1).astype(np.int32)
    anchors = np.zeros((1, 2), np.float32)
    for k in (2, 3, 4, 6, 9):
        found = continued(rows, before, k, given=given, anchors=anchors)
        assert found.k == k
        assert found.origins[0] == 0
        assert not found.assigned[:60].any()
        assert np.allclose(found.centroids[0], rows[:60].mean(axis=0), atol=1e-5)
    two = np.where(before < 2, before, -1).astype(np.int32)
    with pytest.raises(ClusteringError, match="2 clusters that are given"):
        continued(rows, before, 1, given=two, anchors=np.zeros((2, 2), np.float32))


def test_free_rows_may_join_a_given_cluster_and_do_not_move_it() -> None:
    rows = blobs((0, 0), (5, 5), (0.5, 0.5))
    before = labels(0, 1, -1)
    given = np.where(before == 0, 0, -1).astype(np.int32)
    found = continued(rows, before, 2, given=given, anchors=np.zeros((1, 2), np.float32))
    assert found.assigned.tolist() == labels(0, 1, 0).tolist()
    assert np.allclose(found.centroids[0], rows[:30].mean(axis=0), atol=1e-5)


def test_given_clusters_without_rows_stay() -> None:
    rows = blobs(*CORNERS[1:])
    anchors = np.zeros((1, 2), np.float32)
    free = np.full(90, -1, np.int32)
    found = continued(rows, labels(1, 2, 3), 4, given=free, anchors=anchors)
    assert found.origins == (0, 1, 2, 3)
    assert found.assigned.tolist() == labels(1, 2, 3).tolist()
    alone = continued(rows, free, 3, given=free, anchors=anchors)
    assert alone.k == 3
    assert alone.origins == (0, -1, -1)


def test_clusters_without_rows_go() -> None:
    rows = blobs(*CORNERS[:3])
    found = continued(rows, labels(0, 2, 5), 3)
    assert found.origins == (0, 2, 5)
    assert found.k == 3


def test_without_clusters_before_it_is_a_fit() -> None:
    rows = blobs(*CORNERS)
    found = continued(rows, np.full(120, -1), 4)
    assert found.origins == (-1,) * 4
    pairs = {
        (int(group), int(one))
        for group, one in zip(labels(0, 1, 2, 3), found.assigned, strict=True)
    }
    assert len(pairs) == 4


def test_fewer_different_rows_than_clusters() -> None:
    rows = np.repeat(np.array([[0.0, 0.0], [1.0, 1.0]], np.float32), 5, axis=0)
    found = continued(rows, np.zeros(10, np.int64), 4)
    assert found.k == 2
    assert resized(rows[:5], np.zeros(5, np.int64), 3).k == 1
    assert continued(rows[:1], np.zeros(1, np.int64), 1).assigned.tolist() == [0]


def test_finer_and_coarser_touch_no_other_cluster() -> None:
    rows = np.random.default_rng(0).standard_normal((600, 8)).astype(np.float32)
    before = fit(rows, 20, seed=0).assigned
    more = resized(rows, before, finer(20))
    assert more.k == 28
    assert more.origins == (*range(20), *[-1] * 8)
    for one in range(20):
        came = {int(old) for old in before[more.assigned == one]}
        assert came == {one}
    fewer = resized(rows, before, coarser(20))
    assert fewer.k == 14
    for place, old in enumerate(fewer.origins):
        into = {gone for gone, stays in fewer.unions if stays == old}
        whole = {old, *into, *(gone for gone, stays in fewer.unions if stays in into)}
        assert {int(one) for one in before[fewer.assigned == place]} == whole


def test_one_step() -> None:
    assert [finer(k) for k in (1, 2, 5, 10, 20)] == [2, 3, 7, 14, 28]
    assert [coarser(k) for k in (1, 2, 3, 7, 14, 28)] == [1, 1, 2, 5, 10, 20]


def test_it_comes_near_a_fresh_fit() -> None:
    random = np.random.default_rng(2)
    centres = random.standard_normal((15, 20))
    rows = (
        centres[random.integers(0, 15, 2000)] + 0.6 * random.standard_normal((2000, 20))
    ).astype(np.float32)
    first = fit(rows[:800], 15, seed=0).assigned
    before = np.concatenate([first, np.full(1200, -1)])
    found = continued(rows, before, 15, margin=0)
    inertia = ((rows - found.centroids[found.assigned]) ** 2).sum()
    assert inertia <= 1.03 * fit(rows, 15, seed=1).inertia


def test_what_is_refused() -> None:
    rows = blobs((0, 0))
    with pytest.raises(ClusteringError, match="k = 0"):
        continued(rows, np.zeros(30), 0)
    with pytest.raises(ClusteringError, match="do not fit"):
        continued(rows, np.zeros(29), 2)
    with pytest.raises(ClusteringError, match="do not fit"):
        continued(rows, np.zeros(30), 2, given=np.zeros(30, np.int32))
    with pytest.raises(ClusteringError, match="NaN"):
        continued(np.full((3, 2), np.nan), np.zeros(3), 1)


def test_pinned_rows_stay_and_their_clusters_live_on() -> None:
    rows = blobs(*CORNERS)
    pinned = np.full(len(rows), -1, np.int32)
    pinned[0] = 3  # a row of the first corner belongs to the last
    found = continued(rows, labels(0, 1, 2, 3), 4, pinned=pinned)
    assert found.assigned.tolist() == [3, *labels(0, 1, 2, 3)[1:]]
    assert found.origins == (0, 1, 2, 3)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_two_clusters_with_pinned_rows_are_never_united(k: int) -> None:
    rows = np.concatenate([blobs((0, 0), each=10), blobs((0.5, 0), each=40), blobs((9, 9), (9, 0))])
    before = np.concatenate([np.zeros(10, np.int32), np.full(40, 1, np.int32), labels(2, 3)])
    pinned = np.full(len(rows), -1, np.int32)
    pinned[0], pinned[10] = 0, 1
    found = continued(rows, before, k, pinned=pinned)
    assert found.k == max(k, 2)
    assert {0, 1} <= set(found.origins)
    assert found.origins[found.assigned[0]] == 0
    assert found.origins[found.assigned[10]] == 1


def test_a_split_leaves_pinned_rows_in_the_cluster_that_keeps_its_place() -> None:
    rows = np.concatenate([blobs((0, 0), each=30), blobs((9, 9), each=10)])
    pinned = np.full(40, -1, np.int32)
    pinned[35] = 0  # among the few that would leave
    found = resized(rows, np.zeros(40, np.int32), 2, pinned=pinned)
    assert found.k == 2
    assert found.assigned[35] == 0
    assert (found.assigned[30:] == 1).sum() == 9

"""Lasting ids: against brute force over every pairing, and the rules by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgclust.clustering.id_map import match
from imgclust.errors import ClusteringError


def most_kept(old: Any, new: Any, weights: Any) -> int:
    """Images that keep their id in the best pairing there is, every one tried."""
    olds, news = sorted({int(one) for one in old if one >= 0}), sorted(set(new.tolist()))
    known = old >= 0
    worth = {}
    for one, other in itertools.product(olds, news):
        both = int(weights[(old == one) & (new == other)].sum())
        either = int(weights[known & ((old == one) | (new == other))].sum())
        worth[one, other] = both if either and both / either >= 0.3 else 0
    shorter, longer = sorted((olds, news), key=len)
    best = 0
    for chosen in itertools.permutations(longer, len(shorter)):
        pairs = zip(shorter, chosen, strict=True)
        best = max(best, sum(worth[(a, b) if shorter is olds else (b, a)] for a, b in pairs))
    return best


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-1, 4), st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=40
    )
)
def test_as_many_images_keep_their_id_as_any_pairing_allows(
    rows: list[tuple[int, int, int]],
) -> None:
    old, new, weights = (np.array(column) for column in zip(*rows, strict=True))
    old = np.where(old >= 0, old * 7 + 1, -1)
    found = match(old, new, k=5, next_id=100, weights=weights)
    ids = np.array(found.ids)
    assert len(set(found.ids)) == 5
    stays = (old >= 0) & (ids[new] == old)
    assert int(weights[stays].sum()) == most_kept(old, new, weights)
    assert sum(images for _, images, _ in found.kept) == int(weights[stays].sum())
    assert found.moved == int(weights[(old >= 0) & ~stays].sum())
    olds = {int(one) for one in old if one >= 0}
    kept = {cluster for cluster, _, _ in found.kept}
    assert kept | set(found.gone) == olds
    assert not kept & set(found.gone)
    assert set(found.new) | kept == set(found.ids)
    assert all(one >= 100 for one in found.new)


def test_the_same_clusters_in_another_order_keep_their_ids() -> None:
    old = np.repeat([11, 12, 15], [5, 3, 4])
    found = match(old, np.repeat([2, 0, 1], [5, 3, 4]), k=3, next_id=16)
    assert found.ids == (12, 15, 11)
    assert found.kept == ((11, 5, 1.0), (12, 3, 1.0), (15, 4, 1.0))
    assert (found.moved, found.new, found.gone, found.split, found.merged) == (0, (), (), (), ())


def test_a_first_clustering_is_numbered_by_falling_size() -> None:
    found = match(np.full(6, -1), np.array([0, 1, 1, 1, 2, 2]), k=3, next_id=1)
    assert found.ids == (3, 1, 2)
    assert found.new == (1, 2, 3)
    assert (found.kept, found.gone, found.moved) == ((), (), 0)


def test_a_split_names_every_quarter_and_the_largest_part_keeps_the_id() -> None:
    old = np.repeat([4], 20)
    new = np.repeat([0, 1, 2], [10, 6, 4])  # 50, 30 and 20 per cent
    found = match(old, new, k=3, next_id=9)
    assert found.ids == (4, 9, 10)
    assert found.split == ((4, (4, 9)),)
    assert found.moved == 10


def test_a_merge_names_all_that_put_half_of_themselves_there() -> None:
    old = np.repeat([1, 2, 3], [10, 6, 10])
    new = np.array([0] * 10 + [0] * 3 + [1] * 3 + [0] * 4 + [1] * 6)
    found = match(old, new, k=2, next_id=4)
    assert found.merged[0] == ((1, 2), 1)
    assert found.merged[1] == ((2, 3), 3)
    assert found.ids == (1, 3)
    assert found.gone == (2,)


def test_a_pair_counts_from_a_jaccard_index_of_three_tenths() -> None:
    old = np.array([1] * 10 + [2] * 10)
    at_limit = np.array([0] * 6 + [1] * 4 + [0] * 10)  # 6 of 20 with the new 0
    assert match(old, at_limit, k=2, next_id=3).ids == (2, 1)
    below = np.array([0] * 29 + [1] * 71)
    assert match(np.repeat([5], 100), below, k=2, next_id=6).ids == (6, 5)
    thin = np.repeat([0, 1, 2, 3], 25)
    found = match(np.repeat([5], 100), thin, k=4, next_id=6)
    assert found.gone == (5,)
    assert found.split == ((5, (6, 7, 8, 9)),)


def test_weights_count_images_and_not_contents() -> None:
    old, new = np.array([1, 1, 1]), np.array([0, 1, 1])
    assert match(old, new, k=2, next_id=2).ids == (2, 1)
    assert match(old, new, k=2, next_id=2, weights=np.array([10, 1, 1])).ids == (1, 2)


def test_clusters_that_ran_empty_are_gone() -> None:
    found = match(np.array([1, 1]), np.array([0, 0]), k=2, next_id=9, old_ids=(1, 7))
    assert found.ids == (1, 9)
    assert found.gone == (7,)


def test_nothing_known_matches_nothing() -> None:
    found = match(np.zeros(0), np.zeros(0), k=0, next_id=1)
    assert (found.ids, found.moved) == ((), 0)


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(ClusteringError, match="length"):
        match(np.array([1]), np.array([0, 0]), k=1, next_id=2)
    with pytest.raises(ClusteringError, match="outside"):
        match(np.array([1]), np.array([1]), k=1, next_id=2)
    with pytest.raises(ClusteringError, match="next_id 1"):
        match(np.array([1]), np.array([0]), k=1, next_id=1)


def test_what_lasts_goes_on_in_the_cluster_that_shares_most_with_it() -> None:
    old = np.array([1] * 9 + [2] * 9)
    new = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4] + [0] * 9)  # no part of 1 is a third of it
    assert match(old, new, k=5, next_id=3).gone == (1,)
    lasting = match(old, new, k=5, next_id=3, lasting=[1])
    assert lasting.gone == ()
    assert lasting.ids[0] == 2
    assert lasting.ids.index(1) in {1, 2, 3}
    assert sorted(lasting.ids) == [1, 2, 3, 4, 5]


def test_free_ids_are_taken_again_before_new_ones() -> None:
    """Clusters 2 and 5 of before; 5 falls apart into three, each too small to be it."""
    old = np.array([2] * 6 + [5] * 12)
    new = np.array([0] * 6 + [1] * 4 + [2] * 4 + [3] * 4)
    plain = match(old, new, k=4, next_id=9)
    assert plain.ids == (2, 5, 9, 10)  # a third of it is still enough to be it
    new[10] = new[14] = 0
    found = match(old, new, k=4, next_id=9, free=range(1, 9))
    without = match(old, new, k=4, next_id=9)
    assert without.ids == (2, 5, 9, 10)
    assert found.ids == (2, 5, 1, 3)
    assert (found.kept, found.moved, found.gone) == (without.kept, without.moved, ())
    assert found.new == (1, 3)
    assert found.split == ((5, (1, 3, 5)),)


def test_a_gone_id_that_is_taken_again_is_not_gone_and_moves_its_images() -> None:
    old = np.array([1] * 8 + [2] * 2)
    new = np.array([0] * 8 + [0, 1])
    new[:6] = [0, 1, 2, 3, 4, 5]  # cluster 1 is scattered
    without = match(old, new, k=6, next_id=3)
    found = match(old, new, k=6, next_id=3, free=(1, 2))
    taken = dict(zip(without.ids, found.ids, strict=True))
    assert sorted(found.ids) == [1, 2, 3, 4, 5, 6]
    assert all(taken[cluster] == cluster for cluster, _, _ in found.kept)
    assert found.moved == without.moved
    assert not set(found.gone) & set(found.ids)
    assert set(found.new) | {cluster for cluster, _, _ in found.kept} == set(found.ids)

"""Lasting ids: clusters of a new clustering matched to those of the old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.errors import ClusteringError

_JACCARD = 0.3  # a pair below this is not the same cluster any more
_SPLIT_SHARE = 0.25  # of the old cluster, in each of two or more new ones
_MERGED_SHARE = 0.5  # of each of two or more old clusters, in one new one


@dataclass(frozen=True)
class Matching:
    """What becomes of the old clusters.

    Attributes
    ----------
    ids
        The lasting id of each new cluster, by position.
    kept
        (id, images that stay in it, Jaccard index), by id.
    split
        (old id, new ids that each hold a quarter of it or more), by old id.
    merged
        (old ids that put half of themselves or more there, new id), by new id.
    new
        Ids of clusters that continue none, ascending; never used before, or free to be used again.
    gone
        Old ids that no new cluster has, ascending.
    moved
        Images whose cluster id changed.
    """

    ids: tuple[int, ...]
    kept: tuple[tuple[int, int, float], ...]
    split: tuple[tuple[int, tuple[int, ...]], ...]
    merged: tuple[tuple[tuple[int, ...], int], ...]
    new: tuple[int, ...]
    gone: tuple[int, ...]
    moved: int


def regrouped(
    overlaps: Mapping[tuple[int, int], int],
) -> tuple[tuple[tuple[int, tuple[int, ...]], ...], tuple[tuple[tuple[int, ...], int], ...]]:
    """Which clusters were split and which merged, as in `Matching`.

    Parameters
    ----------
    overlaps
        Images of each pair (old id, new id) that has any.
    """
    sizes: dict[int, int] = {}
    for (old, _), images in overlaps.items():
        sizes[old] = sizes.get(old, 0) + images
    into: dict[int, list[int]] = {}
    of: dict[int, list[int]] = {}
    for (old, new), images in sorted(overlaps.items()):
        if images and images >= _SPLIT_SHARE * sizes[old]:
            into.setdefault(old, []).append(new)
        if images and images >= _MERGED_SHARE * sizes[old]:
            of.setdefault(new, []).append(old)
    return (
        tuple((old, tuple(news)) for old, news in sorted(into.items()) if len(news) >= 2),
        tuple((tuple(olds), new) for new, olds in sorted(of.items()) if len(olds) >= 2),
    )


def match(
    old: NDArray[Any],
    new: NDArray[Any],
    *,
    k: int,
    next_id: int,
    weights: NDArray[Any] | None = None,
    old_ids: Sequence[int] = (),
    pinned: Sequence[int] = (),
    free: Sequence[int] = (),
    lasting: Sequence[int] = (),
) -> Matching:
    """Give each new cluster the id of the old one that it continues, or a new id.

    The pairs are those that let most images keep their cluster id (the assignment problem,
    solved by scipy after Crouse 2016) among pairs with a Jaccard index of at least 0.3.
    Contents that the old clustering did not know are left out of every share.

    Parameters
    ----------
    old
        Old cluster id of each content, int64 (n,); -1 where it had none.
    new
        Position of its new cluster, int (n,), in 0..k-1.
    k
        Number of new clusters.
    next_id
        The first id never used before; new clusters are numbered from it, largest first.
    weights
        Images of each content, int (n,); one each by default.
    old_ids
        Old clusters that may have no content left; they are `gone` then.
    pinned
        Old ids that the first new clusters have, whatever they share; the others are matched
        among themselves.
    free
        Ids that new clusters take again, before those never used; what continues keeps its own.
    lasting
        Old ids that live on, in the clusters that share most with them, whatever that is.

    Raises
    ------
    ClusteringError
        When the arrays differ in length, a position is out of range, or `next_id` is in use.
    """
    from scipy.optimize import linear_sum_assignment

    shared = _Shared(old, new, k, next_id, weights, (*old_ids, *pinned, *lasting))
    jaccard = shared.jaccard()
    eligible = np.where(jaccard >= _JACCARD, shared.overlap, 0).astype(np.float64)
    stays = np.searchsorted(shared.olds, np.asarray(lasting, dtype=np.int64))
    # More than all other pairs together, so that each of them has one.
    eligible[stays] = shared.overlap[stays] + jaccard[stays] + 1.0 + shared.overlap.sum()
    held = np.searchsorted(shared.olds, np.asarray(pinned, dtype=np.int64))
    eligible[held] = 0
    eligible[:, : len(held)] = 0
    pairs = [(int(row), column) for column, row in enumerate(held)]
    pairs += [
        (int(row), int(column))
        for row, column in zip(*linear_sum_assignment(eligible, maximize=True), strict=True)
        if eligible[row, column] > 0
    ]
    return shared.matching(pairs, free)


def follow(
    old: NDArray[Any],
    new: NDArray[Any],
    origins: Sequence[int],
    *,
    next_id: int,
    weights: NDArray[Any] | None = None,
    old_ids: Sequence[int] = (),
    free: Sequence[int] = (),
) -> Matching:
    """Give each new cluster the id of the old one that it is known to continue, or a new id.

    Parameters
    ----------
    origins
        The old id that each new cluster continues, by position; -1 for a new one.
    old, new, next_id, weights, old_ids, free
        As in `match`.

    Raises
    ------
    ClusteringError
        As in `match`, and when two new clusters continue one old cluster.
    """
    continuing = [one for one in origins if one >= 0]
    if len(set(continuing)) < len(continuing):
        raise ClusteringError("two new clusters continue one old cluster; each needs its own id")
    shared = _Shared(old, new, len(origins), next_id, weights, (*old_ids, *continuing))
    rows = np.searchsorted(shared.olds, np.asarray(origins, dtype=np.int64))
    pairs = [
        (int(row), column)
        for column, (row, one) in enumerate(zip(rows, origins, strict=True))
        if one >= 0
    ]
    return shared.matching(pairs, free)


class _Shared:
    """What old and new clusters have in common: `overlap` (old clusters, k) counts images."""

    def __init__(
        self,
        old: NDArray[Any],
        new: NDArray[Any],
        k: int,
        next_id: int,
        weights: NDArray[Any] | None,
        old_ids: Sequence[int],
    ) -> None:
        before = np.asarray(old, dtype=np.int64)
        after = np.asarray(new, dtype=np.int64)
        images = (
            np.ones(len(before), np.int64) if weights is None else np.asarray(weights, np.int64)
        )
        if not len(before) == len(after) == len(images):
            raise ClusteringError("old, new and weights differ in length; match the same contents")
        if after.size and not 0 <= after.min() <= after.max() < k:
            raise ClusteringError(f"a new position is outside 0..{k - 1}")
        known = before >= 0
        self.olds = np.union1d(before[known], np.asarray(old_ids, dtype=np.int64))
        if self.olds.size and next_id <= self.olds[-1]:
            raise ClusteringError(f"next_id {next_id} is not above every old id ({self.olds[-1]})")
        self.overlap = np.zeros((len(self.olds), k), dtype=np.int64)
        rows = np.searchsorted(self.olds, before[known])
        np.add.at(self.overlap, (rows, after[known]), images[known])
        self._before, self._after, self._images = before, after, images
        self._next_id = next_id

    def jaccard(self) -> NDArray[np.float64]:
        """The Jaccard index of each pair (old clusters, k), 0 where both are empty."""
        union = self._union()
        return np.divide(self.overlap, union, out=np.zeros(self.overlap.shape), where=union > 0)

    def _union(self) -> NDArray[np.int64]:
        sizes = self.overlap.sum(axis=1)[:, np.newaxis] + self.overlap.sum(axis=0)
        return np.asarray(sizes - self.overlap)

    def matching(self, pairs: Sequence[tuple[int, int]], free: Sequence[int]) -> Matching:
        """What becomes of the clusters when these (row, column) continue."""
        k = self.overlap.shape[1]
        union, jaccard = self._union(), self.jaccard()
        ids = np.full(k, -1, dtype=np.int64)
        for row, column in pairs:
            ids[column] = self.olds[row]
        unmatched = np.flatnonzero(ids < 0)
        full_sizes = np.zeros(k, dtype=np.int64)
        np.add.at(full_sizes, self._after, self._images)
        by_size = unmatched[np.argsort(-full_sizes[unmatched], kind="stable")]
        last = self._next_id + len(unmatched)
        ids[by_size] = np.arange(self._next_id, last)
        split, merged = regrouped(
            {
                (int(self.olds[row]), int(ids[column])): int(self.overlap[row, column])
                for row, column in zip(*np.nonzero(self.overlap), strict=True)
            }
        )
        moved = 0
        if k:
            changed = (self._before >= 0) & (ids[self._after] != self._before)
            moved = int(self._images[changed].sum())
        # Counted with ids of their own: a used id may be that of another cluster from before.
        unused = sorted(set(free) - {int(self.olds[row]) for row, _ in pairs})
        again = dict(zip(range(self._next_id, last), unused, strict=False))
        fresh = count(self._next_id)
        named = {one: again.get(one) or next(fresh) for one in range(self._next_id, last)}
        taken = set(named.values())
        return Matching(
            ids=tuple(named.get(int(one), int(one)) for one in ids),
            kept=tuple(
                (
                    int(self.olds[row]),
                    int(self.overlap[row, column]),
                    float(jaccard[row, column]) if union[row, column] else 1.0,
                )
                for row, column in sorted(pairs)
            ),
            split=tuple(
                (one, tuple(sorted(named.get(other, other) for other in into)))
                for one, into in split
            ),
            merged=tuple(
                sorted(
                    ((olds, named.get(one, one)) for olds, one in merged), key=lambda pair: pair[1]
                )
            ),
            new=tuple(sorted(taken)),
            gone=tuple(
                int(one)
                for one in np.delete(self.olds, [row for row, _ in pairs])
                if int(one) not in taken
            ),
            moved=moved,
        )

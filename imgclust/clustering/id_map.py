"""Lasting ids: clusters of a new clustering matched to those of the old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        Ids never used before, ascending.
    gone
        Old ids that no new cluster continues, ascending.
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

    Raises
    ------
    ClusteringError
        When the arrays differ in length, a position is out of range, or `next_id` is in use.
    """
    from scipy.optimize import linear_sum_assignment

    before = np.asarray(old, dtype=np.int64)
    after = np.asarray(new, dtype=np.int64)
    images = np.ones(len(before), np.int64) if weights is None else np.asarray(weights, np.int64)
    if not len(before) == len(after) == len(images):
        raise ClusteringError("old, new and weights differ in length; match the same contents")
    if after.size and not 0 <= after.min() <= after.max() < k:
        raise ClusteringError(f"a new position is outside 0..{k - 1}")
    known = before >= 0
    olds = np.union1d(before[known], np.asarray([*old_ids, *pinned], dtype=np.int64))
    if olds.size and next_id <= olds[-1]:
        raise ClusteringError(f"next_id {next_id} is not above every old id ({olds[-1]})")

    overlap = np.zeros((len(olds), k), dtype=np.int64)
    np.add.at(overlap, (np.searchsorted(olds, before[known]), after[known]), images[known])
    old_sizes = overlap.sum(axis=1)
    new_sizes = overlap.sum(axis=0)
    union = old_sizes[:, np.newaxis] + new_sizes - overlap
    jaccard = np.divide(overlap, union, out=np.zeros(overlap.shape), where=union > 0)
    eligible = np.where(jaccard >= _JACCARD, overlap, 0)
    held = np.searchsorted(olds, np.asarray(pinned, dtype=np.int64))
    jaccard[held, np.arange(len(held))] = np.where(
        union[held, np.arange(len(held))] > 0, jaccard[held, np.arange(len(held))], 1.0
    )
    eligible[held] = 0
    eligible[:, : len(held)] = 0
    pairs = [(int(row), column) for column, row in enumerate(held)]
    pairs += [
        (int(row), int(column))
        for row, column in zip(*linear_sum_assignment(eligible, maximize=True), strict=True)
        if eligible[row, column] > 0
    ]

    ids = np.full(k, -1, dtype=np.int64)
    for row, column in pairs:
        ids[column] = olds[row]
    unmatched = np.flatnonzero(ids < 0)
    full_sizes = np.zeros(k, dtype=np.int64)
    np.add.at(full_sizes, after, images)
    by_size = unmatched[np.argsort(-full_sizes[unmatched], kind="stable")]
    ids[by_size] = np.arange(next_id, next_id + len(unmatched))

    split, merged = regrouped(
        {
            (int(olds[row]), int(ids[column])): int(overlap[row, column])
            for row, column in zip(*np.nonzero(overlap), strict=True)
        }
    )
    return Matching(
        ids=tuple(int(one) for one in ids),
        kept=tuple(
            (int(olds[row]), int(overlap[row, column]), float(jaccard[row, column]))
            for row, column in sorted(pairs)
        ),
        split=split,
        merged=merged,
        new=tuple(range(next_id, next_id + len(unmatched))),
        gone=tuple(int(one) for one in np.delete(olds, [row for row, _ in pairs])),
        moved=int(images[known & (ids[after] != before)].sum()) if k else 0,
    )

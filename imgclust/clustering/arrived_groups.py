"""What arrivals have changed: groups that were not there before, and clusters that have met.

Both compare arrivals with the rows that were there. Where arrivals are like those, the two are
exchangeable, so that a random relabelling of the same rows shows what chance does (a permutation
test; the count of neighbours of the same sample is that of Schilling 1986 and Henze 1988).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked, threads_for
from imgclust.errors import ClusteringError
from imgclust.progress import StopFlag

# Neighbours of each row: as many as make it rare that chance gives a row only arrivals.
_FEWEST, _MOST = 10, 40
_RARE = 0.01
LEAST_GROUP = 15
_DRAWS = 199
_BLOCK = 1_000
# Clusters that have met: on the line between their centres (0 and 1) there were few rows half way,
# beside those at the centres, and now there are many.
_BAND = 1 / 6
_VALLEY, _NO_VALLEY = 0.25, 0.5
_AT_CENTRES, _BETWEEN = 8, 10
_NEAREST = 3
# How far from the line that may be: this multiple of what 95 of 100 of the rows that were there
# stay within. Squared distances; half way between two directions unit vectors leave the line.
_NEAR_THE_LINE = 1.6
_CHANCE = 0.01


def neighbours_among(
    points: NDArray[np.float32], count: int, *, stop: StopFlag | None = None
) -> NDArray[np.int64]:
    """Positions of the nearest others of each row by inner product, int64 (n, count).

    Searched in blocks, between which `stop` is looked at.
    """
    import faiss

    rows = checked(points)
    count = min(count, len(rows) - 1)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    found = np.empty((len(rows), count), np.int64)
    for start in range(0, len(rows), _BLOCK):
        if stop is not None:
            stop.check()
        part = rows[start : start + _BLOCK]
        with threads_for(part.size * len(rows)):
            near = index.search(part, count + 1)[1]
        own = near == np.arange(start, start + len(part))[:, np.newaxis]
        own[~own.any(axis=1), -1] = True  # among equal rows it need not be found
        found[start : start + len(part)] = near[~own].reshape(len(part), count)
    return found


def new_groups(
    points: NDArray[np.float32],
    arrived: NDArray[np.bool_],
    *,
    seed: int = 0,
    stop: StopFlag | None = None,
) -> list[NDArray[np.int64]]:
    """Groups of arrivals whose neighbours are arrivals, more of them than chance puts together.

    Parameters
    ----------
    points
        float32, shape (n, q), of unit length; near copies are one row.
    arrived
        Which of them came later, bool (n,).
    seed
        Of the relabellings.

    Returns
    -------
    list
        Positions of the rows of each group, ascending; the largest group first.
    """
    came = np.asarray(arrived, np.bool_)
    if came.shape != (len(points),):
        raise ClusteringError("arrived says nothing about some rows")
    arrivals = int(came.sum())
    if arrivals < LEAST_GROUP or arrivals == len(came):
        return []
    share = (arrivals - 1) / (len(came) - 1)
    count = max(_FEWEST, min(_MOST, math.ceil(math.log(_RARE) / math.log(share))))
    near = neighbours_among(points, count, stop=stop)
    least = _least_count(near.shape[1], share)
    random = np.random.default_rng(seed)
    by_chance = 0
    for _ in range(_DRAWS):
        if stop is not None:
            stop.check()
        sizes = [len(one) for one in _groups(near, random.permutation(came), least)]
        by_chance = max(by_chance, *sizes, 0)
    groups = _groups(near, came, least)
    found = [one for one in groups if len(one) >= max(LEAST_GROUP, by_chance + 1)]
    return sorted(found, key=lambda one: (-len(one), int(one[0])))


def _least_count(count: int, share: float) -> int:
    """The number of arrivals among so many neighbours that chance reaches rarely."""
    tail = 0.0
    for number in range(count, -1, -1):
        tail += math.comb(count, number) * share**number * (1 - share) ** (count - number)
        if tail > _RARE:
            return min(number + 1, count)
    return 0


def _groups(
    near: NDArray[np.int64], came: NDArray[np.bool_], least: int
) -> list[NDArray[np.int64]]:
    """Arrivals with so many arrivals among their neighbours, joined where one is near another."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    chosen = came & (came[near].sum(axis=1) >= least)
    rows = np.flatnonzero(chosen)
    if not rows.size:
        return []
    place = np.full(len(came), -1, np.int64)
    place[rows] = np.arange(len(rows))
    targets = place[near[rows]]
    sources = np.repeat(np.arange(len(rows)), near.shape[1])[targets.ravel() >= 0]
    targets = targets.ravel()[targets.ravel() >= 0]
    graph = coo_matrix((np.ones(len(sources)), (sources, targets)), shape=(len(rows),) * 2)
    _, label = connected_components(graph, directed=False)
    return [rows[label == one] for one in np.unique(label)]


def met_clusters(
    points: NDArray[np.float32], arrived: NDArray[np.bool_], clusters: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Pairs of clusters between which there was a gap that arrivals have filled.

    Parameters
    ----------
    points, arrived
        As in `new_groups`.
    clusters
        The cluster of each row, int64 (n,).

    Returns
    -------
    list
        Pairs of clusters, the smaller first, ascending.
    """
    rows = checked(points)
    ids = [
        one
        for one in np.unique(clusters).tolist()
        if (~arrived & (clusters == one)).sum() >= _AT_CENTRES
    ]
    if len(ids) < 2:
        return []
    # With what arrived: clusters that meet come nearer.
    centres = np.stack([rows[clusters == one].mean(axis=0) for one in ids])
    apart = ((centres[:, np.newaxis] - centres) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    near = np.argsort(apart, axis=1, kind="stable")[:, :_NEAREST]
    pairs = {
        (min(one, other), max(one, other))
        for one in range(len(ids))
        for other in near[one].tolist()
        if other != one
    }
    return [
        (ids[one], ids[other])
        for one, other in sorted(pairs)
        if _have_met(rows, arrived, clusters, (ids[one], ids[other]), len(pairs))
    ]


def _have_met(
    rows: Vectors,
    arrived: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    pair: tuple[int, int],
    comparisons: int,
) -> bool:
    from scipy.stats import fisher_exact

    places, aside, came = [], [], []
    means = [rows[~arrived & (clusters == one)].mean(axis=0, dtype=np.float64) for one in pair]
    for side, cluster in enumerate(pair):
        members = np.flatnonzero(clusters == cluster)
        old = ~arrived[members]
        count = int(old.sum())
        points = rows[members].astype(np.float64)
        # Without itself, as for an arrival, which has no part in the centre.
        own = np.where(old[:, None], (count * means[side] - points) / (count - 1), means[side])
        first, second = (own, means[1]) if side == 0 else (means[0], own)
        axis = second - first
        place = ((points - first) * axis).sum(axis=1) / (axis**2).sum(axis=1)
        places.append(place)
        aside.append(((points - first - place[:, np.newaxis] * axis) ** 2).sum(axis=1))
        came.append(~old)
    place, new = np.concatenate(places), np.concatenate(came)
    # What lies half way but far from the line belongs to neither.
    apart = np.concatenate(aside)
    near = apart <= _NEAR_THE_LINE * np.quantile(apart[~new], 0.95)
    place, new = place[near], new[near]
    between = np.abs(place - 0.5) < _BAND

    def valley(chosen: NDArray[np.bool_]) -> float:
        ends = [int((np.abs(place[chosen] - end) < _BAND).sum()) for end in (0, 1)]
        return float(between[chosen].sum() / max(min(ends), 1))

    if min((np.abs(place[~new] - end) < _BAND).sum() for end in (0, 1)) < _AT_CENTRES:
        return False
    if (between & new).sum() < _BETWEEN or valley(~new) > _VALLEY:
        return False
    if valley(np.full(len(new), True)) < _NO_VALLEY:
        return False
    table = [
        [int((between & new).sum()), int((~between & new).sum())],
        [int((between & ~new).sum()), int((~between & ~new).sum())],
    ]
    return bool(fisher_exact(table, alternative="greater")[1] < _CHANCE / comparisons)

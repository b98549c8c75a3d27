"""Out of a poor local minimum: one cluster is dissolved, another divided.

A single k-means++ start can put two centroids into one group and one between two others, which
Lloyd iterations never undo. Moving a centroid does (random swap clustering, Fränti 2018); here it
is not drawn but chosen by what the division gains and the dissolution costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, nearest, refine, squared_distances
from imgclust.progress import StopFlag

_ROWS = 5_000  # rows of a cluster that the division itself looks at; its gain is over all
_TURNS = 10
_STALE_SHARE = 0.1


@dataclass(frozen=True)
class Division:
    """Two centroids in place of one, float32 (2, d), and the drop in inertia they bring."""

    gain: float
    centroids: NDArray[np.float32]


class Splitter:
    """Scores divisions of clusters, again only for those whose members have changed.

    Parameters
    ----------
    vectors
        float32, shape (n, d); the rows that every later assignment is about.
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._scored_as = np.full(len(vectors), -1, dtype=np.int64)
        self._divisions: list[Division | None] = []

    def best(
        self, assigned: NDArray[np.int32], k: int, *, fixed: int = 0
    ) -> tuple[int, Division] | None:
        """The cluster whose division gains most, or None when none can be divided.

        The first `fixed` clusters are not looked at.
        """
        del self._divisions[k:]
        self._divisions.extend([None] * (k - len(self._divisions)))
        sizes = np.bincount(assigned, minlength=k)
        moved = assigned != self._scored_as
        left = self._scored_as[moved]
        strangers = np.bincount(assigned[moved], minlength=k)
        strangers += np.bincount(left[(left >= 0) & (left < k)], minlength=k)
        order = np.argsort(assigned, kind="stable")
        ends = np.cumsum(sizes)
        for cluster in range(fixed, k):
            if (
                self._divisions[cluster] is None
                or strangers[cluster] > _STALE_SHARE * sizes[cluster]
            ):
                members = order[ends[cluster] - sizes[cluster] : ends[cluster]]
                self._divisions[cluster] = divide(self._vectors[members])
                self._scored_as[members] = cluster
        gains = [division.gain if division else 0.0 for division in self._divisions]
        winner = int(np.argmax(gains))
        division = self._divisions[winner]
        if division is None or division.gain <= 0:
            return None
        self._divisions[winner] = None  # it is about to be divided: score its halves afresh
        return winner, division


# OpenBLAS now and then flags a product of a few finite numbers as invalid, though what comes out is
# right (numpy issue 24067 is of that kind): people would read a warning.
@np.errstate(invalid="ignore")
def divide(members: Vectors) -> Division:
    """Divide one cluster in two: 2-means started along its principal direction.

    Parameters
    ----------
    members
        float32, shape (m, d).
    """
    m = len(members)
    centre = members.mean(axis=0, dtype=np.float64).astype(np.float32)
    nothing = Division(0.0, np.stack([centre, centre]))
    if m < 2:
        return nothing
    centred = members - centre
    seen = centred if m <= _ROWS else centred[:: -(-m // _ROWS)]
    direction = seen[int(np.argmax(np.einsum("ij,ij->i", seen, seen)))]
    for _ in range(3):
        direction = (seen @ direction) @ seen
        length = float(np.linalg.norm(direction))
        if length == 0:
            return nothing
        direction = direction / length
    offset = 0.0
    for _ in range(_TURNS):
        side = seen @ direction > offset
        count = int(side.sum())
        if count in (0, len(seen)):
            break
        first, second = _means(seen, side)
        turned = first - second
        moved = float((first @ first - second @ second) / 2)
        same = moved == offset and np.array_equal(turned, direction)
        direction, offset = turned, moved
        if same:
            break
    side = centred @ direction > offset
    count = int(side.sum())
    if count in (0, m):
        return nothing
    first, second = _means(centred, side)
    between = (first - second).astype(np.float64)
    gain = count * (m - count) / m * float(between @ between)
    return Division(gain, np.stack([first + centre, second + centre]))


def _means(rows: Vectors, side: NDArray[np.bool_]) -> tuple[Vectors, Vectors]:
    """Means of the rows on the one side and on the other (the rows' mean need not be 0)."""
    weight = side.astype(np.float32)
    count = float(weight.sum())
    first = weight @ rows
    second = (1 - weight) @ rows
    return first / count, second / (len(rows) - count)


_WORTH = 1e-3  # of the inertia, that a swap must promise
_MOST_SWAPS = 20
_IMMOVABLE = 1e12  # members: a union with such a cluster lies at its centroid


def swapped(
    vectors: Vectors,
    centroids: Vectors,
    *,
    iterations: int,
    seed: int,
    gpu: bool,
    stop: StopFlag | None,
    fixed: int = 0,
) -> Vectors:
    """Centroids (k, d) after swaps, each refined, as long as they lower the inertia of (n, d).

    The first `fixed` centroids stay; a cluster that is dissolved may go to one of them.
    """
    if len(centroids) - fixed < (2 if fixed else 3):
        return centroids
    splitter = Splitter(vectors)
    assigned, inertia = judged(vectors, centroids, gpu)
    for _ in range(_MOST_SWAPS):
        if stop is not None:
            stop.check()
        k = len(centroids)
        sizes = np.bincount(assigned, minlength=k)
        # Empty clusters are filled by `settle`, which has the rows that lie furthest out.
        occupied = sizes[fixed:].all()
        found = splitter.best(assigned, k, fixed=fixed) if occupied else None
        if found is None:
            break
        divided, division = found
        costs = _merging_costs(centroids, sizes, divided, fixed)
        dissolved = int(np.argmin(costs))
        if division.gain - costs[dissolved] <= _WORTH * inertia:
            break
        start = centroids.copy()
        start[divided], start[dissolved] = division.centroids
        refined, _ = refine(vectors, start, iterations=iterations, seed=seed, gpu=gpu, fixed=fixed)
        reassigned, lower = judged(vectors, refined, gpu)
        if lower >= inertia:
            break
        centroids, assigned, inertia = refined, reassigned, lower
    return centroids


def judged(vectors: Vectors, centroids: Vectors, gpu: bool) -> tuple[NDArray[np.int32], float]:
    """Each row's nearest centroid, int32 (n,), and the inertia."""
    positions, _ = nearest(vectors, centroids, gpu=gpu)
    assigned = positions[:, 0].astype(np.int32)
    return assigned, float(squared_distances(vectors, centroids, assigned).sum())


def union_costs(centroids: Vectors, sizes: NDArray[Any]) -> NDArray[np.float64]:
    """What the union of each two clusters adds to the inertia, (k, k); inf on the diagonal."""
    wide = centroids.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    apart = np.maximum(squares[:, np.newaxis] + squares - 2 * wide @ wide.T, 0)
    weight = sizes[:, np.newaxis] * sizes / np.maximum(sizes[:, np.newaxis] + sizes, 1)
    costs = weight * apart
    np.fill_diagonal(costs, np.inf)
    return np.asarray(costs)


def _merging_costs(
    centroids: Vectors, sizes: NDArray[Any], kept: int, fixed: int
) -> NDArray[np.float64]:
    """What each cluster's union with its cheapest partner adds to the inertia (Ward 1963): (k,).

    The cluster `kept` is not to be dissolved, nor a partner: it will be divided. The first `fixed`
    are not to be dissolved, and do not move towards what joins them.
    """
    weights = sizes.astype(np.float64)
    weights[:fixed] = _IMMOVABLE
    costs = union_costs(centroids, weights)
    costs[kept] = costs[:, kept] = np.inf
    costs[:fixed] = np.inf
    return np.asarray(costs.min(axis=1))

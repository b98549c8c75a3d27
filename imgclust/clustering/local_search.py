"""Out of a poor local minimum: one cluster is dissolved, another divided.

A single k-means++ start can put two centroids into one group and one between two others, which
Lloyd iterations never undo. Moving a centroid does (random swap clustering, Fränti 2018); here it
is not drawn but chosen by what the division gains and the dissolution costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, nearest, refine, squared_distances
from imgclust.clustering.split import Splitter
from imgclust.progress import StopFlag

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
    assigned, inertia = _judged(vectors, centroids, gpu)
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
        anew, lower = _judged(vectors, refined, gpu)
        if lower >= inertia:
            break
        centroids, assigned, inertia = refined, anew, lower
    return centroids


def _judged(vectors: Vectors, centroids: Vectors, gpu: bool) -> tuple[NDArray[np.int32], float]:
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

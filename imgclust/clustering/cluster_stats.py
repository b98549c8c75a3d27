"""Clusters by their members: medoid, representatives, coherence; the criteria of each k."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked, nearest, squared_distances
from imgclust.clustering.kmeans import fit, settle


def _directions(vectors: NDArray[Any]) -> tuple[Vectors, Vectors]:
    """Members at unit length and the unit vector of their mean (zero vectors stay zero)."""
    rows = checked(vectors)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
    mean = units.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return units, np.asarray(mean / (length or 1.0), dtype=np.float32)


def medoid(vectors: NDArray[Any]) -> int:
    """Row with the largest mean cosine to all members; ties go to the first.

    At unit length that mean is the dot product with the members' mean, so it costs one pass.

    Parameters
    ----------
    vectors
        Members of one cluster, float32, shape (n, d), n >= 1.
    """
    units, centre = _directions(vectors)
    return int(np.argmax(units @ centre))


def coherence(vectors: NDArray[Any]) -> float:
    """Mean cosine of the members to the direction of their mean; 1.0 when all are alike."""
    units, centre = _directions(vectors)
    return float(min(1.0, (units @ centre).mean(dtype=np.float64)))


def representatives(vectors: NDArray[Any], count: int = 9, *, seed: int = 0) -> tuple[int, ...]:
    """Rows that show what is in a cluster: the medoid, then one for each part of it.

    The members are divided by k-means into `count` parts; each part is shown by the member
    nearest its centroid, large parts first.

    Parameters
    ----------
    vectors
        Members of one cluster, float32, shape (n, d), n >= 1.
    count
        How many at most; fewer when there are fewer different members.
    """
    units, centre = _directions(vectors)
    first = int(np.argmax(units @ centre))
    if count == 1:
        return (first,)
    start = _apart(units, count, seed=seed)
    parts = fit(units, len(start), start=start, seed=seed)
    sizes = np.bincount(parts.assigned, minlength=parts.k)
    chosen = [first]
    for part in np.argsort(-sizes, kind="stable"):
        members = np.flatnonzero(parts.assigned == part)
        if first not in members:
            chosen.append(int(members[np.argmin(parts.distances[members])]))
    return tuple(chosen)


def _apart(units: Vectors, count: int, *, seed: int) -> Vectors:
    """Up to `count` different rows by k-means++ (Arthur and Vassilvitskii 2007), plain numpy.

    scikit-learn's takes longer to load than a cluster takes to describe.
    """
    random = np.random.default_rng(seed)
    chosen = [int(random.integers(len(units)))]
    squared = np.full(len(units), np.inf)
    while True:
        last = ((units - units[chosen[-1]]) ** 2).sum(axis=1, dtype=np.float64)
        squared = np.minimum(squared, last)
        total = squared.sum()
        if len(chosen) == count or total <= 0:
            return units[chosen]
        chosen.append(int(random.choice(len(units), p=squared / total)))


def nearest_clusters(
    centroids: NDArray[Any], position: int, count: int = 5
) -> tuple[tuple[int, float], ...]:
    """Positions of and Euclidean distances to the centroids nearest to one of them."""
    centres = checked(centroids)
    distances = np.linalg.norm((centres - centres[position]).astype(np.float64), axis=1)
    order = [int(one) for one in np.argsort(distances, kind="stable") if one != position]
    return tuple((one, float(distances[one])) for one in order[:count])


@dataclass(frozen=True)
class Point:
    """Centroids (k, d), what they make of all rows (n,), and the criteria of `Sweep`."""

    k: int
    centroids: Vectors
    assigned: NDArray[np.int32]
    squared: NDArray[np.float64]
    inertia: float
    silhouette: float
    calinski_harabasz: float
    bic: float


def spread_of(rows: Vectors) -> float:
    """Sum of squared distances of rows (n, d) to their mean, in float64."""
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    nobody = np.zeros(len(rows), dtype=np.int32)
    return float(squared_distances(rows, mean[np.newaxis], nobody).sum())


def measured(rows: Vectors, centroids: Vectors, *, spread: float, gpu: bool) -> Point:
    """Inertia and the cheap criteria of these centroids over all rows."""
    positions, near = nearest(rows, centroids, count=min(2, len(centroids)), gpu=gpu)
    assigned = positions[:, 0].astype(np.int32)
    if len(np.unique(assigned)) < len(centroids):
        centroids, _, _ = settle(rows, centroids, gpu=gpu)
        positions, near = nearest(rows, centroids, count=min(2, len(centroids)), gpu=gpu)
        assigned = positions[:, 0].astype(np.int32)
    squared = squared_distances(rows, centroids, assigned)
    n, d = rows.shape
    k = len(centroids)
    inertia = float(squared.sum())
    silhouette = calinski_harabasz = math.nan
    if k > 1:
        own = np.sqrt(squared)
        other = np.maximum(np.sqrt(np.maximum(near[:, 1], 0)), own)
        silhouette = float(np.mean((other - own) / np.where(other > 0, other, 1)))
        within = inertia / (n - k) if n > k else 0.0
        between = max(spread - inertia, 0.0) / (k - 1)
        calinski_harabasz = between / within if within > 0 else math.inf
    return Point(
        k=k,
        centroids=centroids,
        assigned=assigned,
        squared=squared,
        inertia=inertia,
        silhouette=silhouette,
        calinski_harabasz=calinski_harabasz,
        bic=_bic(np.bincount(assigned, minlength=k), inertia, d),
    )


def _bic(sizes: NDArray[np.int64], inertia: float, d: int) -> float:
    n, k = int(sizes.sum()), len(sizes)
    if n <= k or inertia <= 0:
        return math.inf
    variance = inertia / (d * (n - k))
    occupied = sizes[sizes > 0]
    likelihood = float((occupied * np.log(occupied)).sum()) - n * math.log(n)
    likelihood -= n * d / 2 * math.log(2 * math.pi * variance) + d * (n - k) / 2
    return likelihood - (k - 1 + d * k + 1) / 2 * math.log(n)

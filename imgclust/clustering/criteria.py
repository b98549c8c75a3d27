"""What a sweep records of each k: inertia over all rows and the cheap criteria."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, nearest, squared_distances
from imgclust.clustering.kmeans import settle


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

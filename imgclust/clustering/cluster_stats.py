"""Describing a cluster by its members: medoid, representatives, coherence, neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclust.clustering.faiss_kmeans import Vectors, checked
from imgclust.clustering.kmeans import fit


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
